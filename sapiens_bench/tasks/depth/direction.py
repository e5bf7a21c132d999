"""Is a depth map upside down? The usual fit of scale and shift would turn it over without a word.

Axes: N scored pixels of one image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.types import DepthKind

UPSIDE_DOWN = -0.9  # correlation below which a map is turned over and not merely wrong
MAX_PIXELS = 20_000  # looked at
INVERSE: DepthKind = "affine_invariant_inverse_depth"


def correlation(pred_N: NDArray[Any], gt_N: NDArray[Any], kind: DepthKind) -> float:
    """Pearson correlation of a prediction and the truth in the prediction's own space; 0 where one is constant.

    Args:
        pred_N: finite, in the meaning of ``kind``.
        gt_N: metres, positive.

    A negative value is a negative scale in the least-squares fit of scale and shift (``alignment.fit``).
    """
    step = max(1, len(pred_N) // MAX_PIXELS)
    p, g = pred_N[::step].astype(np.float64), gt_N[::step].astype(np.float64)
    if kind == INVERSE:
        g = 1.0 / g
    if len(p) < 2:
        return 0.0
    p, g = p - p.mean(), g - g.mean()
    size = float(np.sqrt((p * p).sum() * (g * g).sum()))
    # Rounding leaves a constant map with a slope of its own.
    tiny = len(p) * float(np.finfo(np.float32).eps) ** 2
    constant = size <= tiny * float(np.abs(pred_N[::step]).max() * np.abs(gt_N[::step]).max())
    return 0.0 if constant else float((p * g).sum() / size)


def upside_down(pred_N: NDArray[Any], gt_N: NDArray[Any], kind: DepthKind) -> str:
    """What is wrong with the direction of a map and what to declare instead, or ""."""
    found = correlation(pred_N, gt_N, kind)
    if found > UPSIDE_DOWN:
        return ""
    nearer = "larger values are nearer" if kind != INVERSE else "larger values are farther"
    other = INVERSE if kind != INVERSE else "affine_invariant_depth"
    return (
        f"correlation {found:.3f} with the truth: {nearer}, against the declared {kind!r}. "
        f"Declare depth_kind {other!r}, or turn negated values over"
    )
