"""A few samples are looked at when a data set is opened: numbers that contradict their declaration refuse it, and what
a reader of the table should know becomes a note.

Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.dense.frames import DepthFrame
from sapiens_bench.adapters.surface import best_sign, normals_from_depth, ray_factor, sign_angles
from sapiens_bench.errors import SampleFault

LOOKED_AT = 8  # samples, evenly spread
OFF_CENTRE = 0.25  # of the picture's sides, from its middle
CLEAR_SHARE = 0.7  # another reading beats the declared one when its angle is below this share of it ...
CLEAR_DEG = 0.5  # ... by this much ...
MOST_DEG = 12.0  # ... and small: noise in both maps can hide a convention, but not invent one
FEWEST_UNKNOWN = 20  # pixels of one value between 0 and 1 that make a matte look like a trimap
_FRAME = 0.8  # of the outermost pixels: people cut off below, left and right reach less
_HOLE = 0.05  # of the picture


@dataclass
class LookOver:
    """What the samples that were looked at say."""

    n_samples: int  # of the data set
    faults: list[str] = field(default_factory=list)  # contradictions
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)  # samples with numbers that stand for no depth
    turned: list[str] = field(default_factory=list)  # samples whose EXIF orientation was settled by their sizes
    empty: list[str] = field(default_factory=list)  # samples without a pixel to score
    full: list[str] = field(default_factory=list)  # samples whose mask is the whole picture
    inverted: list[str] = field(default_factory=list)  # samples whose mask is the border of the picture
    inverted_mattes: list[str] = field(default_factory=list)  # samples whose matte is high all around the picture
    trimaps: list[str] = field(default_factory=list)  # samples whose matte has one value between background and people
    lossy: list[str] = field(default_factory=list)  # samples whose mask is a JPEG
    off_centre: list[str] = field(default_factory=list)  # samples whose camera looks past the middle of the picture

    @property
    def indices(self) -> list[int]:
        """At most 8 samples, evenly spread, the first and the last among them."""
        n = self.n_samples
        return sorted({int(i) for i in np.linspace(0, n - 1, min(n, LOOKED_AT)).round()}) if n else []

    @property
    def saw_all(self) -> bool:
        """Was every sample looked at?"""
        return self.n_samples <= LOOKED_AT

    def each(self, names: Sequence[str], look: Callable[[int], None]) -> None:
        """Call ``look`` on every index; a sample at fault is remembered, and its row will say so again."""
        for index in self.indices:
            try:
                look(index)
            except SampleFault as fault:
                self.unreadable.append(f"{names[index]}: {fault}")
        if self.unreadable:
            n = len(self.indices)
            count = f"{len(self.unreadable)} of the {n} samples looked at are at fault"
            self.notes.append(f"{count}; the first is {self.unreadable[0]}")

    @property
    def all_notes(self) -> list[str]:
        """Everything to be said about a data set that is not refused."""
        found = [*self.notes]
        for what, seen in (
            ("numbers inside the mask that stand for no depth are not scored", self.holes),
            ("pictures with an EXIF orientation, which the size of their truth decides", self.turned),
            ("samples without a pixel to score, which are left out for every model", self.empty),
            ("masks that cover the whole picture: is the background black?", self.full),
            (
                "MASKS IN DOUBT: they cover the border of the picture more than its middle. Are they inverted? Then "
                "everything but people is scored",
                self.inverted,
            ),
            (
                "MATTES IN DOUBT: they are high around the picture and lower inside. Are they inverted, shares of the "
                "background? Then everything but people is scored as people",
                self.inverted_mattes,
            ),
            (
                "MATTES IN DOUBT: they hold one value between background and people. Are they trimaps? Then the truth "
                "of the unknown region is missing",
                self.trimaps,
            ),
            ("masks in JPEG, whose noise around the person counts as person where it is above 0", self.lossy),
            ("cameras that look far past the middle of the picture: are they of another size?", self.off_centre),
        ):
            if seen:
                share = f"{len(seen)} of the {len(self.indices)} looked at" if not self.saw_all else f"{len(seen)}"
                found.append(f"{what} ({share}; the first: {seen[0]})")
        return found


def look_at_mask(over: LookOver, name: str, file: Path | None, mask_HW: NDArray[np.bool_], n_scored: int) -> None:
    """Remember a sample whose mask is odd.

    Args:
        file: the mask's; None where the folder has no masks.
        n_scored: pixels that have a value as well.
    """
    if not n_scored:
        over.empty.append(name)
    if file is not None and mask_HW.all():
        over.full.append(name)
    elif file is not None and _is_frame(mask_HW):
        over.inverted.append(name)
    if file is not None and file.suffix.lower() in (".jpg", ".jpeg", ".jfif"):
        over.lossy.append(name)


def look_at_matte(over: LookOver, name: str, alpha_HW: NDArray[np.float32]) -> None:
    """Remember a sample whose matte looks like that of the background, or like a trimap."""
    if _is_frame(alpha_HW):
        over.inverted_mattes.append(name)
    between = alpha_HW[(alpha_HW > 0) & (alpha_HW < 1)]
    if between.size >= FEWEST_UNKNOWN and between.min() == between.max():
        over.trimaps.append(name)


def _is_frame(mask_HW: NDArray[np.bool_] | NDArray[np.float32]) -> bool:
    """Whether a mask, or a matte, covers nearly all of the picture's outermost pixels, and clearly less of the rest.

    In a close-up, what is not the person reaches the edge, or is a small hole between arm and body.
    """
    edge = np.concatenate([mask_HW[0], mask_HW[-1], mask_HW[:, 0], mask_HW[:, -1]])
    return bool(edge.mean() >= _FRAME and mask_HW.mean() < edge.mean() - _HOLE)


def look_at_camera(over: LookOver, name: str, K: NDArray[np.float64], size_hw: tuple[int, ...]) -> None:
    """Remember a sample whose principal point is not in the middle half of the picture: wrong rays give wrong depth."""
    across, down = (K[0, 2] + 0.5) / size_hw[1], (K[1, 2] + 0.5) / size_hw[0]
    if max(abs(across - 0.5), abs(down - 0.5)) > OFF_CENTRE:
        over.off_centre.append(f"{name}, at {K[0, 2]:.4g}, {K[1, 2]:.4g} of {size_hw[1]}x{size_hw[0]}")


def geometric_faults(
    normals_HW3: NDArray[np.float32],
    depth_HW: NDArray[np.float32],
    valid_HW: NDArray[np.bool_],
    K: NDArray[np.float64],
    frame: DepthFrame,
) -> list[str]:
    """Where depth and normals of one picture contradict each other as declared: axis signs, then z or ray length.

    Both maps are already in our frame by the declaration. Silent when the picture cannot tell.
    """
    z = np.where(valid_HW, depth_HW, np.nan)
    angles = sign_angles(normals_HW3, normals_from_depth(z, K), valid_HW)
    declared, best = angles[1, 1, 1], best_sign(angles)
    if best is not None and best != (1, 1, 1) and clearly_better(angles[best], declared):
        return [
            f"the normals agree with the depth to {angles[best]:.1f} degrees when their axes are multiplied by "
            f"{best}, and to {declared:.1f} as declared; correct their 'frame' (viewer, opencv or three signs)"
        ]
    factor = ray_factor((z.shape[0], z.shape[1]), K)
    other = z / factor if frame.along == "z" else z * factor
    angle = sign_angles(normals_HW3, normals_from_depth(other, K), valid_HW)[1, 1, 1]
    if not clearly_better(angle, declared):
        return []
    words = {"z": "the length of the viewing ray", "ray": "z-depth"}
    return [
        f"depth is declared along {frame.along!r} but agrees with the normals to {angle:.1f} degrees when read as "
        f"{words[frame.along]}, and to {declared:.1f} as declared"
    ]


def clearly_better(angle: float, declared: float) -> bool:
    """NaN is never better."""
    return angle < MOST_DEG and angle < CLEAR_SHARE * declared and angle < declared - CLEAR_DEG


def implausible(depth_HW: NDArray[np.float32], valid_HW: NDArray[np.bool_], frame: DepthFrame) -> str:
    """What is odd about the depth of the person, or ""."""
    return frame.suspicion(float(np.median(depth_HW[valid_HW]))) if valid_HW.any() else ""


def label_doubts(present: Sequence[Sequence[int]], names: Sequence[str], ignored: int, over: LookOver) -> None:
    """Truth without any foreground would give 100 % to a model that predicts nobody: refused, or said.

    Args:
        present: the distinct labels of each map that was looked at, as stored.
        names: of the set they are in; the first is the background.
        ignored: the number that is no label but a pixel that is not scored.
        over: takes faults and notes.
    """
    labels = {label for values in present for label in values}
    foreground = labels - {0, ignored}
    if not present:
        return
    what = names[1] if len(names) == 2 else "any foreground class"
    n = f"the {len(present)} label maps looked at"
    if not foreground and ignored in labels:
        over.faults.append(
            f"{n} hold only {' and '.join(map(str, sorted(labels)))}, and {ignored} means ignored: no pixel of {what} "
            f"is left, and a model that predicts nobody would score 100 %. If {ignored} marks the person, declare the "
            "encoding 'mask' (and a label set of two, person2)"
        )
    elif not foreground and over.saw_all:
        over.faults.append(f"{n} hold background alone: no pixel of {what}, so there is nothing to score")
    elif not foreground:
        over.notes.append(f"{n} hold no pixel of {what}: a model that predicts nobody looks perfect on such pictures")
    elif len(names) > 2 and len(foreground) == 1 and len(present) > 2:
        only = names[min(foreground)] if min(foreground) < len(names) else "unknown"
        over.notes.append(
            f"{n} hold one foreground class only, {min(foreground)} ({only}); masks of a person are the set person2"
        )
