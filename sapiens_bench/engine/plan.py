"""A request becomes a plan: cells that can be computed anywhere, rows that cannot be filled and why, time and disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from sapiens_bench import __version__
from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.hashes import file_sha256
from sapiens_bench.engine import own_models, stored
from sapiens_bench.engine.cells import cell_spec, missing_record, unavailable_record
from sapiens_bench.engine.choices import RunChoice
from sapiens_bench.engine.data_specs import FoundData, find_data, scored_in
from sapiens_bench.engine.device import check_device_name
from sapiens_bench.engine.footprint import disk_bytes, picture_pixels
from sapiens_bench.engine.model_specs import Candidate, candidates, model_spec, trust_notes
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.errors import SapiensBenchError, SecurityRefusal, UsageError
from sapiens_bench.store.files import free_bytes, held_bytes
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.store.paths import Kind
from sapiens_bench.store.record import CellRecord
from sapiens_bench.tasks import task_kind, task_names

SCHEMA = "plan/1"


@dataclass(frozen=True)
class Plan:
    """What a request means on this machine."""

    task: str
    how: RunChoice
    out: Path
    cells: list[CellSpec]  # by model, then data set, so that a model is loaded once
    unavailable: list[CellRecord]
    order: list[tuple[str, str]]  # (data set, model) of every row of the table
    data: list[FoundData]  # opened while planning; a cell of another process opens its own
    asked: dict[str, Any]  # the request, for the record
    cards: dict[str, Any]  # every card that is used, for the record
    identity: dict[str, Any]  # plan.json: what must not change while a folder is being filled
    free_bytes: int
    notes: list[str] = field(default_factory=list)
    first_error: SapiensBenchError | None = None  # why the first unavailable cell is unavailable

    @property
    def data_notes(self) -> list[str]:
        """What the data sets say about how they are read; the table has it under each data set."""
        return [f"{data.spec.id}: {note}" for data in self.data for note in getattr(data.open.adapter, "notes", ())]

    @property
    def n_images(self) -> int:
        """Over all cells."""
        return sum(spec.cell.n_samples for spec in self.cells)

    @property
    def disk_bytes(self) -> int:
        """Needed for rows, predictions and maps."""
        return sum(self._disk_bytes(spec) for spec in self.cells)

    def _disk_bytes(self, spec: CellSpec) -> int:
        cell, data = spec.cell, self.opened(spec).open
        pixels = picture_pixels(data.adapter) if self.how.save_maps else 0
        return disk_bytes(cell.task, cell.n_samples, cell.shard_size, len(getattr(data.task, "names", ())), pixels)

    def opened(self, spec: CellSpec) -> FoundData:
        """The data set of a cell."""
        return next(data for data in self.data if data.spec is spec.data)

    def check_disk(self) -> None:
        """Refuse a run that will not fit. What a stopped run left in the folder takes no more room.

        Raises:
            UsageError: less free space than the estimate.
        """
        parts = 1 if self.how.part is None else self.how.part[1]  # 0: nothing is computed
        needed = self.disk_bytes // parts if parts else 0
        if self.free_bytes < needed and self.free_bytes < (needed := needed - held_bytes(self.out, get_args(Kind))):
            raise UsageError(
                f"{self.out} has {self.free_bytes / 1e3:,.0f} kB free; "
                f"about {needed / 1e3:,.0f} kB are needed. Give --out on another disk."
            )


def resolve(request: Request, catalog: Catalog, boxes: Mapping[str, Path] | None = None) -> Plan:
    """Find out what can run. Reads cards, then annotations, then weight hashes; loads no model and writes nothing.

    Names, options and scoring keys are validated before a data set is opened.

    Args:
        boxes: data set -> box file, where the request's boxes come from a detector (``detect.make_box_files``).

    Raises:
        UnknownName: a model, data set, task, protocol or option that does not exist.
        CardError: an option or scoring key has a wrong value.
        DatasetRejected: an annotation file is malformed; nothing runs then.
        DataMissing: no data set of the task is on this machine.
        WeightsMissing (or what else is in the way): nothing at all can run.
    """
    own_models.register(request, catalog)
    stored.register(request, catalog)
    how, what = request.run(), request.model()
    where = replace(request.data(), pictures=stored.needs_pictures(request, catalog))
    check_device_name(how.device)
    kind = task_kind(what.task)
    catalog.refuse_unknown_tasks(task_names())
    if how.save_maps and kind.codec is None:
        raise UsageError(f"--save-maps keeps maps; predictions of {kind.name} are kept without it.")
    asked = candidates(what, catalog, scored_in(where, catalog))
    search = find_data(where, catalog, boxes or {})
    cells: list[CellSpec] = []
    unavailable: list[CellRecord] = []
    first_error: SapiensBenchError | None = None
    for candidate in asked.all:
        for data in search.found:
            try:
                spec = model_spec(candidate, what, catalog)
                cells.append(cell_spec(spec, data, catalog, where.boxes, how.shard_size))
            except SapiensBenchError as error:
                first_error = first_reason(first_error, error)
                unavailable.append(unavailable_record(candidate, data, error))
    for name, reason in search.missing.items():
        card = catalog.dataset(name)
        protocol = where.protocol or card.default_protocol(where.task) or ""
        unavailable += [missing_record(candidate, card, protocol, reason) for candidate in asked.all]
    out = _run_folder(
        request.out or _default_out(request.as_json(), asked.all, search.found, set(catalog.aliases.values()))
    )
    sets = [*(data.spec.id for data in search.found), *search.missing]
    return Plan(
        task=what.task,
        how=how,
        out=out,
        cells=cells,
        unavailable=unavailable,
        order=[(name, candidate.entry.id) for name in sets for candidate in asked.all],
        data=search.found,
        asked=request.as_json(),
        cards=_cards(asked.all, search.found),
        identity=_identity(request, asked.all, search.found),
        free_bytes=free_bytes(out),
        notes=[
            *search.notes,
            *asked.notes,
            *own_models.space_notes(request, catalog),
            *trust_notes(what, [spec.model for spec in cells]),
            *(f"Card refused: {path}: {reason}" for path, reason in catalog.broken.items()),
        ],
        first_error=first_error,
    )


def first_reason(first: SapiensBenchError | None, error: SapiensBenchError) -> SapiensBenchError:
    """The error to end with when nothing could run: the first one, unless a later one is a refusal for security."""
    is_graver = isinstance(error, SecurityRefusal) and not isinstance(first, SecurityRefusal)
    return error if first is None or is_graver else first


def _identity(request: Request, asked: Sequence[Candidate], found: Sequence[FoundData]) -> dict[str, Any]:
    """What must not change while a folder is being filled: ordered samples, models asked for, selection."""
    return {
        "schema": SCHEMA,
        "task": request.task,
        "shard_size": request.shard_size,
        "seed": request.seed,
        "precision": request.precision,
        "models": sorted({candidate.entry.id for candidate in asked}),
        "datasets": {
            data.spec.id: {
                "protocol": data.spec.protocol_name,
                "manifest_sha256": data.facts.manifest_sha256,
                "keys": list(data.facts.keys),
            }
            for data in found
        },
    }


def _cards(asked: Sequence[Candidate], found: Sequence[FoundData]) -> dict[str, Any]:
    cards = [candidate.entry.card for candidate in asked] + [data.spec.card for data in found]
    return {card.id: card.model_dump(mode="json", by_alias=True) for card in cards}


def _run_folder(out: Path) -> Path:
    """Where the run goes.

    Raises:
        UsageError: a file of that name is there already.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out} is a file, and a run needs a folder. Give --out another name; the file stays as it is."
        )
    return out


def _default_out(
    request: Mapping[str, Any], asked: Sequence[Candidate], found: Sequence[FoundData], of_files: Collection[str]
) -> Path:
    """Below ./results/runs, named so that the same question finds the same folder; a model that is named by its file
    is another question when the file changes."""
    names = ("task", "limit", "seed", "precision", "boxes", "options", "split", "shard_size")
    only_if_said = ("data_options", "scoring", "part", "condition", "select")
    optional = {name: request[name] for name in only_if_said if request.get(name)}
    if request.get("max_pixels", MAX_PIXELS) != MAX_PIXELS:
        optional["max_pixels"] = request["max_pixels"]
    if any(request["own"].values()):  # what was said of a file's pixels and output
        optional["own"] = request["own"]
    question = {
        "version": __version__,
        "models": sorted(candidate.entry.id for candidate in asked),
        "protocols": {data.spec.id: [data.spec.protocol_name, data.facts.manifest_sha256] for data in found},
        "request": {**{name: value for name, value in request.items() if name in names}, **optional},
    }
    entries = [candidate.entry for candidate in asked if candidate.entry.variant.id in of_files]
    if files := {entry.id: _content(entry) for entry in entries}:
        question["files"] = files
    sets = "+".join(data.spec.id for data in found)
    if len(sets) > 60:
        sets = f"{len(found)}-datasets"
    return Path("results") / "runs" / f"{request['task']}-{sets}-{fingerprint(question)[:8]}"


def _content(entry: ModelEntry) -> str:
    weights = entry.variant.weights
    if weights is not None and weights.sha256 is not None:
        return "+".join([weights.sha256, *(sha256 or "" for sha256 in weights.also.values())])
    return file_sha256(entry.path) if entry.path.is_file() else str(entry.variant.options)
