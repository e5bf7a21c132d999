"""Images of a shard measured together: the same rows as one by one, and none at all where a metric raises."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.engine.measure import measure_together
from sapiens_bench.errors import MachineFault
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
from sapiens_bench.types import Task

KEYPOINTS = SpaceCard(
    schema="space/1", id="k", title="k", kind="keypoints", source="test", names=("a", "b", "c"), sigmas=(0.1,) * 3
)
LABELS = SpaceCard(schema="space/1", id="l", title="l", kind="labels", source="test", names=("background", "skin"))


def poses(rng: np.random.Generator) -> tuple[PoseTarget, PosePrediction]:
    n = int(rng.integers(0, 4))
    points, corner = rng.uniform(0, 50, (n, 3, 2)), rng.uniform(0, 9, (n, 2))
    boxes = np.concatenate([corner, corner + 40], axis=1)
    target = PoseTarget(points, np.ones((n, 3)), np.full(n, 900.0), np.zeros(n, bool), boxes, np.arange(n))
    shifted = (points + rng.normal(0, 2, points.shape)).astype(np.float32)
    scores = rng.random((n, 3)).astype(np.float32)
    return target, PosePrediction(shifted, scores, rng.random(n).astype(np.float32), boxes.astype(np.float32))


def labels(rng: np.random.Generator) -> tuple[SegTarget, SegPrediction]:
    gt, pred = rng.integers(0, 2, (2, 9, 7)).astype(np.uint8)
    return SegTarget(gt), SegPrediction(pred)


def assert_alike(task: Task, pairs: list[tuple[Any, Any]]) -> None:
    targets, predictions = zip(*pairs, strict=True)
    found = measure_together(task, targets, predictions)
    assert not isinstance(found, Exception)
    for row, target, prediction in zip(found, targets, predictions, strict=True):
        alone = {f"{m.name}/{k}": v for m in task.metrics for k, v in m.measure(target, prediction).items()}
        assert list(row) == list(alone)
        for key, value in alone.items():
            np.testing.assert_array_equal(row[key], value, strict=True)


def test_a_metric_that_can_measure_many_does_and_another_goes_one_by_one() -> None:
    rng = np.random.default_rng(0)
    pose = task_for(EvalProtocol(task="pose", title="p", default=True), KEYPOINTS)
    assert_alike(pose, [poses(rng) for _ in range(12)])
    seg = task_for(EvalProtocol(task="seg", title="s", default=True), LABELS)
    assert not hasattr(seg.metrics[0], "measure_many")
    assert_alike(seg, [labels(rng) for _ in range(3)])


def test_no_images_give_no_rows() -> None:
    assert measure_together(task_for(EvalProtocol(task="pose", title="p", default=True), KEYPOINTS), [], []) == []


def test_an_image_that_breaks_a_metric_leaves_the_others_to_be_measured_alone() -> None:
    rng = np.random.default_rng(0)
    seg = task_for(EvalProtocol(task="seg", title="s", default=True), LABELS)
    target, prediction = labels(rng)
    wrong = SegPrediction(prediction.labels_HW[:3])
    assert isinstance(measure_together(seg, [target, target], [prediction, wrong]), Exception)


BAD: dict[str, Any] = {
    "data": {"n": 17, "input_faults": (3,), "exceptions": (12,)},
    "options": {"finish_faults": (1,), "forward_faults": (8,), "say": {"4": "nan", "7": "array"}, "bias": 0.1},
}


def together(monkeypatch: pytest.MonkeyPatch, toy: ModuleType, spoil: int = 0) -> list[int]:
    """The toy's metric measures many from now on; the number of images of each call comes into the list."""
    calls: list[int] = []

    def measure_many(self: Any, targets: Sequence[Any], predictions: Sequence[Any]) -> list[Any]:
        calls.append(len(targets))
        return [self.measure(t, p) for t, p in zip(targets, predictions, strict=True)][spoil:]

    monkeypatch.setattr(toy.MeanError, "measure_many", measure_many, raising=False)
    return calls


def written(out: Path) -> dict[str, bytes]:
    paths = [p for kind in ("rows", "preds") for p in (out / kind).rglob("shard-*.parquet")]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def test_a_run_measures_a_shard_in_one_pass_and_writes_the_same_bytes(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = toy.go(tmp_path / "alone", **BAD)
    calls = together(monkeypatch, toy)
    found = toy.go(tmp_path / "together", **BAD)
    assert calls == [4, 5, 4, 2]  # shards of five; two pictures cannot be read
    assert written(tmp_path / "together") == written(tmp_path / "alone") != {}
    assert found.cells[0].scores == alone.cells[0].scores
    assert found.cells[0].counts == alone.cells[0].counts


@pytest.mark.parametrize("spoil", [0, 1], ids=["a metric that raises", "a row too few"])
def test_whoever_breaks_a_metric_is_charged_alone(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: int
) -> None:
    say = {} if spoil else {"7": 1234.0}  # the metric stumbles over it
    toy.go(tmp_path / "alone", options={"say": say})
    calls = together(monkeypatch, toy, spoil)
    # where nobody is at fault alone, the metric is, and the screen says so
    told = pytest.warns(RuntimeWarning, match=r"image by image \(.*ValueError: zip") if spoil else nullcontext()
    with told:
        (cell,) = toy.go(tmp_path / "together", options={"say": say}).cells
    assert calls == [5] * 6
    assert [(e.key, e.code) for e in cell.errors] == ([] if spoil else [("toy/00007", "pred.exception")])
    assert written(tmp_path / "together") == written(tmp_path / "alone")


def test_a_machine_that_fails_every_image_stops_the_run(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that does not suffice for one image either is no image's fault, and nothing is committed."""
    together(monkeypatch, toy)

    def fail(self: Any, target: Any, prediction: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(toy.MeanError, "measure", fail)
    with pytest.raises(MachineFault):
        toy.go(tmp_path)
    assert written(tmp_path) == {}
