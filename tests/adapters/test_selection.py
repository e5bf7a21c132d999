"""``--select``: which samples a rule keeps, and that nothing else about them changes."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapiens_bench.adapters.conditions.condition import Condition
from sapiens_bench.adapters.conditions.conditioned import Conditioned
from sapiens_bench.adapters.selection.rule import Selection, read_selection
from sapiens_bench.adapters.selection.selected import Selected
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.tasks import task_kind
from sapiens_bench.types import KnowsFiles, Materialised, Task

_OPS = (">", ">=", "<", "<=", "=", "!=")


def rule(text: str) -> Selection:
    found = read_selection(text)
    assert found is not None
    return found


def pose() -> Task:
    kind = task_kind("pose")
    return kind.make(kind.Scoring(), Catalog.load(()).space("coco17"))


@pytest.mark.parametrize(
    "text",
    [
        "box_px",
        "box_px>",
        ">300",
        "box_px>>300",
        "box_px>3,",
        "box_px>x",
        "box_px>1e999",
        "box_px>nan",
        "a b>1",
        "x>1;y>2",
    ],
)
def test_what_is_no_comparison_with_a_finite_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME OP NUMBER"):
        read_selection(text)


@given(
    st.lists(
        st.tuples(st.sampled_from(["box_px", "people"]), st.sampled_from(_OPS), st.floats(-1e9, 1e9)),
        min_size=1,
        max_size=4,
    ),
    st.randoms(),
)
def test_a_rule_reads_the_same_in_any_order_and_from_its_own_text(
    tests: list[tuple[str, str, float]], random: Any
) -> None:
    parts = [f"{name} {op} {value!r}" for name, op, value in tests]
    shuffled = random.sample(parts, len(parts))
    assert (
        read_selection(",".join(parts))
        == read_selection(",".join(shuffled))
        == read_selection(rule(",".join(parts)).text)
    )


@pytest.mark.parametrize(
    ("op", "held"), [(">", 0b100), (">=", 0b110), ("<", 0b001), ("<=", 0b011), ("=", 0b010), ("!=", 0b101)]
)
def test_comparisons_mean_what_they_say_and_nothing_holds_of_nan(op: str, held: int) -> None:
    found = rule(f"people{op}2")
    assert [found.keeps({}, {"people": v}) for v in (1.0, 2.0, 3.0)] == [bool(held >> i & 1) for i in range(3)]
    assert not found.keeps({}, {"people": float("nan")})


def test_one_box_must_pass_every_test_of_a_box() -> None:
    both = rule("box_score>0.9,box_px>300")
    large_but_unsure, sure_but_small = (0.5, 400.0), (0.95, 100.0)
    columns = list(zip(large_but_unsure, sure_but_small, strict=True))
    boxes = {"box_score": list(columns[0]), "box_px": list(columns[1]), "box_long_px": [400.0, 400.0]}
    assert not both.keeps(boxes, {})
    boxes["box_score"][0] = 0.91
    assert both.keeps(boxes, {})
    assert not both.keeps({name: [] for name in boxes}, {})  # nobody was found


def detected(coco: ModuleType, folder: Path) -> Any:
    """Three images: a sure large box, a sure small one beside an unsure large one, none."""
    entries = [
        {"image_id": i, "category_id": 1, "bbox": box, "score": score}
        for i, box, score in (
            (1, [10, 10, 80, 100], 0.95),
            (2, [50, 60, 40, 50], 0.95),
            (2, [10, 10, 80, 100], 0.5),
        )
    ]
    (folder / "boxes.json").write_text(json.dumps(entries))
    people = [coco.person(i, i, iscrowd=0) for i in (1, 2, 3)]
    return coco.small(folder, coco.document(*people, n_images=3), boxes="boxes.json")


def test_the_curation_rule_takes_score_and_shorter_side_from_the_detectors_boxes(
    coco: ModuleType, tmp_path: Path
) -> None:
    data = detected(coco, tmp_path)
    kept = Selected(data, rule("box_score>0.9,box_px>60"), pose())
    assert kept.kept == (0,)
    assert kept.notes[0] == "Selected by box_px>60,box_score>0.9: 1 of 3 images."
    assert Selected(data, rule("box_px>60"), pose()).kept == (0, 1)
    assert Selected(data, rule("box_long_px>99"), pose()).kept == (0, 1)
    assert Selected(data, rule("people=1"), pose()).kept == (0, 1, 2)


def test_a_selected_sample_is_the_sample_at_its_new_place(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 2), coco.person(2, 2), coco.person(3, 3), n_images=3))
    kept = Selected(data, rule("people>=1"), pose())
    assert kept.kept == (1, 2)
    assert [kept[i].index for i in range(2)] == [0, 1]
    for i, below in enumerate(kept.kept):
        assert kept[i].key == data[below].key == kept.keys[i]
        np.testing.assert_array_equal(kept[i].input.image_HW3, data[below].input.image_HW3)
        np.testing.assert_array_equal(kept[i].target.boxes_xyxy_px_N4, data[below].target.boxes_xyxy_px_N4)
        assert kept.identity(i) == data.identity(below)
        assert kept.image_id(i) == data.image_id(below) == below + 1
    bare = kept.without_pictures()
    assert (bare.keys, bare.manifest_sha256) == (kept.keys, kept.manifest_sha256)
    assert bare[1].target.ids_N.tolist() == [3]
    assert bare[1].input.image_HW3.size == 0
    assert kept.box_quality(range(1)).n_people == 2
    assert kept.index is data.index
    with pytest.raises(IndexError):
        kept[2]


def test_where_no_box_drives_a_model_peoples_own_boxes_are_looked_at(coco: ModuleType, tmp_path: Path) -> None:
    people = [coco.person(1, 1), coco.person(2, 2, bbox=[50.0, 60.0, 20.0, 50.0], area=500.0)]
    data = coco.small(tmp_path, coco.document(*people), boxes="none")
    kept = Selected(data, rule("box_px>30,box_score>0.9"), pose(), driven=False)
    assert kept.kept == (0,)
    assert "whose box_score is 1" in kept.notes[0]


def test_an_unknown_attribute_is_refused_with_those_that_are_known(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)))
    with pytest.raises(UnknownName, match=r"'pixel_height'.* Known of this .*: box_score, box_px, box_long_px, people"):
        Selected(data, rule("pixel_height>0"), pose())
    with pytest.raises(
        UnknownName, match=r"Did you mean 'people'.* Known of this .*: box_score, box_px, box_long_px, people"
    ):
        Selected(data, rule("peopel>0"), pose())


def test_selecting_nothing_is_refused_with_how_far_the_values_reach(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)))
    with pytest.raises(UsageError, match=r"selects none of 2 images\. box_px is from 40 to 40"):
        Selected(data, rule("box_px>300"), pose())


def test_a_label_at_fault_stays_to_be_excluded_and_counted(coco: ModuleType, tmp_path: Path) -> None:
    broken = coco.person(2, 2, bbox=[50.0, 60.0, 0.0, 0.0])
    data = coco.small(tmp_path, coco.document(coco.person(1, 1), broken, n_images=3))
    kept = Selected(data, rule("people=1"), pose())
    assert kept.kept == (0, 1)
    assert "1 of them cannot be judged" in kept.notes[0]


def test_other_rules_make_other_sets_even_of_the_same_images(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1), coco.person(2, 2)))
    a, b = (Selected(data, rule(text), pose()) for text in ("box_px>30", "box_px>31"))
    assert a.kept == b.kept
    assert len({a.manifest_sha256, b.manifest_sha256, data.manifest_sha256}) == 3


def test_a_condition_over_a_selection_still_makes_files_and_knows_them() -> None:
    class Made:
        keys, groups, manifest_sha256 = ("a", "b"), ("a", "b"), "m"

        def __init__(self) -> None:
            self.asked: list[list[int]] = []

        def __len__(self) -> int:
            return 2

        def person_boxes(self, index: int) -> Any:
            return np.array([[0.0, 0.0, 10.0 * (index + 1), 50.0]])

        def identity(self, index: int) -> str:
            return "ab"[index]

        def materialise(self, indices: Any, workers: int, progress: Any) -> None:
            self.asked.append(list(indices))

    kind = task_kind("depth")
    made = Made()
    task = replace(kind.make(kind.Scoring(), None), attributes=None)
    kept = Selected(made, rule("box_px>10,people=1"), task)  # type: ignore[arg-type]
    assert made.asked == [[0, 1]]
    over = Conditioned(kept, Condition(name="blur", level=1), is_whole_image=True)
    assert isinstance(over, Materialised)
    assert isinstance(over, KnowsFiles)
    over.materialise([0], 1, lambda done, total: None)
    assert made.asked[-1] == [1]
    assert over.identity(0) == "b"


def test_what_rendered_pictures_state_can_be_asked_for(tmp_path: Path) -> None:
    def kept(task: str, text: str) -> tuple[int, ...]:
        model = "oracle" if task == "pose" else f"oracle-{task}"
        asked = {"task": task, "models": (model,), "datasets": ("synthetic-humans",), "split": "tiny", "select": text}
        return tuple(resolve(Request(**asked, out=tmp_path), Catalog.load(())).data[0].open.adapter.kept)

    near = kept("pose", "pixel_height>500,skin_tone<4")
    assert 0 < len(near) < 12
    assert kept("depth", "pixel_height>500,skin_tone<4") == near
    with pytest.raises(UnknownName, match=r"pixel_heigth.*Did you mean 'pixel_height'"):
        kept("seg", "pixel_heigth>500")


@pytest.mark.parametrize(
    ("task", "model"),
    [("pose", "oracle"), ("seg", "oracle-seg"), ("depth", "oracle-depth"), ("normal", "oracle-normal")],
)
def test_every_task_knows_boxes_and_people_of_synthetic_humans(task: str, model: str, tmp_path: Path) -> None:
    request = Request(
        task=task, models=(model,), datasets=("synthetic-humans",), split="tiny", select="people>1", out=tmp_path
    )
    plan = resolve(request, Catalog.load(()))
    spec = plan.cells[0]
    assert spec.cell.n_samples == 3
    assert spec.fields["select"] == {"rule": "people>1", "version": 1}
    whole = resolve(
        Request(task=task, models=(model,), datasets=("synthetic-humans",), split="tiny", out=tmp_path),
        Catalog.load(()),
    )
    assert "select" not in whole.cells[0].fields
    assert spec.cell.fingerprint != whole.cells[0].cell.fingerprint
    assert pickle.loads(pickle.dumps(spec)).data == type(spec).from_json(spec.to_json()).data == spec.data
