"""A plan becomes rows, rows become scores, scores become run.json. The Python API is here too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from sapiens_bench import __version__
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.engine import provenance, scores
from sapiens_bench.engine.boxes import about_boxes
from sapiens_bench.engine.build import TargetBook, model_for
from sapiens_bench.engine.conventions import Conventions, examine, refuse_wrong
from sapiens_bench.engine.detect import prepare_boxes
from sapiens_bench.engine.device import default_batch_size, default_workers, resolve_device
from sapiens_bench.engine.evaluate import CellJob, run_cell
from sapiens_bench.engine.events import CellFinished, CellStarted, DataProgress, Event, Note, ignore
from sapiens_bench.engine.plan import Plan, PlannedCell, check_disk, graver, make_plan
from sapiens_bench.engine.request import Request, parse_trust
from sapiens_bench.errors import IncompleteRun, Interrupted, SapiensBenchError, StorageFull, TooManyErrors
from sapiens_bench.store.causes import row_causes
from sapiens_bench.store.folder import CellClaim, open_run
from sapiens_bench.store.record import (
    CellRecord,
    DatasetRecord,
    GitRecord,
    HardwareRecord,
    RunRecord,
    RunStatus,
    costs_of,
    write_run,
)
from sapiens_bench.store.rows import read_rows
from sapiens_bench.store.throughput import carried_timing
from sapiens_bench.types import Adapter, Materialised, Model

MAX_ERRORS = 0.01
Watcher = Callable[[Event], None]


class Terminated(Interrupted):
    """SIGTERM arrived."""

    exit_code: ClassVar[int] = 143


class _Signal(KeyboardInterrupt):
    """SIGTERM, on its way up through the same code as Ctrl-C."""


def evaluate(*, on_event: Watcher = ignore, **request: Any) -> RunRecord:
    """Score models on data sets; the arguments are the fields of ``Request``.

    Returns:
        The record that is also in ``run.json``: one ``CellRecord`` per model and data set, with scores and intervals.

    Raises:
        SapiensBenchError: see ``run`` and ``make_plan``.

    Example:
        >>> import sapiens_bench
        >>> record = sapiens_bench.evaluate(task="pose", models=["movenet-thunder"], limit=8)
        >>> cell = record.cells[0]
        >>> cell.scores[cell.headline].value
    """
    asked = Request(**request)
    catalog = Catalog.load(asked.cards)
    prepare_boxes(asked, catalog, on_event)
    return run(make_plan(asked, catalog), catalog, on_event)


def load_model(
    name: str,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    weights_root: Path | str | None = None,
    cards: Sequence[Path | str] = (),
    trust: Sequence[str] = (),
    **options: Any,
) -> Model:
    """Build one model by its id, weights verified; ``options`` overlay those of the card.

    ``trust`` holds texts PATH:SHA256, as ``Request.trust``.

    Raises:
        UnknownName: no such model; WeightsMissing, CheckpointRejected: its weights are absent or unusable.

    Example:
        >>> import sapiens_bench
        >>> model = sapiens_bench.load_model("movenet-thunder")
        >>> prepared = model.prepare(model_input)   # a sapiens_bench.types.ModelInput
    """
    catalog = Catalog.load([Path(card) for card in cards])
    entry = catalog.model(name)
    if device != "meta":
        device = resolve_device(device, precision)
    root = None if weights_root is None else Path(weights_root)
    files = weight_files(entry.variant, root, parse_trust(tuple(trust)))
    return model_for(entry, files, catalog, device=device, precision=precision, options=options)


def run(plan: Plan, catalog: Catalog, on_event: Watcher = ignore) -> RunRecord:
    """Do what is missing of the plan, then score everything that is on disk, and write run.json.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; what is committed stays and the same call resumes.
        StorageFull: no room; likewise.
        TooManyErrors: all done and written, but a cell has more error rows than allowed.
        IncompleteRun: planned and found rows differ.
        FingerprintMismatch: the folder belongs to another experiment.
        WeightsMissing, LabelSpaceMismatch ...: nothing at all could run.
    """
    if not plan.cells:
        raise plan.first_error or IncompleteRun("The request names nothing that can run.")
    return _Run(plan, catalog, on_event).whole()


class _Run:
    """The state of one run: its record, and the model that is loaded."""

    def __init__(self, plan: Plan, catalog: Catalog, on_event: Watcher) -> None:
        self.plan, self.catalog, self.on_event = plan, catalog, on_event
        request = plan.request
        self.device = resolve_device(request.device, request.precision)
        self.batch_size = request.batch_size or default_batch_size(self.device)
        self.workers = request.workers or default_workers()
        self.records = {(c.cell.dataset, c.cell.model): c.record.model_copy(deep=True) for c in plan.cells}
        self.records |= {(record.dataset, record.model): record for record in plan.unavailable}
        self.record = _header(plan, catalog, self.device, self.batch_size, self.workers)
        metrics = {data.card.id: data.task.metrics for data in plan.data}
        self.record.bind(plan.out, lambda cell: metrics[cell.dataset])
        self.loaded: tuple[str, Model] | None = None
        self.made: set[str] = set()
        self.conventions: dict[str, Conventions] = {}
        self.first_error = plan.first_error
        self.previous: RunRecord | None = None  # what run.json said before this run

    def whole(self) -> RunRecord:
        """Rows, scores, record; every way out leaves a run.json that tells the truth."""
        check_disk(self.plan)
        claims = [CellClaim(c.cell.folder, c.fields, c.cell.shard_size) for c in self.plan.cells]
        with _terminate_like_ctrl_c(), open_run(self.plan.out, self.plan.as_json(), claims) as folder:
            self.previous = folder.previous
            try:
                self._save("running")
                for note in (*self.plan.notes, *folder.notes):
                    self._note(note)
                for planned in self.plan.cells:
                    self._cell(planned)
                self._score()
            except KeyboardInterrupt as stop:
                self._save_anyway("interrupted")
                kind = Terminated if isinstance(stop, _Signal) else Interrupted
                raise kind(
                    f"Stopped. Everything committed is kept in {self.plan.out}; the same command goes on from there."
                ) from None
            except Exception as error:  # ours or not: the record must not say "running" for ever
                self._save_anyway("incomplete" if isinstance(error, StorageFull) else "failed")
                raise
        return self._verdict()

    def _cell(self, planned: PlannedCell) -> None:
        """Bring one cell's rows to completion, or mark it refused; a broken model never stops the others."""
        cell, record = planned.cell, self._record(planned)
        adapter = planned.data.adapter
        job = CellJob(
            cell=cell,
            out=self.plan.out,
            batch_size=self.batch_size,
            workers=self.workers,
            device=self.device,
            save_preds=self.plan.request.save_preds,
            save_maps=self.plan.request.save_maps,
            index_K=None if planned.space_map is None else planned.space_map.index,
            identity=getattr(adapter, "identity", None),
        )
        missing, notes = job.missing_shards(adapter, planned.data.task)
        for note in notes:
            self._note(note)
        n_missing = sum(len(shard.indices) for shard in missing)
        self.on_event(CellStarted(cell, planned.title, cell.n_samples - n_missing))
        if n_missing:
            self._materialise(planned)
            try:
                adapter, model = self._model(planned)
                self._check_conventions(planned, model)
            except SapiensBenchError as error:
                self.first_error = graver(self.first_error, error)
                record.refuse(error)
                self.on_event(CellFinished(record))
                return
            record.timing, notes = run_cell(job, adapter, model, planned.data.task, self.on_event, missing)
            for note in notes:
                self._note(note)
        self._count(planned, read_rows(job.folder))
        self.on_event(CellFinished(record))

    def _count(self, planned: PlannedCell, rows: pa.Table) -> None:
        """Counts, examples and scores without intervals, from the rows."""
        record = self._record(planned)
        record.counts = scores.count(rows, planned.cell.n_samples)
        record.errors, record.causes = scores.examples(rows), row_causes(rows)
        record.status = "done" if record.counts.done == record.counts.planned else "incomplete"
        record.scores = scores.score(scores.scored_rows(rows, scores.excluded([rows])), planned.data.task)

    def _score(self) -> None:
        """Scores with intervals, over the samples that are sound for every model of the data set."""
        request = self.plan.request
        for data in self.plan.data:
            ran = [c for c in self.plan.cells if c.data is data and self._record(c).status != "refused"]
            tables = [read_rows(self.plan.out / "rows" / c.cell.folder) for c in ran]
            left_out = scores.excluded(tables)
            weights = scores.Weights(request.n_boot, request.seed)
            for planned, rows in zip(ran, tables):
                self._record(planned).scores = scores.score(
                    scores.scored_rows(rows, left_out), data.task, weights if request.n_boot else None
                )
            about = self.record.datasets[data.card.id]
            about.n_excluded, about.n_scored = len(left_out), data.n_samples - len(left_out)

    def _verdict(self) -> RunRecord:
        """Write the final record, then complain if there is reason to."""
        cells = [self._record(c) for c in self.plan.cells]
        ran = [c for c in cells if c.status in ("done", "incomplete")]
        short = [c for c in ran if c.status == "incomplete"]
        self._save("incomplete" if short else "done" if ran else "failed")
        if not ran and self.first_error is not None:
            raise self.first_error
        if short:
            missing = "; ".join(f"{c.model} on {c.dataset}: {c.counts.done} of {c.counts.planned}" for c in short)
            raise IncompleteRun(f"INCOMPLETE: rows are missing ({missing}). Run the same command again.")
        allowed = MAX_ERRORS if self.plan.request.max_errors is None else self.plan.request.max_errors
        bad = [c for c in ran if c.counts.planned - c.counts.ok > allowed * c.counts.planned]
        if bad:
            raise TooManyErrors(f"{_complaint(bad)} At most {allowed:.1%} is allowed (--max-errors). {self.plan.out}")
        return self.record

    def _model(self, planned: PlannedCell) -> tuple[Adapter, Model]:
        """The model of a cell and the adapter it is to be run with; the last model stays loaded for its next cell."""
        request, entry, data = self.plan.request, planned.entry, planned.data
        diagnostic = entry.card.kind == "diagnostic"
        if self.loaded is not None and self.loaded[0] == entry.id and not diagnostic:
            return data.adapter, self.loaded[1]
        self.loaded = None  # frees the device before the next model comes
        book = TargetBook(data.adapter, n_kept=8 * (self.workers + self.batch_size))
        model = model_for(
            entry,
            planned.weights,
            self.catalog,
            device=self.device,
            precision=request.precision,
            options=request.options,
            seed=request.seed,
            task=data.task,
            targets=book,
        )
        self.loaded = (entry.id, model)
        return (book if diagnostic else data.adapter), model

    def _check_conventions(self, planned: PlannedCell, model: Model) -> None:
        """Refuse a network whose declared axes or depth direction are clearly not its own; looked at once per model."""
        entry, data = planned.entry, planned.data
        if entry.card.kind != "network" or data.task.headline.partition("/")[0] not in ("depth", "normal"):
            return
        if entry.id not in self.conventions:
            found = examine(entry, model, data.adapter, data.task, data.card.id, self.device, n=data.n_samples)
            self.conventions[entry.id] = found
            if found.outcome == "undecided":
                self._note(found.advice)
        refuse_wrong(self.conventions[entry.id])

    def _materialise(self, planned: PlannedCell) -> None:
        data = planned.data
        if data.card.id in self.made or not isinstance(data.adapter, Materialised):
            return
        self.made.add(data.card.id)
        workers = self.plan.request.workers or provenance.cores()

        def progress(done: int, total: int) -> None:
            self.on_event(DataProgress(data.card.id, done, total))

        data.adapter.materialise(range(data.n_samples), workers, progress)

    def _record(self, planned: PlannedCell) -> CellRecord:
        return self.records[planned.cell.dataset, planned.cell.model]

    def _note(self, text: str) -> None:
        self.record.notes.append(text)
        self.on_event(Note(text))

    def _save(self, status: RunStatus) -> None:
        self.record.status = status
        self.record.finished = "" if status == "running" else provenance.now()
        cells = [self.records[key] for key in self.plan.order]
        self.record.cells = [
            cell.model_copy(update={"timing": carried_timing(self.previous, self.record, cell)}) for cell in cells
        ]
        write_run(self.plan.out, self.record)

    def _save_anyway(self, status: RunStatus) -> None:
        with suppress(SapiensBenchError):  # the disk may be full: that is what is being reported
            self._save(status)


def _header(plan: Plan, catalog: Catalog, device: str, batch_size: int, workers: int) -> RunRecord:
    """The record before any result."""
    request = plan.request
    models = {model for _, model in plan.order}
    families = {entry.card.id: entry.card for entry in catalog.models.values() if entry.id in models}
    cards = {name: card.model_dump(mode="json", by_alias=True) for name, card in families.items()}
    cards |= {data.card.id: data.card.model_dump(mode="json", by_alias=True) for data in plan.data}
    return RunRecord(
        status="running",
        task=request.task,
        costs=costs_of(plan.out),
        command=request.command,
        version=__version__,
        started=provenance.now(),
        git=GitRecord.model_validate(provenance.git_state()),
        packages=provenance.packages(),
        hardware=HardwareRecord.model_validate(provenance.hardware(device)),
        request={**request.as_json(), "device": device, "batch_size": batch_size, "workers": workers},
        cards=cards,
        datasets={
            data.card.id: DatasetRecord(
                title=data.card.title,
                licence=data.card.licence.name,
                n_images=data.n_samples,
                manifest_sha256=data.adapter.manifest_sha256,
                protocol=data.protocol_name,
                protocol_title=data.protocol.title,
                caveat=data.protocol.caveat,
                boxes=request.boxes or str(data.protocol.options.get("boxes", "")),
                **about_boxes(data),
            )
            for data in plan.data
        },
        seeds={"bootstrap": request.seed, "models": request.seed},
    )


def _complaint(bad: Sequence[CellRecord]) -> str:
    parts = []
    for c in bad[:5]:
        codes = ", ".join(dict.fromkeys(error.code for error in c.errors))
        parts.append(f"{c.model} on {c.dataset}: {c.counts.planned - c.counts.ok} of {c.counts.planned} ({codes})")
    return f"Too many error rows: {'; '.join(parts)}."


@contextmanager
def _terminate_like_ctrl_c() -> Iterator[None]:
    """SIGTERM raises where Ctrl-C would; only the main thread may install a handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: object) -> None:
        raise _Signal

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
