"""Dense metrics beside what one would write first; the same numbers, 1024 x 768 maps, one thread."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from sapiens_bench.tasks.depth.metrics import masked, scores_of
from sapiens_bench.tasks.depth.sums import Truth, depth_sums
from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.seg.confusion import confusion

HEIGHT, WIDTH, CLASSES = 1024, 768, 28


def label_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, CLASSES, (24, 18)).astype(np.uint8)
    gt = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
    wobble = cv2.resize(rng.normal(size=(64, 48)).astype(np.float32), (WIDTH, HEIGHT))
    pred = np.where(wobble > 0.8, np.roll(gt, 40, 1), np.roll(gt, (5, -4), (0, 1))).astype(np.uint8)
    gt[:8] = 255
    return gt, pred


def test_confusion_counts(benchmark: BenchmarkFixture, ratio: Callable[..., float]) -> None:
    gt, pred = label_maps()
    g, p = torch.from_numpy(gt).long(), torch.from_numpy(pred).long()

    def histograms() -> list[torch.Tensor]:
        """Three histograms of masked copies, as MMSegmentation's metric makes them."""
        mask = g != 255
        pm, gm = p[mask], g[mask]
        same = pm[pm == gm]
        return [torch.histc(x.float(), bins=CLASSES, min=0, max=CLASSES - 1) for x in (same, pm, gm)]

    table = benchmark(confusion, gt, pred, CLASSES)
    hit, predicted, true = (h.numpy() for h in histograms())
    np.testing.assert_array_equal(np.diagonal(table), hit)
    np.testing.assert_array_equal(table[:, :CLASSES].sum(0), predicted)
    np.testing.assert_array_equal(table.sum(1), true)
    benchmark.extra_info["times faster than three histograms"] = ratio(histograms, lambda: confusion(gt, pred, CLASSES))


def person() -> NDArray[np.bool_]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return ((x - WIDTH / 2) / 200.0) ** 2 + ((y - HEIGHT / 2) / 430.0) ** 2 < 1


def test_depth_fit_and_scores(benchmark: BenchmarkFixture, ratio: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    mask = person()
    gt = (2 + 0.3 * cv2.resize(rng.normal(size=(24, 18)), (WIDTH, HEIGHT))).astype(np.float32)
    pred = (0.7 * gt - 0.2 + 0.01 * rng.normal(size=gt.shape)).astype(np.float32)

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
        g, p = masked(gt, mask), masked(pred, mask)
        sums = depth_sums(p, Truth(g), "affine_invariant_depth", "scale_shift")
        return [float(v) for v in scores_of({k: np.asarray(v) for k, v in sums._asdict().items()}).values()]

    np.testing.assert_allclose(benchmark(ours), lstsq(), rtol=1e-9)
    benchmark.extra_info["times faster than lstsq and plain numpy"] = ratio(lstsq, ours)


def test_normal_angles(benchmark: BenchmarkFixture, ratio: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    gt = rng.normal(size=(int(person().sum()), 3)).astype(np.float32)
    pred = (gt + 0.25 * rng.normal(size=gt.shape)).astype(np.float32)

    def float64() -> NDArray[np.float64]:
        a, b = gt.astype(np.float64), pred.astype(np.float64)
        a /= np.linalg.norm(a, axis=1, keepdims=True)
        b /= np.linalg.norm(b, axis=1, keepdims=True)
        return np.asarray(np.degrees(np.arccos(np.clip((a * b).sum(1), -1, 1))))

    away = float(np.abs(benchmark(angles_deg, pred, gt) - float64()).max())
    assert away < 1e-4
    benchmark.extra_info["largest difference, degrees"] = away
    benchmark.extra_info["times faster than float64 arccos"] = ratio(float64, lambda: angles_deg(pred, gt))
