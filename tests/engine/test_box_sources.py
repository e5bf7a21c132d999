"""Box sources of a run: truth, jitter, a file, a detector card; and the study that compares them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from sapiens_bench.api import evaluate
from sapiens_bench.engine import detect
from sapiens_bench.errors import DataMissing, UnknownName, UsageError, WeightsMissing
from sapiens_bench.report.box_study import box_study
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.store.record import RunRecord

FILE = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    torch.set_num_threads(1)
    import sapiens_cards
    import tiny_detectors

    return SimpleNamespace(cards=sapiens_cards, detectors=tiny_detectors)


@pytest.fixture
def go(shared: Path, tmp_path: Path, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the tiny Sapiens network under a box source, with a cache of its own."""
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(shared / "golden" / "sapiens-v1" / "models" / "pose17.safetensors", weights)
    card = tools.cards.family("tiny-family", "pose17", [tools.cards.variant("tiny", "pose17.safetensors")])
    tools.cards.write_card(tmp_path / "cards", card)

    def run(boxes: str, out: str, **request: Any) -> RunRecord:
        defaults: dict[str, Any] = {
            "task": "pose",
            "models": ("tiny",),
            "datasets": ("coco-val2017",),
            "data_root": shared / "data" / "coco",
            "weights_root": weights,
            "cards": (tmp_path / "cards",),
            "out": tmp_path / out,
            "n_boot": 20,
            "device": "cpu",
            "boxes": boxes,
        }
        return evaluate(**{**defaults, **request})

    return run


def about(record: RunRecord) -> dict[str, Any]:
    return record.datasets["coco-val2017"].model_dump()


def write_detector(tmp_path: Path, tools: SimpleNamespace, **options: Any) -> None:
    tools.detectors.write_rtdetr(tmp_path / "weights" / "tiny_rtdetr")
    card = {
        "schema": "detector/1",
        "id": "tiny-detectors",
        "title": "Tiny",
        "licence": {"name": "none"},
        "wrapper": "rtdetr",
        "trained_on": "nothing",
        "variants": [
            {
                "id": "tiny-detr",
                "title": "Tiny RT-DETR",
                "weights": {"file": "tiny_rtdetr", "format": "hf", "sha256": None, "get": {"how": "a fixture"}},
                "options": options,
            }
        ],
    }
    (tmp_path / "cards" / "detector.yaml").write_text(yaml.safe_dump(card))


def test_run_json_tells_what_drove_the_model(go: Any, tools: SimpleNamespace, shared: Path) -> None:
    truth, detected, moved = (about(go(b, o)) for b, o in (("", "gt"), (FILE, "file"), ("jitter:0.2,3", "jitter")))
    assert truth["boxes_source"] == "ground truth"
    assert truth["boxes_sha256"] == ""
    assert truth["box_quality"]["mean_iou"] > 0.99
    assert (truth["box_quality"]["n_boxes"], truth["box_quality"]["n_people"]) == (12, 12)
    assert detected["boxes_source"] == Path(FILE).name
    assert detected["boxes_sha256"] == tools.cards.sha256(shared / "data" / "coco" / FILE)
    assert detected["box_quality"]["n_boxes"] == 118
    assert 0.6 < detected["box_quality"]["ap"] < truth["box_quality"]["ap"]
    assert moved["boxes_source"] == "ground truth, jittered by 0.2 (seed 3)"
    assert 0.5 < moved["box_quality"]["mean_iou"] < 0.95


def test_a_detector_card_makes_the_boxes_once(
    go: Any, tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(tmp_path, tools, score_threshold=0.1)
    events: list[Any] = []
    record = go("detector:tiny-detr", "first", on_event=events.append)
    assert any("Tiny RT-DETR" in str(getattr(event, "text", "")) for event in events)
    facts = about(record)
    (file,) = (tmp_path / "cache" / "boxes").glob("*/coco-val2017-tiny-detr-4.json")
    entries = json.loads(file.read_text())
    assert facts["boxes"] == "detector:tiny-detr"
    assert facts["boxes_sha256"] == tools.cards.sha256(file)
    assert facts["box_quality"]["n_boxes"] == len(entries) > 0
    keys = [(entry["image_id"], -entry["score"]) for entry in entries]
    assert keys == sorted(keys)
    assert all(entry["category_id"] == 1 and entry["score"] > 0.1 for entry in entries)

    def never(*_: Any) -> Iterator[Any]:
        raise AssertionError("the detector ran again")

    monkeypatch.setattr(detect, "_make", never)
    again = go("detector:tiny-detr", "second")
    assert about(again)["boxes_sha256"] == facts["boxes_sha256"]
    assert [c.scores for c in again.cells] == [c.scores for c in record.cells]
    with pytest.raises(AssertionError, match="ran again"):
        go("detector:tiny-detr,0.5", "other-threshold")


def test_a_stopped_detection_goes_on_with_what_it_has(
    go: Any, tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(tmp_path, tools)
    monkeypatch.setattr(detect, "PART", 1)
    seen: list[int] = []
    original = detect._entries

    def failing(adapter: Any, index: int, run: Any) -> Any:
        seen.append(index)
        if seen == [0, 1, 2]:
            raise KeyboardInterrupt
        return original(adapter, index, run)

    monkeypatch.setattr(detect, "_entries", failing)
    with pytest.raises(KeyboardInterrupt):
        go("detector:tiny-detr", "stopped")
    whole = about(go("detector:tiny-detr", "stopped"))
    assert seen == [0, 1, 2, 2, 3]
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(detect, "_entries", original)
    assert about(go("detector:tiny-detr", "unbroken"))["boxes_sha256"] == whole["boxes_sha256"]


def test_wrong_detector_requests_say_what_to_do(go: Any, tools: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="rtdetr-r50"):
        go("detector:rtdetr-r5", "x")
    with pytest.raises(WeightsMissing, match="PekingU"):
        go("detector:rtdetr-r50", "x")
    write_detector(tmp_path, tools)
    with pytest.raises(UsageError, match="score threshold"):
        go("detector:tiny-detr,high", "x")
    with pytest.raises(UsageError, match="COCO format"):
        go("detector:tiny-detr", "x", datasets=("synthetic-humans",), split="tiny", limit=1)


def test_a_plan_without_boxes_does_not_run_the_detector(
    go: Any, tools: SimpleNamespace, tmp_path: Path, shared: Path
) -> None:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.plan import resolve
    from sapiens_bench.engine.request import Request

    write_detector(tmp_path, tools)
    request = Request(
        task="pose", models=("oracle",), datasets=("coco-val2017",), boxes="detector:tiny-detr", device="cpu",
        data_root=shared / "data" / "coco", weights_root=tmp_path / "weights", cards=(tmp_path / "cards",),
    )  # fmt: skip
    with pytest.raises(DataMissing, match="without --dry-run"):
        resolve(request, Catalog.load(request.cards))
    assert not (tmp_path / "cache" / "boxes").exists()


def test_the_study_sets_ap_beside_box_quality(go: Any) -> None:
    sources = [("jitter:0.3", "j3"), ("gt", "gt"), ("jitter:0.1", "j1")]
    records = [go(boxes, out, models=("tiny", "oracle")) for boxes, out in sources]
    table = box_study(records)
    (block,) = table.blocks
    rows = [row for row in block.rows if row.model.startswith("oracle@")]
    ious = [row.cells["boxes/mean_iou"].value for row in rows]
    assert ious == sorted(ious, reverse=True)
    assert rows[0].title.endswith("ground truth")
    assert len(block.rows) == 6
    for row in block.rows:
        cell = next(c for r in records for c in r.cells
                    if row.model == f"{c.model}@{about(r)['boxes_source']}")  # fmt: skip
        assert row.cells["oks/AP"].value == cell.scores["oks/AP"].value
    for fmt in FORMATS:
        assert "Box IoU" in render(table, fmt) or fmt in ("json", "csv")
    with pytest.raises(UsageError, match="at least two box sources"):
        box_study(records[:1])
    with pytest.raises(UsageError, match="Give each run once"):
        box_study([*records, records[0]])


def test_the_loss_is_measured_from_the_best_boxes_of_the_same_model() -> None:
    def record(source: str, iou: float, ap: float) -> RunRecord:
        from sapiens_bench.store.record import CellRecord, Counts, ScoreRecord

        score = ScoreRecord(value=ap, title="AP", percent=True, decimals=1, headline=True)
        cell = CellRecord(
            task="pose", dataset="d", protocol="p", model="m", title="M", status="done", headline="oks/AP",
            scores={"oks/AP": score}, counts=Counts(planned=2, ok=2),
        )  # fmt: skip
        quality = {"n_boxes": 4, "n_people": 2, "mean_iou": iou, "recall50": 1.0, "ap": None}
        facts = {"d": {"title": "D", "n_images": 2, "boxes_source": source, "box_quality": quality}}
        return RunRecord(status="done", task="pose", datasets=facts, cells=[cell])

    (block,) = box_study([record("b", 0.7, 0.5), record("a", 0.9, 0.625)]).blocks
    first, second = block.rows
    assert (first.title, second.title) == ("M, a", "M, b")
    assert first.cells["boxes/loss"].value == 0
    assert second.cells["boxes/loss"].value == 0.125
    assert second.cells["boxes/per_image"].value == 2
