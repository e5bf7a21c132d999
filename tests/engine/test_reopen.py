"""The data set of a run, opened again from its record: the same samples, or a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.reopen import reopen, targets
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import UsageError
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord


def asked(**changes: object) -> tuple[RunRecord, CellRecord]:
    """A record of a run on the small split, its manifest as it is now."""
    request = Request(task="pose", datasets=("synthetic-humans",), split="tiny", **changes)  # type: ignore[arg-type]
    catalog = Catalog.load()
    data = open_named(catalog.dataset("synthetic-humans"), "gt-box", request.data(), catalog).open
    facts = {"synthetic-humans": DatasetRecord(manifest_sha256=data.adapter.manifest_sha256)}
    cell = CellRecord(task="pose", dataset="synthetic-humans", protocol="gt-box", model="m", title="M", status="done")
    return RunRecord(status="done", task="pose", request=request.as_json(), datasets=facts, cells=[cell]), cell


@pytest.mark.parametrize("boxes", ["", "jitter:0.1"])
def test_the_same_samples_come_back_with_their_boxes(boxes: str) -> None:
    record, cell = asked(boxes=boxes)
    data = reopen(record, cell, Catalog.load())
    assert len(data.adapter) == 12
    assert data.spec.boxes == boxes
    assert [index for index, _ in targets(data, [3, 5])] == [3, 5]


def test_a_data_set_that_changed_is_refused() -> None:
    record, cell = asked()
    record.datasets["synthetic-humans"].manifest_sha256 = "0" * 64
    with pytest.raises(UsageError, match="not the one that was scored"):
        reopen(record, cell, Catalog.load())


def test_boxes_of_a_detector_are_not_asked_for_again() -> None:
    record, cell = asked()
    record.request["boxes"] = "detector:anything"
    assert reopen(record, cell, Catalog.load()).spec.boxes == ""


def test_a_file_of_truth_is_found_again_and_no_picture_is_opened(tmp_path: Path) -> None:
    import json

    points = np.tile([10.0, 20.0, 2.0], 17).tolist()
    person = {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 100.0, "bbox": [0, 0, 9, 9],
              "num_keypoints": 17, "keypoints": points}  # fmt: skip
    document = {"images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}], "annotations": [person],
                "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(document))
    request = {"datasets": [f"truth:{tmp_path / 't.json'}"], "boxes": "none", "models": ["predictions:gone.json"]}
    cell = CellRecord(task="pose", dataset="t", protocol="people", model="m", title="M", status="done")
    record = RunRecord(status="done", task="pose", request=request, cells=[cell])
    found = dict(targets(reopen(record, cell, Catalog.load()), [0]))
    assert found[0].keypoints_NK2_px[0, 0].tolist() == [10.0, 20.0]
