"""Is larger farther, or nearer? Scored both ways against the truth. Axes: N scored pixels of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.direction import INVERSE
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.types import Choices

FARTHER, NEARER = "larger is farther", "larger is nearer"


class Direction:
    """See ``types.Convention``; errors are RMSE in metres after a fit that may not turn the map over."""

    unit = "m"

    def choices(self, prediction: DepthPrediction, target: DepthTarget) -> Choices:
        errors, floor = depth_scores(prediction.depth_HW[target.mask_HW], target.depth_HW[target.mask_HW])
        declared = NEARER if prediction.kind == INVERSE else FARTHER
        return Choices(errors, declared, floor)

    def correction(self, best: str, options: Mapping[str, Any]) -> str:
        """See ``types.Convention``. The option is called ``depth_kind``, or ``kind`` by older wrappers."""
        kind = INVERSE if best == NEARER else "affine_invariant_depth"
        name = next((name for name in ("depth_kind", "kind") if name in options), "")
        said = f"write options: {{{name}: {kind}}} into its card, or give --option {name}={kind}"
        what = said if name else "its wrapper has no option for it"
        return f"its depth direction is declared wrongly; {what}" + ("" if name else f", but has to return {kind!r}")

    def doubt(self, targets: Sequence[DepthTarget]) -> str:
        """See ``types.Convention``: metres are what they are, so the direction of the truth is not in question."""
        return ""


def depth_scores(pred_N: NDArray[np.float32], gt_N: NDArray[np.float32]) -> tuple[dict[str, float], float]:
    """RMSE in metres read as depth and as inverse depth, and that of the mean depth.

    The usual fit of scale and shift may turn a map over and hide a wrong direction; here the scale may not be negative.
    """
    pred, gt = pred_N.astype(np.float64), gt_N.astype(np.float64)
    inverse = np.clip(_upright_fit(pred, 1 / gt), 1 / gt.max(), 1 / gt.min())
    errors = {FARTHER: _upright_fit(pred, gt) - gt, NEARER: 1 / inverse - gt}
    return {name: _rms(error) for name, error in errors.items()}, _rms(gt - gt.mean())


def _upright_fit(pred_N: NDArray[np.float64], gt_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares scale and shift with a scale of at least 0."""
    centred = pred_N - pred_N.mean()
    square = float(centred @ centred)
    scale = max(0.0, float(centred @ gt_N) / square) if square > 0 else 0.0
    return np.asarray(scale * centred + gt_N.mean())


def _rms(error_N: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(error_N * error_N)))
