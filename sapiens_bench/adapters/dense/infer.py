"""What a folder without a declaration obviously is; for scoring stored maps, where nobody wants to write one first.

Only what a single reading makes sense of is taken, and it is said. Everything else is asked for.
"""

from __future__ import annotations

import numpy as np

from sapiens_bench.adapters.dense.files import DenseFiles
from sapiens_bench.adapters.dense.frames import METRES, DepthFrame, Frame, NormalFrame
from sapiens_bench.adapters.surface import PLAUSIBLE_M
from sapiens_bench.errors import DataMissing, SampleFault
from sapiens_bench.tasks.normal.evidence import doubt_frame, frame_evidence

N_READ = 3
WORDS = {"m": "metres", "cm": "centimetres", "mm": "millimetres"}


def inferred(frame: Frame, task: str, files: DenseFiles) -> tuple[Frame, list[str]]:
    """The declaration with what it lacks for a task, and a note for everything that was read off the files.

    Raises:
        DataMissing: the files leave a choice; says what to declare.
    """
    if task == "depth" and frame.depth is None:
        depth, note = _depth(files)
        return frame.model_copy(update={"depth": depth}), [note]
    if task == "normal" and frame.normals is None:
        normals, note = _normals(files)
        return frame.model_copy(update={"normals": normals}), [note]
    if task == "seg" and frame.labels is None:
        raise DataMissing(
            f"{files.layout.root}: numbers alone do not say which label set they index; give one, for example "
            "space=body28 or space=person2."
        )
    return frame, []


def _depth(files: DenseFiles) -> tuple[DepthFrame, str]:
    medians: list[float] = []
    faults: list[SampleFault] = []
    for index in _few(files):
        try:
            read = files.depth(index, DepthFrame(unit="m"), files.mask(index))
        except SampleFault as fault:
            faults.append(fault)
            continue
        inside = read.depth_HW[read.mask_HW]
        inside = inside[np.isfinite(inside) & (inside > 0)]
        if len(inside):
            medians.append(float(np.median(inside)))
    low, high = PLAUSIBLE_M
    fitting = [u for u, metres in METRES.items() if medians and all(low <= v * metres <= high for v in medians)]
    if not medians and faults:
        raise DataMissing(f"{files.layout.root}: none of the depth maps that were tried can be read: {faults[0]}")
    if len(fitting) != 1:
        found = f"median depth {medians[0]:.4g}" if medians else "no depth inside the masks"
        means = ", ".join(f"unit={u} ({medians[0] * METRES[u]:.3g} m)" for u in fitting) or "unit=m, cm, mm or relative"
        raise DataMissing(f"{files.layout.root}: {found}; give the unit, --data-option {means}.")
    unit = fitting[0]
    words = f"depth is read in {WORDS[unit]}, the only unit that puts the median of {medians[0]:.4g} at a person"
    return DepthFrame.model_validate({"unit": unit}), f"not declared: {words}"


def _normals(files: DenseFiles) -> tuple[NormalFrame, str]:
    viewer = NormalFrame(frame="viewer")
    pairs = []
    faults: list[SampleFault] = []
    for index in _few(files):
        try:
            mask = files.mask(index)
            normals = viewer.to_ours(files.normals(index, viewer, None if mask is None else mask.shape))
        except SampleFault as fault:
            faults.append(fault)
            continue
        pairs.append((normals, np.asarray(np.isfinite(normals).all(axis=-1)) if mask is None else mask))
    if not pairs and faults:
        raise DataMissing(f"{files.layout.root}: none of the normal maps that were tried can be read: {faults[0]}")
    if not any(frame_evidence(normals, mask) for normals, mask in pairs):
        raise DataMissing(
            f"{files.layout.root}: the normals do not show in which axes they are; give the frame: viewer, opencv or "
            "three signs (frame=opencv)."
        )
    doubt = doubt_frame(pairs)
    frame = viewer.corrected(doubt.sign, doubt.order) if doubt else viewer
    order = "" if frame.order == "xyz" else f", channels {frame.order}"
    return (
        frame,
        f"not declared: normals are read in the frame {frame.frame!r}{order}, as outline and visible side show",
    )


def _few(files: DenseFiles) -> list[int]:
    n = len(files.layout.stems)
    return sorted({0, n // 2, n - 1})[:N_READ]
