"""In which axes are a model's normals? Scored under all eight signs and with the channels reversed.

A wrong axis sign costs tens of degrees and looks like a bad model. Axes: N scored pixels of one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.normal.evidence import SIGNS, Sign, doubt_frame
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.types import Choices

MAX_PIXELS = 40_000  # looked at per image


class Axes:
    """See ``types.Convention``; errors are mean angles."""

    unit = "deg"

    def choices(self, prediction: NormalPrediction, target: NormalTarget) -> Choices:
        errors, floor = normal_scores(prediction.normals_HW3[target.mask_HW], target.normals_HW3[target.mask_HW])
        return Choices(errors, choice_name((1, 1, 1), "xyz"), floor)

    def correction(self, best: str, options: Mapping[str, Any]) -> str:
        """See ``types.Convention``. Options are ``axis_sign``, and ``order`` (xyz or zyx), which comes before it."""
        axes = best.split()
        signs = [int(f"{axis[0]}1") for axis in axes]
        now, order = list(options.get("axis_sign") or (1, 1, 1)), str(options.get("order", "xyz"))
        is_reversed = "".join(axis[1] for axis in axes) != "xyz"
        if is_reversed:  # what is reordered has been multiplied already
            now, order = now[::-1], "zyx" if order == "xyz" else "xyz"
        wanted = {"axis_sign": str([a * int(b) for a, b in zip(signs, now, strict=True)])}
        wanted |= {"order": order} if is_reversed else {}
        text = ", ".join(f"{name}: {value}" for name, value in wanted.items())
        absent = [name for name in wanted if name not in options]
        if not absent:
            flags = " ".join(f"--option {name}={value.replace(' ', '')}" for name, value in wanted.items())
            said = f"write options: {{{text}}} into its card, or give {flags}"
            return f"its normals are declared in the wrong axes; {said}"
        what = "its channels are in the order z, y, x" if is_reversed else "its normals are in the wrong axes"
        return (
            f"{what} ('{best}' is right), and its wrapper has no option {' or '.join(absent)} to say so: it has to "
            f"return, or the files have to hold, what {{{text}}} would give"
        )

    def doubt(self, targets: Sequence[NormalTarget]) -> str:
        """See ``types.Convention``: outlines and visible sides tell."""
        found = doubt_frame([(target.normals_HW3, target.mask_HW) for target in targets])
        return "" if found is None else f"{found.text}; right would be '{choice_name(found.sign, found.order)}'"


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
