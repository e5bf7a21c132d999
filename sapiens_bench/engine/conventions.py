"""Does a model's declaration of its axes, or of its depth direction, hold? Scored under every choice on real samples.

A wrong axis sign costs tens of degrees and looks like a bad model. So a network's normals are scored under all eight
signs (and with the channels reversed), its depth as depth and as inverse depth, before a cell is run; a declaration
that another choice beats clearly stops the model. ``sapiens-bench verify conventions`` prints the same table.

Axes: N scored pixels of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.surface import SIGNS
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.engine.admit import DataPlan
from sapiens_bench.engine.build import model_for
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import load
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import CheckpointRejected, SampleFault, UsageError
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.types import Adapter, Materialised, Model, Task

Outcome = Literal["confirmed", "wrong", "undecided"]
N_IMAGES = 4
MAX_PIXELS = 40_000  # looked at per image
FARTHER, NEARER = "larger is farther", "larger is nearer"
BEATS_FLOOR = 0.85  # a choice counts when its error is below this share of what needs no model ...
CLEAR = 0.85  # ... and it beats another when its error is below this share of the other's


@dataclass(frozen=True)
class Conventions:
    """What came out."""

    model: str
    task: str
    dataset: str
    n_images: int
    unit: str  # "deg" (mean angle) or "m" (RMSE after a fit that may not turn the map over)
    scores: dict[str, float]  # choice -> error, best first; means over images
    declared: str  # the choice that stands for the card as it is
    floor: float  # error of the flat normal, or of the mean depth
    outcome: Outcome
    advice: str  # what to do; "" when confirmed

    @property
    def best(self) -> str:
        """The choice with the smallest error."""
        return next(iter(self.scores), self.declared)


def verify_conventions(
    entry: ModelEntry,
    open_data: Callable[[], DataPlan],
    catalog: Catalog,
    *,
    request: Request | None = None,
    n_images: int = N_IMAGES,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conventions:
    """Load a model and score it under every choice on ``n_images`` samples, evenly spread.

    ``open_data`` is called once it is clear that the model has a convention at all.

    Raises:
        UsageError: the model's task has no conventions, or it is no network.
        WeightsMissing, CheckpointRejected: it cannot be loaded.
    """
    request = request or Request(task=entry.card.task)
    if entry.card.task not in ("depth", "normal"):
        raise UsageError(f"{entry.id} predicts {entry.card.task}; only depth and normals have a convention to verify.")
    if entry.card.kind != "network":
        raise UsageError(f"{entry.id} is no network ({entry.card.kind}); its convention is part of this package.")
    files = weight_files(entry.variant, request.weights_root, request.trust)
    device = resolve_device(request.device, request.precision)
    model = model_for(entry, files, catalog, device=device, precision=request.precision, options=request.options)
    data = open_data()
    indices = spread(data.n_samples, n_images)
    if isinstance(data.adapter, Materialised):
        data.adapter.materialise(indices, request.workers or 1, on_progress)
    return examine(entry, model, data.adapter, data.task, data.card.id, device, n_images=n_images, n=data.n_samples)


def examine(
    entry: ModelEntry,
    model: Model,
    adapter: Adapter,
    task: Task,
    dataset: str,
    device: str,
    *,
    n_images: int = N_IMAGES,
    n: int | None = None,
) -> Conventions:
    """Score a loaded model under every choice on a few samples; samples at fault are left out."""
    per_image: list[dict[str, float]] = []
    floors: list[float] = []
    declared = choice_name((1, 1, 1), "xyz")
    unit = "deg"
    for prediction, target in predictions(model, adapter, task, device, spread(n or len(adapter), n_images)):
        mask = target.mask_HW
        if isinstance(prediction, NormalPrediction):
            scores, floor = normal_scores(prediction.normals_HW3[mask], target.normals_HW3[mask])
        elif isinstance(prediction, DepthPrediction):
            scores, floor = depth_scores(prediction.depth_HW[mask], target.depth_HW[mask])
            unit, declared = "m", NEARER if prediction.kind == "affine_invariant_inverse_depth" else FARTHER
        else:
            continue
        per_image.append(scores)
        floors.append(floor)
    means = {name: float(np.mean([s[name] for s in per_image])) for name in (per_image[0] if per_image else {})}
    ranked = dict(sorted(means.items(), key=lambda item: item[1]))
    floor = float(np.mean(floors)) if floors else float("nan")
    outcome = judge(ranked, declared, floor)
    advice = _advice(entry, ranked, declared, floor, unit, outcome)
    return Conventions(
        entry.id, entry.card.task, dataset, len(per_image), unit, ranked, declared, floor, outcome, advice
    )


def refuse_wrong(found: Conventions) -> None:
    """Raises CheckpointRejected when another choice than the declared one is clearly right."""
    if found.outcome == "wrong":
        raise CheckpointRejected(found.advice)


def spread(n: int, n_images: int) -> list[int]:
    """At most ``n_images`` indices over ``n`` samples, evenly spaced."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, n_images)).round()}) if n else []


def predictions(
    model: Model, adapter: Adapter, task: Task, device: str, indices: list[int]
) -> Iterator[tuple[Any, Any]]:
    """(prediction, target) of the samples that are sound."""
    forward = Forward(model, device, budget=1)
    for index in indices:
        item = load(adapter, model.prepare, index)
        for one, outputs in forward([item]):
            if one.sample is None or one.prepared is None or isinstance(outputs, SampleFault):
                continue
            try:
                given = model.finish(outputs, one.prepared.geometry)
                prediction, fault = task.check(given, one.sample.input, one.sample.target)
            except Exception:  # any model may raise anything; the run itself will say so, image by image
                continue
            if fault is None:
                yield prediction, one.sample.target
            elif fault.code == "pred.direction":  # a miss in a score, and just what is asked about here
                yield given, one.sample.target


def choice_name(sign: tuple[int, int, int], order: str) -> str:
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


def depth_scores(pred_N: NDArray[np.float32], gt_N: NDArray[np.float32]) -> tuple[dict[str, float], float]:
    """RMSE in metres read as depth and as inverse depth, and that of the mean depth.

    The usual fit of scale and shift may turn a map over and hide a wrong direction; here the scale may not be negative.
    """
    pred, gt = pred_N.astype(np.float64), gt_N.astype(np.float64)
    inverse = np.clip(_upright_fit(pred, 1 / gt), 1 / gt.max(), 1 / gt.min())
    errors = {FARTHER: _upright_fit(pred, gt) - gt, NEARER: 1 / inverse - gt}
    return {name: _rms(error) for name, error in errors.items()}, _rms(gt - gt.mean())


def judge(ranked: dict[str, float], declared: str, floor: float) -> Outcome:
    """Is the declared choice right? Undecided when no choice is clearly better than no model at all."""
    if not ranked:
        return "undecided"
    best, error = next(iter(ranked.items()))
    if not error < BEATS_FLOOR * floor:
        return "undecided"
    if best == declared:
        return "confirmed"
    return "wrong" if error < CLEAR * ranked[declared] else "undecided"


def _advice(
    entry: ModelEntry, ranked: dict[str, float], declared: str, floor: float, unit: str, outcome: Outcome
) -> str:
    if outcome == "confirmed":
        return ""
    if not ranked:
        return f"{entry.id}: no sample could be scored, so its convention is not verified."
    best = next(iter(ranked))
    errors = f"{ranked[best]:.3g} {unit} as '{best}', {ranked[declared]:.3g} as declared ('{declared}')"
    if outcome == "undecided":
        return f"{entry.id}: convention not verified; no choice clearly beats the floor of {floor:.3g} ({errors})."
    if entry.card.task == "depth":
        return (
            f"{entry.id} is refused: its depth direction is declared wrongly ({errors}). Correct the card: option "
            "`depth_kind`, or what its wrapper declares."
        )
    return (
        f"{entry.id} is refused: its normals are declared in the wrong axes ({errors}). Correct the declaration in its "
        f"card: {_axis_sign(entry, best)}."
    )


def _axis_sign(entry: ModelEntry, best: str) -> str:
    """The option to write, with what the card declares now taken into account."""
    axes = best.split()
    if [axis[1] for axis in axes] != ["x", "y", "z"]:
        return f"its channels are in the order z, y, x (then '{best}')"
    now = entry.variant.options.get("axis_sign", (1, 1, 1))
    sign = [int(f"{axis[0]}1") * int(old) for axis, old in zip(axes, now, strict=True)]
    return f"options: {{axis_sign: {sign}}}"


def _upright_fit(pred_N: NDArray[np.float64], gt_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares scale and shift with a scale of at least 0."""
    centred = pred_N - pred_N.mean()
    square = float(centred @ centred)
    scale = max(0.0, float(centred @ gt_N) / square) if square > 0 else 0.0
    return np.asarray(scale * centred + gt_N.mean())


def _rms(error_N: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(error_N * error_N)))
