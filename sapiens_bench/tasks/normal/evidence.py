"""In which axes are these normals? A person's outline tells, without depth and without a model.

Two facts hold for every picture of a solid body. Visible surfaces face the camera, so z (towards the viewer) is
positive. And at the outline the surface turns away from the camera, so the normal points out of the mask: right on the
right side, up at the top. Normals that do the opposite are in other axes than declared.

Frames: normals x right, y up, z towards the viewer. Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sign = tuple[int, int, int]
SIGNS: tuple[Sign, ...] = tuple((x, y, z) for x, y, z in product((1, -1), repeat=3))
# Signs that bring the axes of a named frame to ours. OpenCV: x right, y down, z forward.
FRAMES: dict[str, Sign] = {"viewer": (1, 1, 1), "opencv": (1, -1, -1)}
ORDERS = ("xyz", "zyx")

MAX_SIDE = 256  # maps are looked at in this size
MIN_PIXELS = 200  # of the mask, in that size
CLEAR = 0.35  # cosine that tells a sign; outlines of rendered people give 0.6 to 0.95
CLEAR_FACING = 0.8  # share of pixels, counted from -1 to 1, that tells the sign of z
OTHER_ORDER = 1.5  # the reversed order must explain this many times more


class Evidence(NamedTuple):
    """What one picture says about its normals, in the axes and order they were given in."""

    x: float  # cosine between x and the way out of the mask to the right, -1 to 1
    y: float  # between y and the way up
    z: float  # share of normals that face the camera, minus the share that look away


class Doubt(NamedTuple):
    """A reading that the pictures speak for, other than the one they are declared in."""

    sign: Sign  # what to multiply the axes by
    order: str  # "xyz", or "zyx" where the channels are reversed
    text: str  # why, in words


def frame_evidence(normals_HW3: NDArray[np.floating[Any]], mask_HW: NDArray[np.bool_]) -> Evidence | None:
    """What the outline and the visible side say; None when the mask is too small or fills the picture."""
    import cv2  # lists of tasks need no image library

    step = max(1, -(-max(mask_HW.shape) // MAX_SIDE))
    normals, mask = normals_HW3[::step, ::step].astype(np.float32), mask_HW[::step, ::step]
    usable = mask & np.isfinite(normals).all(axis=-1) & (normals != 0).any(axis=-1)
    if np.count_nonzero(usable) < MIN_PIXELS:
        return None
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigmaX=max(2.0, max(mask.shape) / 80))
    down, right = np.gradient(soft)
    steepness = np.hypot(down, right)
    outline = usable & (steepness > 0.25 * float(steepness.max(initial=0.0))) & (steepness > 0.01)
    if np.count_nonzero(outline) < MIN_PIXELS // 4:
        return None
    n = normals[outline] / np.linalg.norm(normals[outline], axis=1, keepdims=True)
    facing = np.sign(normals[usable][:, 2])
    return Evidence(_cosine(n[:, 0], -right[outline]), _cosine(n[:, 1], down[outline]), float(facing.mean()))


def doubt_frame(
    pairs: Sequence[tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]],
) -> Doubt | None:
    """Another reading of normals that are said to be in our frame, when every picture that can tell speaks for it.

    Args:
        pairs: (normals [H, W, 3] in our frame as declared, mask [H, W]) of a few pictures.
    """
    found = {order: [e for n, m in pairs if (e := frame_evidence(_ordered(n, order), m))] for order in ORDERS}
    if not found["xyz"] or not found["zyx"]:
        return None
    order = "xyz"
    strength = {name: float(np.mean([sum(map(abs, e)) for e in each])) for name, each in found.items()}
    if strength["zyx"] > OTHER_ORDER * strength["xyz"]:
        order = "zyx"
    limits = (CLEAR, CLEAR, CLEAR_FACING)
    sign: list[int] = []
    for axis, limit in enumerate(limits):
        values = [e[axis] for e in found[order]]
        clear = [v for v in values if abs(v) >= limit]
        is_turned = bool(clear) and 2 * len(clear) > len(values) and all(v < 0 for v in clear)
        sign.append(-1 if is_turned else 1)
    if order == "xyz" and sign == [1, 1, 1]:
        return None
    mean = Evidence(*(float(np.mean([e[axis] for e in found["xyz"]])) for axis in range(3)))
    return Doubt((sign[0], sign[1], sign[2]), order, _words(mean, order, len(found[order])))


def _ordered(normals_HW3: NDArray[np.floating[Any]], order: str) -> NDArray[np.floating[Any]]:
    return normals_HW3 if order == "xyz" else normals_HW3[..., ::-1]


def _cosine(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    size = float(np.sqrt((a.astype(np.float64) ** 2).sum() * (b.astype(np.float64) ** 2).sum()))
    return float((a.astype(np.float64) * b).sum() / size) if size > 0 else 0.0


def _words(e: Evidence, order: str, n: int) -> str:
    facts = []
    if e.z <= -CLEAR_FACING:
        facts.append(f"{50 * (1 - e.z):.0f} % of the normals look away from the camera")
    if e.x <= -CLEAR:
        facts.append("at the outline of the mask they point inwards along x")
    if e.y <= -CLEAR:
        facts.append("at the outline of the mask they point inwards along y")
    if order != "xyz":
        facts.append("the first channel, not the third, behaves like z")
    return f"{' and '.join(facts) or 'the outline of the mask speaks against it'} ({n} picture(s) looked at)"
