"""Dense metrics of one image of 1024 x 768, one thread: against the goals, the memory's bandwidth, and what one would
write first.

Fastest CPU milliseconds of a whole ``measure`` on a person's pixels (a third of the image) and on the full image, the
goal, and the limit: how long it takes merely to read the maps once from memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric, masked, scores_of
from sapiens_bench.tasks.depth.sums import Truth, depth_sums
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.normal.metrics import NormalMetric
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.tasks.seg.confusion import boundary_counts, confusion

HEIGHT, WIDTH, CLASSES = 1024, 768, 28


TOPIC = f"Dense metrics of one image, {WIDTH} x {HEIGHT}"
Case = tuple[str, Callable[[], object], float | None]  # name, what is timed, goal in ms


@pytest.fixture(scope="module")
def bytes_per_ms() -> float:
    """How fast one thread reads memory that is in no cache."""
    large = np.ones(1 << 25)  # 256 MB
    times = []
    for _ in range(5):
        start = time.process_time()
        large.max()
        times.append(time.process_time() - start)
    return large.nbytes / min(times) / 1000


def record(
    page: Any, what: str, cases: list[Case], maps: list[NDArray[Any]], bytes_per_ms: float, why: str = ""
) -> None:
    """A line for each case."""
    limit = f"reading the maps once: {sum(a.nbytes for a in maps) / bytes_per_ms:.2f} ms"
    for name, function, goal_ms in cases:
        page.ms(TOPIC, f"{what}, {name}", function, at_most=goal_ms, beside=limit, if_missed=why)


def label_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, CLASSES, (24, 18)).astype(np.uint8)
    gt = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
    wobble = cv2.resize(rng.normal(size=(64, 48)).astype(np.float32), (WIDTH, HEIGHT))
    pred = np.where(wobble > 0.8, np.roll(gt, 40, 1), np.roll(gt, (5, -4), (0, 1))).astype(np.uint8)
    gt[:8] = 255
    return gt, pred


def salted(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A fifth of the pixels replaced at random."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(labels.shape) < 0.2, rng.integers(0, CLASSES, labels.shape), labels).astype(np.uint8)


def test_confusion_counts(page: Any, bytes_per_ms: float) -> None:
    gt, pred = label_maps()
    g, p = torch.from_numpy(gt).long(), torch.from_numpy(pred).long()

    def histograms() -> list[torch.Tensor]:
        """Three histograms of masked copies, as MMSegmentation's metric makes them."""
        mask = g != 255
        pm, gm = p[mask], g[mask]
        same = pm[pm == gm]
        return [torch.histc(x.float(), bins=CLASSES, min=0, max=CLASSES - 1) for x in (same, pm, gm)]

    table = confusion(gt, pred, CLASSES)
    hit, predicted, true = (h.numpy() for h in histograms())
    np.testing.assert_array_equal(np.diagonal(table), hit)
    np.testing.assert_array_equal(table[:, :CLASSES].sum(0), predicted)
    np.testing.assert_array_equal(table.sum(1), true)
    salt = salted(pred)
    page.ratio(TOPIC, "confusion counts", histograms, lambda: confusion(gt, pred, CLASSES), against="three histograms")
    page.ratio(
        TOPIC,
        "confusion counts, smooth maps over maps with salt noise",
        lambda: confusion(gt, pred, CLASSES),
        lambda: confusion(gt, salt, CLASSES),
        against="smooth",
        rounds=9,
        at_least=0.9,
    )
    cases: list[Case] = [("salt noise", lambda: confusion(gt, salt, CLASSES), None)]
    record(page, "confusion counts", cases, [gt, pred], bytes_per_ms)


def test_boundary_counts(page: Any, bytes_per_ms: float) -> None:
    gt, pred = label_maps()
    salt = salted(pred)
    cases: list[Case] = [
        ("smooth", lambda: boundary_counts(gt, pred, CLASSES), 15),
        ("salt noise", lambda: boundary_counts(gt, salt, CLASSES), 15),
    ]
    record(page, "boundary IoU", cases, [gt, pred], bytes_per_ms)


def person() -> NDArray[np.bool_]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return ((x - WIDTH / 2) / 200.0) ** 2 + ((y - HEIGHT / 2) / 430.0) ** 2 < 1


def depth_maps() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    gt = (2 + 0.3 * cv2.resize(rng.normal(size=(24, 18)), (WIDTH, HEIGHT))).astype(np.float32)
    return gt, (0.7 * gt - 0.2 + 0.01 * rng.normal(size=gt.shape)).astype(np.float32)


MASKS = {"person": person(), "full": np.ones((HEIGHT, WIDTH), bool)}


@pytest.mark.parametrize(
    ("metric", "goal_ms", "name"),
    [(DepthMetric(), 20, "depth, four alignments"), (DepthEdgeMetric(), 10, "depth edges")],
    ids=["depth", "edges"],
)
def test_depth(page: Any, metric: Any, goal_ms: float, name: str, bytes_per_ms: float) -> None:
    gt, pred = depth_maps()
    cases: list[Case] = []
    for place, mask in MASKS.items():
        target = DepthTarget(gt, mask)
        for kind, values in (("affine_invariant_depth", pred), ("affine_invariant_inverse_depth", 1 / pred)):
            prediction = DepthPrediction(values.astype(np.float32), kind)  # type: ignore[arg-type]
            space = "inverse depth" if "inverse" in kind else "depth"
            measure = lambda t=target, p=prediction: metric.measure(t, p)  # noqa: E731
            cases.append((f"{place}, predicted as {space}", measure, goal_ms if place == "person" else None))
    why = "float64 arithmetic, four logarithms and three divisions a pixel, not the memory, is the limit"
    record(page, name, cases, [gt, pred, MASKS["person"]], bytes_per_ms, why)


def test_depth_fit_and_scores(page: Any) -> None:
    mask = person()
    gt, pred = depth_maps()

    def lstsq() -> list[float]:
        g, p = gt[mask].astype(np.float64), pred[mask].astype(np.float64)
        scale, shift = np.linalg.lstsq(np.stack([p, np.ones_like(p)], 1), g, rcond=None)[0]
        a = scale * p + shift
        r = np.maximum(a / g, g / a)
        log = np.log(a) - np.log(g)
        return [
            float(np.sqrt(((a - g) ** 2).mean())), float((np.abs(a - g) / g).mean()), float((r < 1.25).mean()),
            float((r < 1.25**2).mean()), float((r < 1.25**3).mean()), float(((a - g) ** 2 / g).mean()),
            float(np.sqrt((log**2).mean())), float(np.abs(np.log10(a) - np.log10(g)).mean()),
            float(np.sqrt((log**2).mean() - 0.5 * log.mean() ** 2)),
        ]  # fmt: skip

    def ours() -> list[float]:
        sums = depth_sums(masked(pred, mask), Truth(masked(gt, mask)), "affine_invariant_depth", "scale_shift")
        return [float(v) for v in scores_of({k: np.asarray(v) for k, v in sums._asdict().items()}).values()]

    np.testing.assert_allclose(ours(), lstsq(), rtol=1e-9)
    page.ratio(TOPIC, "one depth fit and nine scores", lstsq, ours, against="`lstsq` and plain numpy")


def test_normals(page: Any, bytes_per_ms: float) -> None:
    rng = np.random.default_rng(0)
    gt = rng.normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    pred = (gt + 0.25 * rng.normal(size=gt.shape)).astype(np.float32)

    def float64() -> NDArray[np.float64]:
        a, b = (v[MASKS["person"]].astype(np.float64) for v in (gt, pred))
        a /= np.linalg.norm(a, axis=1, keepdims=True)
        b /= np.linalg.norm(b, axis=1, keepdims=True)
        return np.asarray(np.degrees(np.arccos(np.clip((a * b).sum(1), -1, 1))))

    rows = np.flatnonzero(MASKS["person"])

    def ours() -> NDArray[np.float32]:
        return angles_deg(pred.reshape(-1, 3), gt.reshape(-1, 3), rows)

    off = float(np.abs(ours() - float64()).max())
    assert off < 1e-4
    cases: list[Case] = []
    for place, mask in MASKS.items():
        measure = lambda m=mask: NormalMetric().measure(NormalTarget(gt, m), NormalPrediction(pred))  # noqa: E731
        cases.append((place, measure, 15 if place == "person" else None))
    record(page, "normals", cases, [gt, pred, MASKS["person"]], bytes_per_ms)
    page.add(TOPIC, "normals: farthest from float64 arccos", off, "degrees", at_most=1e-4)
    page.ratio(TOPIC, "normal angles", float64, ours, against="float64 arccos")
