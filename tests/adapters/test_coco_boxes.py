"""Box files as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.errors import DatasetRejected, UsageError

TRUE = [50.0, 60.0, 40.0, 50.0]  # of ``coco.person``


def driven(coco: ModuleType, folder: Path, entries: Any, choice: str = "boxes.json", **content: Any) -> Any:
    (folder / "boxes.json").write_text(json.dumps(entries))
    people = [coco.person(1, 1), coco.person(2, 2)]
    for person in people:
        person["category_id"] = content.get("person", 1)
    return coco.small(folder, coco.document(*people, categories=content.get("categories")), boxes=choice)


def box(image: Any, **changes: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": TRUE, "score": 0.9, **changes}


def counts(data: Any) -> list[int]:
    return [len(data[i].input.boxes_xyxy_px) for i in range(2)]


def test_a_threshold_after_the_name_leaves_boxes_out_and_says_so(coco: ModuleType, tmp_path: Path) -> None:
    entries = [box(1), box(2), box(1, score=0.2), box(2, score=0.3)]
    data = driven(coco, tmp_path, entries, "boxes.json,0.3")
    assert counts(data) == [1, 2]
    assert data.boxes == "boxes.json, score at least 0.3"
    assert any("1 box with a score below 0.3 was left out" in note for note in data.notes)
    (tmp_path / "boxes.json,0.3").write_text(json.dumps(entries[:1] + entries[1:2]))
    assert counts(coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="boxes.json,0.3")) == [1, 1]
    with pytest.raises(UsageError, match="'much' is no number"):
        driven(coco, tmp_path, entries, "boxes.json,much")


def test_five_numbers_are_a_box_and_its_score(coco: ModuleType, tmp_path: Path) -> None:
    entries = [box(1, bbox=[*TRUE, 0.7]), {"image_id": 2, "category_id": 1, "bbox": [*TRUE, 0.6]}]
    data = driven(coco, tmp_path, entries)
    np.testing.assert_allclose([data[i].input.box_scores[0] for i in range(2)], [0.9, 0.6])


@pytest.mark.parametrize(
    ("category", "n", "said"),
    [(0, 1, "every category_id is 0"), ("person", 1, ""), (None, 1, ""), (1.0, 1, ""), (2, 0, "")],
)
def test_the_category_by_id_or_name_or_the_only_one_there_is(
    coco: ModuleType, tmp_path: Path, category: Any, n: int, said: str
) -> None:
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    entries = [box(1, category_id=category), box(2, category_id=category)]
    if n == 0:
        with pytest.raises(DatasetRejected, match=r"nothing has category_id 1 \(person\)"):
            driven(coco, tmp_path, entries, categories=categories)
        return
    data = driven(coco, tmp_path, entries, categories=categories)
    assert counts(data) == [n, n]
    assert all(said in note for note in data.notes)
    assert bool(data.notes) == bool(said)


def test_a_file_of_another_set_is_refused_and_an_almost_empty_one_is_said(coco: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected, match="2 of images that are not annotated"):
        driven(coco, tmp_path, [box(77), box(78)])
    with pytest.raises(DatasetRejected, match="the list is empty"):
        driven(coco, tmp_path, [])
    with pytest.raises(DatasetRejected, match="found an annotation file"):
        driven(coco, tmp_path, {"images": [], "annotations": []})
    people = [coco.person(i, i) for i in range(1, 5)]
    (tmp_path / "boxes.json").write_text(json.dumps([box(1)]))
    data = coco.small(tmp_path, coco.document(*people, n_images=4), boxes="boxes.json")
    assert any("only 1 of 4 images with people" in note for note in data.notes)


def test_corners_read_as_sizes_are_noticed(coco: ModuleType, tmp_path: Path) -> None:
    x, y, w, h = TRUE
    data = driven(coco, tmp_path, [box(i, bbox=[x, y, x + w, y + h]) for i in (1, 2)])
    assert any("look like x1, y1, x2, y2" in note for note in data.notes)
    data = driven(coco, tmp_path, [box(i, bbox=[0, 0, 5, 5]) for i in (1, 2)])
    assert any("fit nobody well (mean overlap of people with their best box 0.00)" in note for note in data.notes)


@pytest.mark.parametrize("wrong", [{"score": None}, {"score": "x"}, {"image_id": "1"}, {"bbox": [1, 2, 3]}])
def test_a_malformed_entry_is_named(coco: ModuleType, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DatasetRejected, match=r"boxes\.entry: \[1\]"):
        driven(coco, tmp_path, [box(1), box(2) | wrong])


def test_without_boxes_nothing_is_driven_and_no_quality_is_claimed(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="none")
    assert counts(data) == [0, 0]
    assert data.box_quality(range(2)) is None
    assert coco.small(tmp_path, coco.document(coco.person(1, 1))).box_quality(range(2)).recall50 == 1
