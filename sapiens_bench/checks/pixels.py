"""``verify pixels``: a model under every order of channels and the usual normalisations, on a few labelled pictures.

No file says whether its network takes blue first or how its pixels are normalised, and a wrong word lowers the score in
silence. Here the model is run with what its card declares and with everything else that is common; where another
choice is clearly better, the declaration is to be doubted. It is a hint from a few pictures, not a proof, so it is made
when it is asked for and never changes a card.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.engine import own_models
from sapiens_bench.engine.conventions import CLEAR, Outcome
from sapiens_bench.engine.events import Event, ignore
from sapiens_bench.engine.own_facts import NORMALISATIONS
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import OwnModel, Request
from sapiens_bench.engine.run import run
from sapiens_bench.errors import UsageError
from sapiens_bench.store.record import CellRecord

ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class PixelsFound:
    """What came out."""

    model: str
    dataset: str
    n_images: int
    score: str  # title of the headline score
    higher_is_better: bool
    scores: dict[str, float]  # choice -> score, best first; NaN: the model could not be scored under it
    declared: str
    outcome: Outcome
    advice: str  # "" where the declaration holds


def examine_pixels(
    request: Request, catalog: Catalog, n_images: int, on_event: Callable[[Event], None] = ignore
) -> PixelsFound:
    """Score the request's model under every choice on the first ``n_images`` of its data set.

    Raises:
        UsageError: not one model, or one whose card declares no input.
        SapiensBenchError: see ``plan.resolve`` and ``run.run``.
    """
    own_models.register(request, catalog)
    entries = catalog.select(request.task, request.models)
    if len(entries) != 1:
        raise UsageError(f"--model names {len(entries)} models; one is looked at.")
    (entry,) = entries
    spec = entry.variant.input or entry.card.input
    if entry.card.kind != "network" or spec is None:
        raise UsageError(f"{entry.id}: its card declares no input (size, normalisation), so there is nothing to check.")
    declared, choices = _choices(spec)
    names = {label: _add(entry, label, choice, i, catalog) for i, (label, choice) in enumerate(choices.items())}
    with tempfile.TemporaryDirectory() as folder:
        asked = replace(
            request, models=tuple(names.values()), limit=n_images, n_boot=0, out=Path(folder) / "run", own=OwnModel(),
            max_errors=1.0, save_preds=False,
        )  # fmt: skip
        record = run(resolve(asked, catalog), on_event)
    cells = {label: next(c for c in record.cells if c.model == name) for label, name in names.items()}
    return _judged(entry.id, declared, cells)


def _choices(spec: InputSpec) -> tuple[str, dict[str, InputSpec]]:
    """What the card declares, in words, and every choice by its words; mean and deviation follow the channels."""
    flipped = spec.channel_order == "bgr"
    own = tuple(spec.mean[::-1] if flipped else spec.mean), tuple(spec.std[::-1] if flipped else spec.std)
    known = {name: (tuple(map(float, mean)), tuple(map(float, std))) for name, (mean, std) in NORMALISATIONS.items()}
    name = next((name for name, values in known.items() if _close(values, own)), "the card's")
    found = {}
    for order, (each, (mean, std)) in product(ORDERS, {name: own, **known}.items()):
        turn = slice(None, None, -1) if order == "bgr" else slice(None)
        values = {"mean": mean[turn], "std": std[turn], "channel_order": order}
        found[f"{order}, {each}"] = spec.model_copy(update=values)
    return f"{spec.channel_order}, {name}", found


def _close(a: tuple[tuple[float, ...], ...], b: tuple[tuple[float, ...], ...]) -> bool:
    return all(abs(x - y) < 0.01 for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))


def _add(entry: ModelEntry, label: str, spec: InputSpec, number: int, catalog: Catalog) -> str:
    """A card like the entry's with another input; gives its id."""
    name = f"pixels-{number}-{entry.variant.id}"[:64]
    variant = entry.variant.model_copy(update={"id": name, "title": label, "input": spec, "in_all": False})
    card = entry.card.model_copy(update={"id": f"check-{name}"[:64], "variants": (variant,)})
    catalog.add(card, entry.path, name)
    return name


def _judged(model: str, declared: str, cells: dict[str, CellRecord]) -> PixelsFound:
    head = next((cell.scores[cell.headline] for cell in cells.values() if cell.headline in cell.scores), None)
    if head is None:
        reasons = {cell.how for cell in cells.values() if cell.how}
        raise UsageError(f"{model} could not be scored: {'; '.join(sorted(reasons)) or 'no picture is scored'}.")
    values = {n: c.scores[c.headline].value if c.headline in c.scores else math.nan for n, c in cells.items()}
    sign = -1 if head.higher_is_better else 1
    ranked = dict(sorted(values.items(), key=lambda item: (math.isnan(item[1]), sign * item[1], item[0] != declared)))
    some = next(iter(cells.values()))
    outcome, advice = _outcome(model, declared, ranked, head.higher_is_better)
    return PixelsFound(
        model, some.dataset, some.counts.planned, head.title, head.higher_is_better, ranked, declared, outcome, advice
    )


def _outcome(model: str, declared: str, ranked: dict[str, float], higher_is_better: bool) -> tuple[Outcome, str]:
    """Whether the declared choice holds, and what to do where it does not, or where the pictures do not tell."""
    errors = {n: 1 - v if higher_is_better else v for n, v in ranked.items() if not math.isnan(v)}
    first, best, worst = next(iter(ranked)), min(errors.values()), max(errors.values())
    if best == worst:
        same = "every choice gives the same score. Its wrapper prepares pictures by itself, or something else is amiss"
        return "undecided", f"{model}: {same}."
    if not best < CLEAR * worst:
        return "undecided", f"{model}: no choice is clearly better than the others. Take more pictures (--images)."
    if first == declared or not best < CLEAR * errors.get(declared, math.inf):
        return "confirmed", ""
    order, _, pixels = first.partition(", ")
    mean, std = NORMALISATIONS.get(pixels, ((), ()))
    turn = slice(None, None, -1 if order == "bgr" else 1)
    numbers = f", mean: {list(mean[turn])}, std: {list(std[turn])}" if mean else ""
    return "wrong", (
        f"{model}: these pictures speak for {first} ({ranked[first]:.3g}, as declared {ranked[declared]:.3g}). Look at "
        f"what it was trained with; a card says it by `input: {{channel_order: {order}{numbers}}}`, a run by "
        f"--normalise {pixels if mean else 'NUMBERS'}{',bgr' if order == 'bgr' else ''}."
    )
