"""In which axes are a model's normals? Scored under all eight signs and with the channels reversed.

A wrong axis sign costs tens of degrees and looks like a bad model. Axes: N scored pixels of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.types import Choices

Sign = tuple[int, int, int]
SIGNS: tuple[Sign, ...] = tuple((x, y, z) for x, y, z in product((1, -1), repeat=3))
MAX_PIXELS = 40_000  # looked at per image


class Axes:
    """See ``types.Convention``; errors are mean angles."""

    unit = "deg"

    def choices(self, prediction: NormalPrediction, target: NormalTarget) -> Choices:
        errors, floor = normal_scores(prediction.normals_HW3[target.mask_HW], target.normals_HW3[target.mask_HW])
        return Choices(errors, choice_name((1, 1, 1), "xyz"), floor)

    def correction(self, best: str, options: Mapping[str, Any]) -> str:
        axes = best.split()
        if [axis[1] for axis in axes] != ["x", "y", "z"]:
            return f"its channels are in the order z, y, x (then '{best}'), which no option corrects"
        now = options.get("axis_sign", (1, 1, 1))
        sign = [int(f"{axis[0]}1") * int(old) for axis, old in zip(axes, now, strict=True)]
        return f"its normals are declared in the wrong axes; write options: {{axis_sign: {sign}}} into its card"


def choice_name(sign: Sign, order: str) -> str:
    """ "+x -y -z", or "+z +y +x" where the channels are reversed."""
    return " ".join(f"{'+' if s > 0 else '-'}{axis}" for s, axis in zip(sign, order, strict=True))


def normal_scores(pred_N3: NDArray[np.float32], gt_N3: NDArray[np.float32]) -> tuple[dict[str, float], float]:
    """Mean angle in degrees for the eight signs of each channel order, and that of the flat normal."""
    step = max(1, len(gt_N3) // MAX_PIXELS)
    pred, gt = pred_N3[::step], gt_N3[::step]
    scores: dict[str, float] = {}
    for order, columns in (("xyz", pred), ("zyx", pred[:, ::-1])):
        for sign in SIGNS:
            scores[choice_name(sign, order)] = float(angles_deg(columns * np.asarray(sign, np.float32), gt).mean())
    flat = np.broadcast_to(np.array([0, 0, 1], np.float32), gt.shape)
    return scores, float(angles_deg(flat, gt).mean())
