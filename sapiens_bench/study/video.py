"""Frames in a row: an ordinary run over clips with its predictions kept, then what they do over time.

A sequence is what one camera saw of one group, frame after frame without a gap. Intervals are over groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.engine.request import Request
from sapiens_bench.errors import SampleFault, SapiensBenchError, UsageError
from sapiens_bench.render.clips import FRAMES, N_CLIPS
from sapiens_bench.render.scene import CLIPS
from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.stats.sums import Aggregate, weighted_means
from sapiens_bench.store.paths import cell_folder
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.study.design import RENDERED, Study, Trial
from sapiens_bench.study.motion import depth_drift, label_flicker, normal_flicker, pose_motion
from sapiens_bench.tasks.depth.alignment import Values, fit
from sapiens_bench.tasks.maps import map_name

if TYPE_CHECKING:
    from sapiens_bench.engine.build import OpenData
    from sapiens_bench.engine.data_specs import FoundData
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.engine.specs import CellSpec

LEVEL = 0.95
FEWEST_FRAMES = 4  # of a sequence: three differences
# Task -> what is measured over time: key, head of the column.
MEASURES: dict[str, tuple[tuple[str, str], ...]] = {
    "pose": (
        ("position", "Position px"), ("velocity", "Velocity px/frame"), ("acceleration", "Acceleration px/frame2"),
        ("jitter", "Jitter px"),
    ),
    "seg": (("flicker", "Flicker %"),),
    "depth": (("scale_drift", "Scale drift %"), ("shift_drift", "Shift drift %")),
    "normal": (("turn", "Flicker deg"),),
}  # fmt: skip


class FramesInARow(NamedTuple):
    """Frames of one camera without a gap."""

    group: str
    name: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Motion:
    """What one model does over time on one data set; means over sequences with their intervals."""

    task: str
    dataset: str
    protocol: str
    model: str
    title: str
    n_frames: int
    n_sequences: int
    n_groups: int
    values: dict[str, tuple[float, float, float]]  # measure -> value, low, high


def design(base: Request, clips: int) -> Study:
    """One run over clips, or over the sequences of a data set that has them.

    Raises:
        UsageError: a task without measures over time, or no such number of clips.
    """
    if base.task not in MEASURES:
        raise UsageError(f"study video knows {', '.join(MEASURES)}; nothing is measured over time for {base.task}.")
    request = base
    if set(base.datasets or (RENDERED,)) == {RENDERED}:
        if not 2 <= clips <= N_CLIPS:
            raise UsageError(f"--clips {clips}: give 2 to {N_CLIPS} clips of {FRAMES} frames.")
        if base.split not in ("", CLIPS):
            raise UsageError(
                f"--split {base.split}: its pictures have nothing to do with each other. Leave --split out."
            )
        request = replace(base, datasets=(RENDERED,), split=CLIPS, limit=base.limit or clips * FRAMES)
    request = replace(request, save_preds=True, save_maps=base.task != "pose")
    return Study("video", request, Trial("frames", "video", "frames", {}), ())


def sequences(keys: Sequence[str], groups: Sequence[str]) -> list[FramesInARow]:
    """Runs of consecutive frames of one group and camera, in order; short ones are left out.

    Raises:
        UsageError: there is none.
    """
    frames: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index, (key, group) in enumerate(zip(keys, groups)):
        place, _, number = key.rpartition("/")
        if number.isdecimal():
            frames.setdefault((group, place), []).append((int(number), index))
    found: list[FramesInARow] = []
    for (group, place), numbered in frames.items():
        run: list[tuple[int, int]] = []
        for item in [*sorted(numbered), (-2, -1)]:
            if run and item[0] != run[-1][0] + 1:
                if len(run) >= FEWEST_FRAMES:
                    found.append(FramesInARow(group, f"{place}/{run[0][0]:06d}", tuple(i for _, i in run)))
                run = []
            run.append(item)
    if not found:
        raise UsageError(
            f"no frames in a row: there is no sequence of {FEWEST_FRAMES} frames of one camera. Rendered clips (leave "
            "--dataset out) and Hi4D have them."
        )
    return found


def require_sequences(plan: Plan) -> None:
    """Refuse before any model runs what ``measure`` could not tell.

    Raises:
        UsageError: a data set without frames in a row.
    """
    for data in plan.data:
        _sequences_of(data)


def _sequences_of(data: FoundData) -> list[FramesInARow]:
    adapter, n = data.open.adapter, data.facts.n_samples
    try:
        return sequences(list(adapter.keys)[:n], list(adapter.groups)[:n])
    except UsageError as error:
        raise UsageError(f"{data.spec.id}: {error}") from None


def measure(plan: Plan, *, n_draws: int, seed: int) -> list[Motion]:
    """Every model of a finished run whose predictions are there, over time.

    Raises:
        UsageError: no frames in a row, or no model with predictions.
        ShardDamaged: stored predictions are not what was committed.
    """
    result: list[Motion] = []
    for data in plan.data:
        adapter = data.open.adapter
        found = _sequences_of(data)
        cells = [cell for cell in plan.cells if cell.cell.dataset == data.spec.id]
        stored = {spec.cell.model: _Stored(plan.out, spec, data.open) for spec in cells}
        values: dict[str, list[dict[str, float]]] = {model: [] for model in stored}
        for sequence in found:
            truths = [_truth(data.open, index) for index in sequence.indices]
            keys = [adapter.keys[index] for index in sequence.indices]
            for model, each in stored.items():
                values[model].append(_over_time(plan.task, truths, [each(key) for key in keys]))
        result += [_motion(plan.task, spec, found, values[spec.cell.model], n_draws, seed) for spec in cells]
    if not result:
        raise UsageError("No model was measured: there is nothing to tell.")
    return result


class _Stored:
    """Predictions of one model, by key; None where there is none."""

    def __init__(self, out: Path, spec: CellSpec, data: OpenData) -> None:
        cell, self.task = spec.cell, data.task
        place = (cell.task, cell.dataset, cell.protocol, cell.model)
        self.maps = cell_folder(out, "maps", *place)
        self.kept: dict[str, Any] = {}
        if self.task.from_columns is not None:
            folder = cell_folder(out, "preds", *place)
            self.kept = {key: self.task.from_columns(columns) for key, columns in read_predictions(folder)}

    def __call__(self, key: str) -> Any:
        codec = self.task.kind.codec
        if codec is None:
            return self.kept.get(key)
        path = self.maps / map_name(key)
        try:
            return codec.decode(path.read_bytes(), path.name, self.task.names)
        except (OSError, SampleFault):
            return None


def _truth(data: OpenData, index: int) -> Any:
    try:
        return data.adapter[index].target
    except SapiensBenchError:
        return None


def _over_time(task: str, truths: list[Any], predictions: list[Any]) -> dict[str, float]:
    """Measures of one sequence; NaN where frames are missing."""
    if task == "pose":
        return _pose(truths, predictions)
    if any(x is None for x in (*truths, *predictions)):
        return {key: math.nan for key, _ in MEASURES[task]}
    if task == "seg":
        changed, n = label_flicker([p.labels_HW for p in predictions], [t.labels_HW for t in truths])
        return {"flicker": 100 * changed / n if n else math.nan}
    if task == "normal":
        total, n = normal_flicker(
            [p.normals_HW3 for p in predictions], [t.normals_HW3 for t in truths], [t.mask_HW for t in truths]
        )
        return {"turn": total / n if n else math.nan}
    return _depth(truths, predictions)


def _pose(truths: list[Any], predictions: list[Any]) -> dict[str, float]:
    """Mean over the people who are labelled in every frame."""
    if any(truth is None for truth in truths):
        return {key: math.nan for key, _ in MEASURES["pose"]}
    everywhere = set.intersection(*({int(i) for i in truth.ids_N} for truth in truths))
    found = []
    for person in sorted(everywhere):
        at = [int(np.flatnonzero(truth.ids_N == person)[0]) for truth in truths]
        points = np.stack([truth.keypoints_NK2_px[i] for truth, i in zip(truths, at)]).astype(np.float64)
        labelled = np.stack([truth.visible_NK[i] > 0 for truth, i in zip(truths, at)])
        chosen = [_nearest(p, points[t], labelled[t]) for t, p in enumerate(predictions)]
        has = np.array([c is not None for c in chosen])
        given = np.stack([points[t] if c is None else c for t, c in enumerate(chosen)])
        found.append(pose_motion(given, points, labelled & has[:, None])._asdict())
    return {key: _mean([each[key] for each in found]) for key, _ in MEASURES["pose"]}


def _nearest(prediction: Any, truth_K2: NDArray[np.float64], labelled_K: NDArray[np.bool_]) -> Any:
    """Points of the instance that is nearest to a person; None where there is none."""
    if prediction is None or not len(prediction.keypoints_NK2_px) or not labelled_K.any():
        return None
    points = prediction.keypoints_NK2_px.astype(np.float64)
    apart = np.sqrt(((points[:, labelled_K] - truth_K2[labelled_K]) ** 2).sum(-1)).mean(1)
    return points[int(apart.argmin())]


def _depth(truths: list[Any], predictions: list[Any]) -> dict[str, float]:
    scales, shifts, means = [], [], []
    for truth, prediction in zip(truths, predictions):
        mask = truth.mask_HW & np.isfinite(prediction.depth_HW)
        is_inverse = prediction.kind == "affine_invariant_inverse_depth"
        if not mask.any():
            return {key: math.nan for key, _ in MEASURES["depth"]}
        found = fit(Values(prediction.depth_HW[mask]), Values(truth.depth_HW[mask], is_inverse), "scale_shift")
        scales.append(found.scale)
        shifts.append(found.shift)
        means.append(float(prediction.depth_HW[mask].mean(dtype=np.float64)))
    drift = depth_drift(np.array(scales), np.array(shifts), float(np.mean(means)))
    return {"scale_drift": 100 * drift.scale, "shift_drift": 100 * drift.shift}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else math.nan


def _motion(
    task: str, spec: CellSpec, found: list[FramesInARow], values: list[dict[str, float]], n_draws: int, seed: int
) -> Motion:
    cell, groups = spec.cell, [sequence.group for sequence in found]
    told = {key: _interval([v[key] for v in values], groups, n_draws, seed) for key, _ in MEASURES[task]}
    n_frames = sum(len(sequence.indices) for sequence in found)
    return Motion(
        task, cell.dataset, cell.protocol, cell.model, spec.title, n_frames, len(found), len(set(groups)), told
    )  # fmt: skip


def _interval(values: list[float], groups: list[str], n_draws: int, seed: int) -> tuple[float, float, float]:
    """Mean over sequences and the ends of its interval; sequences of a group are drawn together."""
    known = [i for i, value in enumerate(values) if value == value]
    if not known:
        return math.nan, math.nan, math.nan
    array, kept = np.array([[values[i]] for i in known]), [groups[i] for i in known]
    mean = Aggregate(["mean"], len(known), lambda weights_BN, _: {"mean": weighted_means(weights_BN, array)[:, 0]})
    found = intervals(mean, draw_weights(kept, n_draws, seed), LEVEL, groups=kept, n_groups=len(set(kept)))["mean"]
    return found.value, found.low, found.high


def lacking(found: Sequence[Motion]) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    for motion in found:
        undefined = [key for key, (value, _, _) in motion.values.items() if value != value]
        if undefined:
            named, why = ", ".join(undefined), _why_undefined(motion, len(undefined))
            yield f"{motion.title} on {motion.dataset}: {named} could not be measured ({why})."


def _why_undefined(motion: Motion, n: int) -> str:
    if n == len(motion.values):
        still = " or nothing stands still in two of them" if motion.task in ("seg", "normal") else ""
        return f"frames are missing{still}"
    if motion.task == "depth":
        return "the scale that fits its frames is 0, as of a prediction that does not vary"
    return "too few frames in a row were answered"
