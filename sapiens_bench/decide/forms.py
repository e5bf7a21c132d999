"""Two forms of one network beside each other: what ``compare --drift N`` adds to the scores.

Rows tell what a form costs in accuracy; drift and speed need the network itself, so it is run again, on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import without_form
from sapiens_bench.decide.compare import Comparison
from sapiens_bench.decide.pairs import Pair
from sapiens_bench.engine.again import request_of
from sapiens_bench.engine.choices import DETECTOR
from sapiens_bench.engine.drift import Drift, drift
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.store.record import RunRecord, read_run


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie on this machine, where they lie elsewhere than on that of the run."""

    data_root: Path | None = None
    weights_root: Path | None = None
    device: str = ""
    cards: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class FormDrift:
    """A pair of the comparison with its drift."""

    pair: Pair
    found: Drift


def drifts(comparison: Comparison, n_images: int, places: Places) -> list[FormDrift]:
    """The drift of every pair that is one network in two forms.

    Raises:
        UsageError: there is no such pair, or a side is no run folder.
        StoreError: what would run here is not what was scored: the weights or the version differ.
    """
    pairs = list({id(d.pair): d.pair for d in comparison.differences}.values())
    alike = [pair for pair in pairs if without_form(pair.a.model)[0] == without_form(pair.b.model)[0]]
    if not alike:
        raise UsageError(
            "--drift compares one network in two forms (MODEL@fp32,MODEL@bf16, or two runs of one model), and no pair "
            "here is that: raw outputs of different networks mean different things."
        )
    paths = [side.path for side in comparison.sides]
    sides = [paths[0], paths[-1]]
    found = []
    for pair in alike:
        members = (pair.a, pair.b)
        plans = [_plan(path, member.model, member.dataset, places) for path, member in zip(sides, members)]
        made = drift(plans[0], plans[1], pair.a.model, pair.b.model, pair.a.dataset, n_images)
        found.append(FormDrift(pair, made))
    return found


def _plan(path: Path, model: str, dataset: str, places: Places) -> Plan:
    """The part of the run's plan that makes one row, resolved on this machine."""
    if path.is_file() and path.name != "run.json":
        raise UsageError(f"{path} holds rows alone. --drift runs the network again: give the run folder.")
    record = read_run(path)
    if str(record.request.get("boxes") or "").startswith(DETECTOR):
        raise UsageError(f"{path}: its boxes were made by a detector. Run it with --boxes FILE for --drift.")
    given = {
        "data_root": places.data_root,
        "weights_root": places.weights_root,
        "device": places.device or None,
        "cards": places.cards or None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    request = request_of(record, models=(model,), datasets=_named(record, dataset), part=None, out=None, **changes)
    plan = resolve(request, Catalog.load(request.cards))
    _check_same(record, plan, path)
    return plan


def _named(record: RunRecord, dataset: str) -> tuple[str, ...]:
    """The data set alone; as the request named it where it is one of files."""
    asked = tuple(record.request.get("datasets") or ())
    return asked if any(":" in name for name in asked) else (dataset,)


def _check_same(record: RunRecord, plan: Plan, path: Path) -> None:
    scored = {(cell.model, cell.dataset, cell.protocol): cell.fingerprint for cell in record.cells}
    for spec in plan.cells:
        cell = spec.cell
        known = scored.get((cell.model, cell.dataset, cell.protocol), "")
        if known and known != cell.fingerprint:
            raise StoreError(
                f"{cell.model} on {cell.dataset} is not what {path} scored: weights, data, options or the version "
                f"differ (fingerprint {cell.fingerprint[:12]} here, {known[:12]} there)."
            )


def with_drift(document: Document, found: Sequence[FormDrift]) -> Document:
    """The comparison with a table for each drift."""
    notes = (
        *document.notes,
        "Drift: raw outputs of the network on the same tensors. Speed: the forward pass of an image, each form timed "
        "twice in turn on this machine, the better time of each; other work on the machine moves it.",
    )
    data: dict[str, Any] = {**document.data, "drift": [_row(f) for f in found]}
    sheets = (*document.sheets, *map(_sheet, found))
    return Document(document.title, sheets, document.facts, notes, data)


def _sheet(each: FormDrift) -> Sheet:
    found, a, b = each.found, each.pair.a.title, each.pair.b.title
    who = f"{a} : {b}" if a != b else f"{a}, {each.pair.name_a} : {each.pair.name_b}"
    rows = tuple(
        (
            output.name,
            " x ".join(map(str, output.shape)) or "1",
            f"{output.mean_size:.4g}",
            f"{output.mean_difference:.3g}",
            f"{output.max_difference:.3g}",
            output.at,
            str(output.n_undefined),
        )
        for output in found.outputs
    )
    return Sheet(
        title=f"{who}: drift over {found.n_images} images, {found.n_crops} crops, {found.device}",
        heads=("Output", "Shape", "Mean |A|", "Mean |B - A|", "Max |B - A|", "at", "Undefined on one side"),
        rows=rows,
        left=(0, 1, 5),
        notes=(_speed(found),),
    )


def _speed(found: Drift) -> str:
    """One sentence; a change is claimed only where the interval excludes 1."""
    times = f"{found.ms_a:.3g} ms and {found.ms_b:.3g} ms an image"
    if not math.isfinite(found.low):
        return f"Speed: {times}, a ratio of {found.speedup:.2f}; too few images for an interval."
    span = f"{found.speedup:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if found.low <= 1 <= found.high:
        return f"Speed: no difference seen, {times}; time of A over time of B {span}."
    return f"Speed: {'B' if found.speedup > 1 else 'A'} is faster, {times}; time of A over time of B {span}."


def _row(each: FormDrift) -> Mapping[str, Any]:
    return {"dataset": each.pair.a.dataset, "protocol": each.pair.a.protocol, **asdict(each.found)}
