"""``sapiens_bench.metrics``: the scores of a run without a run."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sapiens_bench
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.cell import predict
from sapiens_bench.errors import CardError, ShapeError, UnknownName, UsageError
from sapiens_bench.metrics import PCK, DepthError, KeypointAP, NormalAngles, SegmentationIoU, TaskMetric

N = 3
rng = np.random.default_rng(5)


def pose(found: list[tuple[Any, Any]]) -> dict[str, float]:
    metric = KeypointAP("coco17")
    for p, t in found:
        given = {
            "keypoints": p.keypoints_NK2_px,
            "scores": p.instance_scores_N,
            "keypoint_scores": p.keypoint_scores_NK,
            "boxes": p.boxes_xyxy_px_N4,
        }
        points = np.concatenate([t.keypoints_NK2_px, t.visible_NK[..., None]], axis=2)
        metric.update([given], [{"keypoints": points, "area": t.area_N, "boxes": t.boxes_xyxy_px_N4}])
    return metric.compute()


def seg(found: list[tuple[Any, Any]]) -> dict[str, float]:
    labels, truth = (np.stack([pair[i].labels_HW for pair in found]) for i in (0, 1))
    return SegmentationIoU("body28").update(labels, truth).compute()


def depth(found: list[tuple[Any, Any]]) -> dict[str, float]:
    import torch

    metric = DepthError(kind=found[0][0].kind)
    for p, t in found:  # tensors, as a training loop has them
        metric.update(*(torch.tensor(array) for array in (p.depth_HW, t.depth_HW, t.mask_HW)))
    return metric.compute()


def normal(found: list[tuple[Any, Any]]) -> dict[str, float]:
    first = [np.stack([np.moveaxis(pair[i].normals_HW3, -1, 0) for pair in found]) for i in (0, 1)]
    return NormalAngles().update(*first, np.stack([t.mask_HW for _, t in found])).compute()


@pytest.mark.parametrize(
    ("task", "model", "by_hand"),
    [
        ("pose", "movenet-lightning", pose),
        ("seg", "movenet-lightning-seg", seg),
        ("depth", "movenet-lightning-depth", depth),
        ("normal", "movenet-lightning-normal", normal),
    ],
)
def test_equal_predictions_give_the_scores_of_a_run(
    task: str, model: str, by_hand: Callable[[Any], dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, tuple[Any, Any]] = {}

    def watched(sample: Any, *args: Any) -> Any:
        prediction, fault = predict(sample, *args)
        seen[sample.index] = (prediction, sample.target)
        return prediction, fault

    monkeypatch.setattr("sapiens_bench.engine.cell.predict", watched)
    record = sapiens_bench.evaluate(
        task=task, model=model, datasets="synthetic-humans", split="tiny", limit=N, n_boot=0, out=tmp_path
    )
    expected = {key: score.value for key, score in record.cells[0].scores.items()}
    assert not all(map(math.isnan, expected.values()))
    found = by_hand([seen[i] for i in range(N)])
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value or (math.isnan(found[key]) and math.isnan(value)), key


def test_importing_it_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, sapiens_bench.metrics; print([m for m in ('torch', 'scipy', 'pandas', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_iou_is_of_summed_areas_and_255_is_not_scored() -> None:
    metric = SegmentationIoU(["background", "person"])
    truth = np.array([[[0, 1], [1, 255]], [[1, 1], [1, 1]]])
    metric.update(np.array([[[0, 1], [0, 1]], [[1, 1], [1, 0]]]), truth)
    person, background = 4 / 6, 1 / 3  # 1 + 3 pixels right of 2 + 4; 1 of 1 wrong twice
    assert metric.compute()["seg/miou"] == pytest.approx((person + background) / 2)


def test_depth_in_metres_is_compared_as_it_is_where_nothing_is_fitted() -> None:
    metric = DepthError(kind="metric_depth", alignment="none", edges=False)
    truth = np.array([[2.0, 4.0], [np.nan, 0.0]], np.float32)
    metric.update(np.array([[3.0, 4.0], [9.0, 9.0]], np.float32), truth)
    found = metric.compute()
    assert found["depth/abs_rel"] == pytest.approx(0.25)
    assert found["depth/rmse"] == pytest.approx(math.sqrt(0.5))


def test_angles_are_between_directions_whatever_the_length() -> None:
    truth = np.zeros((3, 1, 2), np.float32)
    truth[2] = 1
    turned = np.stack([np.full((1, 2), 2.0), np.zeros((1, 2)), np.full((1, 2), 2.0)])
    assert NormalAngles().update(turned, truth).compute()["normal/mean_deg"] == pytest.approx(45, abs=1e-4)
    masked = NormalAngles().update(np.stack([turned]), np.stack([truth]), np.array([[[True, False]]]))
    assert masked.rows()["normal/n"].to_pylist() == [1]


def person(offset: float = 0.0) -> dict[str, Any]:
    points = np.stack([np.linspace(10, 60, 17) + offset, np.linspace(10, 90, 17), np.full(17, 2.0)], 1)
    return {"keypoints": points[None], "area": np.array([2000.0]), "boxes": np.array([[5.0, 5, 65, 95]])}


def test_every_instance_counts_where_no_box_is_given_and_pck_needs_no_run() -> None:
    truth = person()
    answer = {"keypoints": truth["keypoints"][..., :2], "scores": np.array([0.3])}
    assert KeypointAP("coco17").update([answer], [truth]).compute()["oks/AP"] == pytest.approx(1)
    twice = {"keypoints": np.repeat(answer["keypoints"], 2, 0), "scores": np.array([0.9, 0.3])}
    twice["keypoints"] = twice["keypoints"] + np.array([500.0, 0])[:, None, None]
    assert KeypointAP("coco17").update([twice], [truth]).compute()["oks/AP"] == pytest.approx(
        0.5
    )  # the better half is 500 px away
    pck = PCK("coco17", by="box", threshold=0.1).update([answer], [truth])
    assert pck.compute()["pck/PCK_0_1"] == 1
    assert all(key.startswith("pck/") for key in pck.compute())
    far = {**answer, "keypoints": answer["keypoints"] + 20}  # of a box of 90 px: further than 0.1
    assert PCK("coco17", by="box", threshold=0.1).update([far], [truth]).compute()["pck/PCK_0_1"] == 0


def test_keypoints_that_are_no_set_of_ours_are_scored_by_their_sigmas() -> None:
    truth = person()
    answer = {"keypoints": truth["keypoints"][..., :2] + 3.0, "scores": np.array([1.0])}
    lax, strict = (KeypointAP(sigmas=[s] * 17).update([answer], [truth]).compute()["oks/AP"] for s in (0.2, 0.01))
    assert (lax, strict) == (pytest.approx(1), 0)
    with pytest.raises(CardError, match="needs the id of a keypoint set, or sigmas"):
        KeypointAP()
    with pytest.raises(UnknownName, match="coco17"):
        KeypointAP("coco-17")


def test_two_workers_make_one_score_and_reset_forgets() -> None:
    truth, answer = rng.uniform(1, 3, (4, 8, 8)), rng.uniform(1, 3, (4, 8, 8))
    whole, a, b = (DepthError(edges=False) for _ in range(3))
    whole.update(answer, truth)
    a.update(answer[:1], truth[:1])
    b.update(answer[1:], truth[1:])
    a.merge(b)
    assert a.compute() == whole.compute()
    assert len(a) == 4
    records = a.records(n_boot=50)
    assert records["depth/rmse"].low < records["depth/rmse"].value < records["depth/rmse"].high
    a.reset()
    assert len(a) == 0
    for ask in (a.compute, lambda: a.records(n_boot=5)):
        with pytest.raises(UsageError, match="DepthError has seen no image"):
            ask()
    with pytest.raises(ShapeError, match="cannot be added"):
        a.merge(NormalAngles())


def test_images_of_two_workers_stay_independent_of_each_other() -> None:
    truth, answer = rng.uniform(1, 3, (4, 8, 8)), rng.uniform(1, 3, (4, 8, 8))
    whole, a, b = (DepthError(edges=False) for _ in range(3))
    whole.update(answer, truth)
    a.update(answer[:2], truth[:2])
    b.update(answer[2:], truth[2:])
    a.merge(b)
    assert a.rows().equals(whole.rows())
    assert a.records(n_boot=20)["depth/rmse"] == whole.records(n_boot=20)["depth/rmse"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: KeypointAP(sigmas=[0.1] * 17), lambda: KeypointAP(sigmas=[0.2] * 17)),
        (DepthError, lambda: DepthError(alignment="none")),
        (lambda: SegmentationIoU(5), lambda: SegmentationIoU(6)),
    ],
)
def test_only_images_that_are_scored_alike_are_merged(
    one: Callable[[], TaskMetric], other: Callable[[], TaskMetric]
) -> None:
    with pytest.raises(ShapeError, match="cannot be added"):
        one().merge(other())
    one().merge(one())


def test_images_of_one_group_are_no_independent_evidence() -> None:
    truth, answer = rng.uniform(1, 3, (4, 8, 8)), rng.uniform(1, 3, (4, 8, 8))
    metric = DepthError(edges=False).update(answer, truth, groups=["a", "a", "b", "b"])
    assert metric.records(n_boot=20)["depth/rmse"].n_groups == 2
    with pytest.raises(ShapeError, match="1 groups for 4 images"):
        metric.update(answer, truth, groups=["a"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DepthError().update(np.ones((1, 4, 4)), np.ones((1, 4, 5))),
        lambda: DepthError().update(np.ones((2, 1, 4, 4)), np.ones((2, 1, 4, 4))),
        lambda: DepthError(kind="metres").update(np.ones((4, 4)), np.ones((4, 4))),  # type: ignore[arg-type]
        lambda: SegmentationIoU(3).update(np.full((1, 2, 2), 7), np.zeros((1, 2, 2), int)),
        lambda: SegmentationIoU(3).update(np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int)),
        lambda: SegmentationIoU(3).update(np.zeros((1, 2, 2), int), np.full((1, 2, 2), 300)),
        lambda: NormalAngles().update(np.ones((1, 4, 4, 3)), np.ones((1, 4, 4, 3))),
        lambda: KeypointAP("coco17").update([{"keypoints": np.ones((1, 16, 2)), "scores": np.ones(1)}], [person()]),
        lambda: KeypointAP("coco17").update([], [person()]),
        lambda: KeypointAP("coco17").update([{"scores": np.ones(1)}], [person()]),
    ],
)
def test_a_mistake_in_the_code_around_it_is_no_score(wrong: Callable[[], TaskMetric]) -> None:
    with pytest.raises(ShapeError):
        wrong()


def test_a_batch_that_is_refused_leaves_nothing_behind() -> None:
    metric = SegmentationIoU(3)
    with pytest.raises(ShapeError, match="image 1"):
        metric.update(np.stack([np.zeros((2, 2), int), np.full((2, 2), 9)]), np.zeros((2, 2, 2), int))
    assert len(metric) == 0


def test_a_bad_answer_counts_as_in_a_run_and_an_empty_truth_leaves_the_score() -> None:
    metric = DepthError(edges=False)
    truth = np.stack([np.full((4, 4), 2.0), np.zeros((4, 4))])
    truth[0, 0] = 3.0
    answer = truth.copy()
    answer[0, 0, 0] = np.nan
    metric.update(answer, truth)
    assert [(i, code) for i, code, _ in metric.faults] == [(0, "pred.nonfinite"), (1, "label.empty")]
    assert metric.compute()["depth/coverage"] == pytest.approx(15 / 16)


def test_any_task_can_be_measured_by_its_own_records() -> None:
    from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
    from sapiens_bench.types import ModelInput

    space = Catalog.load().space("person2")
    metric = TaskMetric.named("seg", space, boundary=False)
    labels = np.array([[0, 1]], np.uint8)
    x = ModelInput("", np.zeros((0, 0, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    metric.add(SegPrediction(labels), SegTarget(labels), x)
    assert metric.compute()["seg/miou"] == 1
    with pytest.raises(CardError, match="bondary"):
        TaskMetric.named("seg", space, bondary=False)
