"""Does a model's declaration of its axes, or of its depth direction, hold? Scored under every choice on real samples.

The task says what the choices are (``TaskKind.convention``). A network is looked at before its cell is run; a
declaration that another choice beats clearly stops the model. ``sapiens-bench verify conventions`` prints the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sapiens_bench.cards.options import read_options
from sapiens_bench.engine.build import OpenData, model_options
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import load
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import CheckpointRejected, SampleFault, raise_if_machine
from sapiens_bench.types import Choices, Convention, Model

Outcome = Literal["confirmed", "wrong", "undecided"]
N_IMAGES = 4
BEATS_FLOOR = 0.85  # a choice counts when its error is below this share of what needs no model ...
CLEAR = 0.85  # ... and it beats another when its error is below this share of the other's


@dataclass(frozen=True)
class Conventions:
    """What came out."""

    model: str
    task: str
    dataset: str
    n_images: int
    unit: str
    scores: dict[str, float]  # choice -> error, best first; means over images
    declared: str  # the choice that stands for the card as it is
    floor: float  # error of what needs no model
    outcome: Outcome
    advice: str  # what to do; "" when confirmed

    @property
    def best(self) -> str:
        """The choice with the smallest error."""
        return next(iter(self.scores), self.declared)


def examine(
    spec: ModelSpec, model: Model, data: OpenData, device: str, *, n_images: int = N_IMAGES, n: int | None = None
) -> Conventions:
    """Score a loaded model under every choice on a few samples; samples at fault are left out.

    Args:
        n: how many of the data set's samples may be drawn from; None: all.
    """
    convention = data.task.kind.convention
    assert convention is not None
    targets: list[Any] = []
    found: list[Choices] = []
    for prediction, target in predictions(model, data, device, spread(n or len(data.adapter), n_images)):
        found.append(convention.choices(prediction, target))
        targets.append(target)
    means = {name: float(np.mean([c.errors[name] for c in found])) for name in (found[0].errors if found else {})}
    ranked = dict(sorted(means.items(), key=lambda item: item[1]))
    floor = float(np.mean([c.floor for c in found])) if found else float("nan")
    declared = found[-1].declared if found else ""
    outcome = judge(ranked, declared, floor)
    advice = _advice(spec, convention, ranked, declared, floor, outcome)
    if outcome == "wrong" and (doubt := convention.doubt(targets)):
        advice = (
            f"{spec.id} is refused, but the ground truth of {data.spec.id} is to be doubted first: {doubt}. Correct "
            f"what the data set declares; if the truth is right after all: {advice}"
        )
    return Conventions(
        spec.id, data.task.name, data.spec.id, len(found), convention.unit, ranked, declared, floor, outcome, advice
    )


def refuse_wrong(found: Conventions) -> None:
    """Raises CheckpointRejected when another choice than the declared one is clearly right."""
    if found.outcome == "wrong":
        raise CheckpointRejected(found.advice)


def spread(n: int, n_images: int) -> list[int]:
    """At most ``n_images`` indices over ``n`` samples, evenly spaced."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, n_images)).round()}) if n else []


def predictions(model: Model, data: OpenData, device: str, indices: list[int]) -> Iterator[tuple[Any, Any]]:
    """(prediction, target) of the samples that are sound."""
    forward = Forward(model, device, budget=1)
    for index in indices:
        item = load(data.adapter, model.prepare, index)
        for one, outputs in forward([item]):
            if one.sample is None or one.prepared is None or isinstance(outputs, SampleFault):
                continue
            try:
                given = model.finish(outputs, one.prepared.geometry)
                prediction, fault = data.task.check(given, one.sample.input, one.sample.target)
            except Exception as error:  # any model may raise anything; the run itself will say so, image by image
                raise_if_machine(error)
                continue
            if fault is None:
                yield prediction, one.sample.target
            elif fault.code == "pred.direction":  # a miss in a score, and just what is asked about here
                yield given, one.sample.target


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
    spec: ModelSpec,
    convention: Convention,
    ranked: dict[str, float],
    declared: str,
    floor: float,
    outcome: Outcome,
) -> str:
    if outcome == "confirmed":
        return ""
    if not ranked:
        return f"{spec.id}: no sample could be scored, so its convention is not verified."
    best, unit = next(iter(ranked)), convention.unit
    errors = f"{ranked[best]:.3g} {unit} as '{best}', {ranked[declared]:.3g} as declared ('{declared}')"
    if outcome == "undecided":
        return f"{spec.id}: convention not verified; no choice clearly beats the floor of {floor:.3g} ({errors})."
    options = read_options(model_options(spec.entry), spec.options, f"model {spec.id}").model_dump()
    return f"{spec.id} is refused ({errors}): {convention.correction(best, options)}."
