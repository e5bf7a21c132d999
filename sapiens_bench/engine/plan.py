"""A request becomes cells: what will run, what cannot and why, and how long it may take."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapiens_bench import __version__
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.locate import WeightFiles
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.cards.spaces import SpaceMap
from sapiens_bench.engine import stored
from sapiens_bench.engine.admit import DataPlan, admit, code_hash, data_plan, template
from sapiens_bench.engine.build import options_of
from sapiens_bench.engine.request import Request, plain
from sapiens_bench.errors import (
    CardError,
    DataMissing,
    FingerprintMismatch,
    SapiensBenchError,
    SecurityRefusal,
    StoreError,
    UnknownName,
    UsageError,
    WeightsMissing,
)
from sapiens_bench.store.files import free_bytes, write_atomic
from sapiens_bench.store.fingerprint import differing, fingerprint
from sapiens_bench.store.record import CellRecord, CellStatus
from sapiens_bench.types import Cell

__all__ = ["Plan", "PlannedCell", "Request", "check_disk", "make_plan"]

FILE = "plan.json"
SCHEMA = "plan/1"
_BYTES_PER_ROW = 6_000  # rows and predictions of a pose image with a few people; dense rows are smaller
_CPU_FLOPS, _GPU_FLOPS = 4e10, 3e13  # a few cores; a current GPU in fp32. Only for the estimate
_LOAD_S = 0.02  # decode, crop, measure
_CROPS_PER_IMAGE = 2


@dataclass(frozen=True)
class PlannedCell:
    """A cell with everything needed to run it."""

    cell: Cell
    entry: ModelEntry
    data: DataPlan
    weights: WeightFiles
    space_map: SpaceMap | None  # None: the model already speaks the protocol's set
    fields: dict[str, Any]  # what the fingerprint covers
    record: CellRecord  # of a cell that has not begun

    @property
    def title(self) -> str:
        return self.record.title


@dataclass(frozen=True)
class Plan:
    """What a request means on this machine."""

    request: Request
    out: Path
    cells: list[PlannedCell]  # by model, then data set, so that a model is loaded once
    unavailable: list[CellRecord]
    order: list[tuple[str, str]]  # (data set, model) of every row of the table
    data: list[DataPlan]
    n_images: int  # over all cells
    estimate_s: float  # a rough estimate, from parameter counts and input sizes
    disk_bytes: int
    free_bytes: int
    notes: list[str] = field(default_factory=list)
    first_error: SapiensBenchError | None = None  # why the first unavailable cell is unavailable

    def as_json(self) -> dict[str, Any]:
        """What must not change while a folder is being filled: ordered samples, models asked for, selection."""
        request = self.request
        return {
            "schema": SCHEMA,
            "task": request.task,
            "shard_size": request.shard_size,
            "seed": request.seed,
            "precision": request.precision,
            "models": sorted({model for _, model in self.order}),
            "datasets": {
                d.card.id: {
                    "protocol": d.protocol_name,
                    "manifest_sha256": d.adapter.manifest_sha256,
                    "keys": list(d.adapter.keys[: d.n_samples]),
                }
                for d in self.data
            },
        }

    def write(self) -> None:
        """Write plan.json, or check that the one there says the same.

        Raises:
            FingerprintMismatch: the folder holds another run; names what differs.
        """
        path = self.out / FILE
        new = self.as_json()
        try:
            old = json.loads(path.read_bytes())
        except FileNotFoundError:
            write_atomic(path, json.dumps(new, ensure_ascii=False).encode() + b"\n")
            return
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}). Give another --out, or delete {self.out}.") from None
        if differences := differing(old, new):
            raise FingerprintMismatch(
                f"{self.out} holds another run: {'; '.join(differences[:5])}. Give another --out, or delete the folder."
            )


def make_plan(request: Request, catalog: Catalog) -> Plan:
    """Find out what can run. Reads annotations and weight hashes; loads no model and writes nothing.

    Raises:
        UnknownName: a model, data set, task or protocol that does not exist.
        DatasetRejected: an annotation file is malformed; nothing runs then.
        DataMissing: no data set of the task is on this machine.
        WeightsMissing (or what else is in the way): nothing at all can run.
    """
    stored.register(request, catalog)
    entries = catalog.select(request.task, request.models)
    data, missing, notes = _find_data(request, catalog)
    cells: list[PlannedCell] = []
    unavailable: list[CellRecord] = []
    first_error: SapiensBenchError | None = None
    for entry in entries:
        for d in data:
            try:
                weights, space_map = admit(entry, d, catalog, request)
                cells.append(_cell(entry, d, weights, space_map, request))
            except SapiensBenchError as error:
                first_error = graver(first_error, error)
                unavailable.append(_unavailable(entry, d, error))
    for name, reason in missing.items():
        unavailable += [_data_missing(entry, name, request, catalog, str(reason)) for entry in entries]
    n_images = sum(c.cell.n_samples for c in cells)
    out = request.out or _default_out(request, entries, data)
    return Plan(
        request=request,
        out=out,
        cells=cells,
        unavailable=unavailable,
        order=[(name, e.id) for name in [*(d.card.id for d in data), *missing] for e in entries],
        data=data,
        n_images=n_images,
        estimate_s=sum(_estimate_s(c, request) for c in cells),
        disk_bytes=n_images * _BYTES_PER_ROW,
        free_bytes=free_bytes(out),
        notes=[
            *notes,
            *(f"{d.card.id}: {note}" for d in data for note in getattr(d.adapter, "notes", ())),
            *_trust_notes(request, cells),
            *(f"Card refused: {path}: {reason}" for path, reason in catalog.broken.items()),
        ],
        first_error=first_error,
    )


def graver(first: SapiensBenchError | None, error: SapiensBenchError) -> SapiensBenchError:
    """The error to end with when nothing could run: the first one, unless a later one is a refusal for security."""
    is_graver = isinstance(error, SecurityRefusal) and not isinstance(first, SecurityRefusal)
    return error if first is None or is_graver else first


def _trust_notes(request: Request, cells: list[PlannedCell]) -> list[str]:
    """One warning for every file that is opened because the user vouched for it, one for every path that was not."""
    used = {
        str(c.weights.path.resolve()): c.entry.id for c in cells if c.weights.trusted and c.weights.path is not None
    }
    return [
        f"WARNING: {path} (sha256 {sha256}) is trusted (--trust-checkpoint) and may run code of its own: {used[path]}."
        if path in used
        else f"--trust-checkpoint {path}: no model of this run uses the file."
        for path, sha256 in request.trust.items()
    ]


def _find_data(request: Request, catalog: Catalog) -> tuple[list[DataPlan], dict[str, DataMissing], list[str]]:
    """Data sets that are here, those asked for by name that are not, and a note on the others."""
    named = list(dict.fromkeys(part for text in request.datasets for part in text.split(",") if part))
    cards = [catalog.dataset(name) for name in named] or [
        card for card in catalog.datasets.values() if card.default_protocol(request.task) is not None
    ]
    found: list[DataPlan] = []
    missing: dict[str, DataMissing] = {}
    protocols: set[str] = set()
    absent: list[str] = []
    unusable: dict[str, SapiensBenchError] = {}
    notes: list[str] = []
    for card in cards:
        valid = {name: p for name, p in card.protocols.items() if p.task == request.task}
        protocols.update(valid)
        protocol = request.protocol or card.default_protocol(request.task)
        if protocol not in valid:
            if named:
                raise UnknownName(f"{request.task} protocol of {card.id}", str(protocol or request.task), valid)
            continue
        try:
            data, note = _open_or_fall_back(card, protocol, catalog, request)
            found.append(data)
            notes += note
        except DataMissing as error:
            missing[card.id] = error
            absent.append(card.id)
        except (CardError, UnknownName) as error:  # its adapter is not part of this version
            if named:
                raise
            unusable[card.id] = error
    if not found:
        raise _nothing_found(request, named, missing, unusable, protocols)
    if not named:
        notes += [f"Not on this machine, so not run: {', '.join(absent)} (see --data-root)."] if absent else []
        notes += [f"Data set {name} is left out: {error}" for name, error in unusable.items()]
        return found, {}, notes
    return found, missing, notes


def _open_or_fall_back(
    card: DatasetCard, protocol: str, catalog: Catalog, request: Request
) -> tuple[DataPlan, list[str]]:
    """The data set under a protocol, or, when that is only its default and finds no files, under its fallback."""
    try:
        return data_plan(card, protocol, catalog, request), []
    except DataMissing as error:
        fallback = card.protocols[protocol].fallback
        if fallback is None or request.protocol is not None:
            raise
        reason = error
    try:
        data = data_plan(card, fallback, catalog, request)
    except DataMissing:
        raise reason from None
    return data, [f"{card.id}: {reason} Scored under protocol {fallback!r} instead of {protocol!r}."]


def _nothing_found(
    request: Request,
    named: list[str],
    missing: dict[str, DataMissing],
    unusable: dict[str, SapiensBenchError],
    protocols: set[str],
) -> SapiensBenchError:
    """Why there is no data set to run on."""
    reasons: list[SapiensBenchError] = [*unusable.values(), *missing.values()]
    if len(reasons) == 1 or (named and reasons):
        return reasons[0]
    if missing:
        return DataMissing(f"No data set for {request.task} is on this machine: {'; '.join(map(str, reasons))}")
    if reasons:
        return reasons[0]
    return UnknownName(f"{request.task} protocol", str(request.protocol), protocols)


def _cell(
    entry: ModelEntry, d: DataPlan, weights: WeightFiles, space_map: SpaceMap | None, request: Request
) -> PlannedCell:
    fields = _fields(entry, d, weights, space_map, request)
    cell = Cell(
        task=request.task,
        dataset=d.card.id,
        protocol=d.protocol_name,
        model=entry.id,
        n_samples=d.n_samples,
        shard_size=request.shard_size,
        fingerprint=fingerprint(fields),
    )
    record = template(entry, d.card, d.protocol_name, "planned").model_copy(
        update={
            "fingerprint": cell.fingerprint,
            "weights_sha256": weights.sha256,
            "weights_pinned": weights.pinned,
            "headline": d.task.headline,
            "approximate": _approximate(space_map),
        }
    )
    if record.weights_bytes is None and weights.path is not None and weights.path.is_file():
        record.weights_bytes = weights.path.stat().st_size
    record.counts.planned = d.n_samples
    return PlannedCell(cell, entry, d, weights, space_map, fields, record)


def _fields(
    entry: ModelEntry, d: DataPlan, weights: WeightFiles, space_map: SpaceMap | None, request: Request
) -> dict[str, Any]:
    """All that may change a row. Not: batch size, workers, device, shard size."""
    variant = entry.variant
    spec = variant.input or entry.card.input
    return {
        "version": __version__,
        "dataset": d.card.id,
        "adapter": d.card.adapter,
        "exif": d.card.exif,
        "manifest_sha256": d.adapter.manifest_sha256,
        "samples": {"n": d.n_samples, "sha256": d.keys_sha256},
        "protocol": {"name": d.protocol_name, **d.protocol.model_dump(mode="json", include={"options", "scoring"})},
        "space": None if d.space is None else d.space.model_dump(mode="json", exclude={"title", "colours", "source"}),
        "boxes": request.boxes,
        "split": request.split,
        "model": variant.id,
        "wrapper": entry.card.wrapper,
        "code_sha256": [d.code_sha256, code_hash(entry.card.wrapper, entry.path)],
        "weights_sha256": weights.sha256,
        "input": None if spec is None else spec.model_dump(mode="json"),
        "options": plain(options_of(entry, request.options)),
        "model_space": entry.card.space_of(variant),
        "map": None if space_map is None else [int(i) for i in space_map.index],
        "precision": request.precision,
        "seed": request.seed if entry.card.kind == "diagnostic" else None,
        "metrics": {metric.name: metric.version for metric in d.task.metrics},
    }


def _approximate(space_map: SpaceMap | None) -> str:
    if space_map is not None and space_map.kind == "keypoints" and not space_map.complete:
        missing = len(space_map.index) - len(space_map.surviving)
        return f"{space_map.source} -> {space_map.target}, {missing} of {len(space_map.index)} points scored as misses"
    if space_map is None or not space_map.approximate:
        return ""
    return f"{space_map.source} -> {space_map.target}, {len(space_map.index)} entries by name"


def _unavailable(entry: ModelEntry, d: DataPlan, error: SapiensBenchError) -> CellRecord:
    status: CellStatus = "weights missing" if isinstance(error, WeightsMissing) else "refused"
    record = template(entry, d.card, d.protocol_name, status)
    record.how, record.headline = str(error), d.task.headline
    record.counts.planned = d.n_samples
    return record


def _data_missing(entry: ModelEntry, dataset: str, request: Request, catalog: Catalog, how: str) -> CellRecord:
    card = catalog.dataset(dataset)
    protocol = request.protocol or card.default_protocol(request.task) or ""
    record = template(entry, card, protocol, "data missing")
    record.how = how
    return record


def _default_out(request: Request, entries: list[ModelEntry], data: list[DataPlan]) -> Path:
    """Below ./results/runs, named so that the same question finds the same folder."""
    asked = {
        "version": __version__,
        "models": sorted(entry.id for entry in entries),
        "protocols": {d.card.id: [d.protocol_name, d.adapter.manifest_sha256] for d in data},
        "request": {
            name: value
            for name, value in request.as_json().items()
            if name in ("task", "limit", "seed", "precision", "boxes", "options", "split", "shard_size")
        },
    }
    names = "+".join(d.card.id for d in data)
    if len(names) > 60:
        names = f"{len(data)}-datasets"
    return Path("results") / "runs" / f"{request.task}-{names}-{fingerprint(asked)[:8]}"


def _estimate_s(planned: PlannedCell, request: Request) -> float:
    """Seconds, roughly: two operations per parameter and 16 x 16 patch, as in a plain transformer."""
    variant = planned.entry.variant
    spec = variant.input or planned.entry.card.input
    params = (variant.params_m or (planned.record.weights_bytes or 0) / 4e6) * 1e6
    patches = (spec.height * spec.width if spec else 256 * 256) / 256
    crops = _CROPS_PER_IMAGE if request.task == "pose" else 1
    rate = _CPU_FLOPS if request.device in ("cpu", "auto") else _GPU_FLOPS
    return planned.cell.n_samples * (_LOAD_S + crops * 2 * params * patches / rate)


def check_disk(plan: Plan) -> None:
    """Refuse a run that will not fit.

    Raises:
        UsageError: less free space than the estimate.
    """
    if plan.free_bytes < plan.disk_bytes:
        raise UsageError(
            f"{plan.out} has {plan.free_bytes / 1e6:.0f} MB free; about {plan.disk_bytes / 1e6:.0f} MB are needed. "
            f"Give --out on another disk."
        )
