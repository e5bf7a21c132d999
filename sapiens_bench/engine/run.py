"""A plan becomes rows, rows become scores, scores become run.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar

from sapiens_bench import __version__
from sapiens_bench.engine import declared, provenance, scores
from sapiens_bench.engine.choices import Places
from sapiens_bench.engine.complete import complete_before
from sapiens_bench.engine.data_specs import FoundData
from sapiens_bench.engine.device import resolve_device, use_full_fp32
from sapiens_bench.engine.events import CellFinished, CellStarted, DataProgress, Event, Note, ignore
from sapiens_bench.engine.holder import ModelHolder, needs_pictures
from sapiens_bench.engine.jobs import Setting, Todo, job_of
from sapiens_bench.engine.kept_scores import KeptScores, SetFacts, cell_key, set_key
from sapiens_bench.engine.line import run_cell
from sapiens_bench.engine.plan import Plan, first_reason
from sapiens_bench.engine.ray_cluster import joined_early
from sapiens_bench.engine.results import run_results
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.stopping import Terminate, signals_raise
from sapiens_bench.engine.threads import division, keep_freed_memory, prepare_process
from sapiens_bench.engine.verdict import complaint, failed, why_nothing
from sapiens_bench.errors import (
    IncompleteRun,
    Interrupted,
    MachineFault,
    SapiensBenchError,
    TooManyErrors,
    machine_fault,
    raise_if_machine,
)
from sapiens_bench.store.folder import CellClaim, RunFolder, open_run
from sapiens_bench.store.record import (
    Cause,
    CellRecord,
    DatasetRecord,
    GitRecord,
    HardwareRecord,
    RunRecord,
    RunStatus,
    write_run,
)
from sapiens_bench.store.rows import read_rows
from sapiens_bench.store.throughput import carried_timings
from sapiens_bench.types import Adapter, Materialised

MAX_ERRORS = 0.01
Watcher = Callable[[Event], None]


class Terminated(Interrupted):
    """SIGTERM arrived."""

    exit_code: ClassVar[int] = 143


def run(plan: Plan, on_event: Watcher = ignore) -> RunRecord:
    """Do what is missing of the plan, then score everything that is on disk, and write run.json.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; what is committed stays and the same call resumes.
        StorageFull, MachineFault: no room, no memory; likewise.
        TooManyErrors: all done and written, but a cell has more error rows than allowed.
        IncompleteRun: planned and found rows differ.
        FingerprintMismatch: the folder belongs to another experiment.
        WeightsMissing, LabelSpaceMismatch ...: nothing at all could run.
    """
    if not plan.cells:
        for text in why_nothing(plan.unavailable):
            on_event(Note(text))
        raise plan.first_error or IncompleteRun("The request names nothing that can run.")
    return _Run(plan, on_event).complete()


class _Run:
    """The state of one run: its record, and the model that is loaded."""

    def __init__(self, plan: Plan, on_event: Watcher) -> None:
        self.plan, self.how, self.on_event = plan, plan.how, on_event
        has_networks = not all(spec.model.is_results for spec in plan.cells)  # else torch need not be loaded
        self.before = complete_before(plan) if has_networks else None
        if self.before is not None:
            device, batch_size = self.before.device, self.before.batch_size
        else:
            is_local = plan.how.engine == "local"  # else the workers tell what they have
            device, batch_size = self._find_device() if has_networks and is_local else "cpu", None
        self.setting = Setting.of(self.how, device, division(plan.how.threads, plan.how.loaders), batch_size)
        prepare_process(plan.how.threads)
        keep_freed_memory()
        self.records = {(c.cell.dataset, c.cell.model): c.record.model_copy(deep=True) for c in plan.cells}
        self.records |= {(record.dataset, record.model): record for record in plan.unavailable}
        self.record = _header(plan, self.setting)
        if self.before is not None:
            self.record.hardware = self.before.hardware
        metrics = {data.spec.id: data.open.task.metrics for data in plan.data}
        self.record.bind(plan.out, lambda cell: metrics[cell.dataset])
        self.materialised: set[str] = set()
        self.holder = self._holder()
        self.lost: list[tuple[CellSpec, str]] = []  # of shards that ended workers and have no rows: why
        self.first_error = plan.first_error
        self.previous: RunRecord | None = None  # what run.json said before this run
        self.kept: KeptScores | None = None

    def complete(self) -> RunRecord:
        """Rows, scores, record; every way out of an opened folder leaves a run.json that tells the truth."""
        self.plan.check_disk()
        claims = [CellClaim(c.cell.folder, c.fields, c.cell.shard_size) for c in self.plan.cells]
        with signals_raise():
            try:
                places = Places.of(self.how) if self.before is None else Places()
                with joined_early(places) as note, open_run(self.plan.out, self.plan.identity, claims) as folder:
                    self._fill(folder, note)
                    return self._verdict()
            except KeyboardInterrupt as stop:
                kind = Terminated if isinstance(stop, Terminate) else Interrupted
                raise kind(
                    f"Stopped. Everything committed is kept in {self.plan.out}; the same command goes on from there."
                ) from None

    def _fill(self, folder: RunFolder, note: str) -> None:
        """All rows and scores of the plan."""
        self.previous, self.kept = folder.previous, KeptScores(self.plan.out)
        if folder.previous is not None:
            self.record.costs = folder.previous.costs  # of `profile` into this folder
        try:
            self._save("running")
            for text in self.plan.data_notes:
                self.on_event(Note(text))
            self._note(*self.plan.notes, *folder.notes, *([note] if note else []))
            if self.how.engine == "local":
                for spec in self.plan.cells:
                    self._cell(spec)
            else:
                self._spread()
            self._score()
            self._tell_lost()
        except KeyboardInterrupt:
            self._try_to_save("interrupted")
            raise
        except Exception as error:  # ours or not: the record must not say "running" for ever
            fault = self._machine_fault(error)
            self._try_to_save("incomplete" if fault is not None else "failed")
            if fault is None or fault is error:
                raise
            raise fault from error

    def _machine_fault(self, error: Exception) -> BaseException | None:
        """What to say when this machine, and no image, is at fault."""
        fault = machine_fault(error)
        if fault is None or isinstance(fault, SapiensBenchError):  # ours say what to do themselves
            return fault
        reason = " ".join(str(getattr(fault, "strerror", "") or str(fault) or type(fault).__name__).split())[:300]
        return MachineFault(
            f"This machine is at fault, no image: {reason}. Nothing of the shard in work was kept; what is committed "
            f"stays in {self.plan.out}, and the same command goes on from there."
        )

    def _cell(self, spec: CellSpec) -> None:
        """Bring one cell's rows to completion, or mark it refused; a broken model never stops the others."""
        todo = self._begin(spec)
        self.on_event(CellStarted(spec.cell, spec.title, todo.n_done))
        if todo.missing and self.before is not None:  # a shard was damaged, or its files changed
            self._set_out_anew(self._find_device())
            todo = todo._replace(job=job_of(spec, self.plan.out, self.setting, todo.data.open.adapter))
        if todo.missing or spec.model.is_results:  # results are read again for their notes
            self._materialise(todo.data)
            try:
                adapter, model = self.holder.ready(spec, todo.data.open)
            except SapiensBenchError as error:
                raise_if_machine(error)  # a model is not refused because memory ran out while it was loaded
                self.refuse(spec, error)
                return
            loop = run_results if spec.model.is_results and not needs_pictures(model) else run_cell
            task = todo.data.open.task
            self.record_of(spec).timing, notes = loop(todo.job, adapter, model, task, self.on_event, todo.missing)
            self.note_once(*notes)
        self._end(todo)

    def _spread(self) -> None:
        """The same for all cells at once: their shards are given to workers elsewhere."""
        from sapiens_bench.engine.ray_cluster import cores_for, jobs_on, kept
        from sapiens_bench.engine.spread import spread

        how = self.how
        near = [spec for spec in self.plan.cells if spec.model.is_results]  # files that need no device
        for spec in near:
            self._cell(spec)
        todos = [self._begin(spec) for spec in self.plan.cells if spec not in near]
        if any(todo.missing for todo in todos):
            with kept(how.engine, how.address, cores_for(how.workers, how.threads)):
                with jobs_on(Places.of(how), self.note_once):
                    for todo in todos:
                        if todo.missing:
                            self._materialise(todo.data)
                self.lost = spread(todos, self)
        for todo in todos:
            if self.record_of(todo.spec).status != "refused":
                self._end(todo)

    def _begin(self, spec: CellSpec) -> Todo:
        """What is on disk of a cell, and what is not."""
        data = self.plan.opened(spec)
        job = job_of(spec, self.plan.out, self.setting, data.open.adapter)
        missing, notes = job.missing_shards(data.open.adapter, data.open.task)
        self._note(*notes)
        return Todo(spec, data, job, [shard for shard in missing if self.how.is_mine(shard.number)])

    def _end(self, todo: Todo) -> None:
        """Counts of a cell whose rows are as complete as they will be."""
        self._count(todo.spec, todo.data)
        self.on_event(CellFinished(self.record_of(todo.spec)))

    def refuse(self, spec: CellSpec, error: SapiensBenchError) -> None:
        """A cell that cannot be filled."""
        self.first_error = first_reason(self.first_error, error)
        self.record_of(spec).refuse(error)
        self.on_event(CellFinished(self.record_of(spec)))

    def _set_out_anew(self, device: str) -> None:
        """The rows of an earlier run are not all there is: compute, on this device."""
        self.before = None
        self.setting = Setting.of(self.how, device, self.setting.threads, self.setting.batch_size)
        self.holder = self._holder()
        self.record.hardware = HardwareRecord.model_validate(provenance.hardware(device))

    def _holder(self) -> ModelHolder:
        n_kept = 8 * (self.setting.threads.loaders + self.setting.batch_size)
        return ModelHolder(self.setting.device, n_kept, [c.data.id for c in self.plan.cells], self._note)

    def _count(self, spec: CellSpec, data: FoundData) -> None:
        """Counts, examples and scores: those of an earlier run, or without intervals, from the rows."""
        record, cell, task = self.record_of(spec), spec.cell, data.open.task
        assert self.kept is not None
        if not self.kept.fill(record, cell, cell_key(self.plan.out, cell, task).key):
            wanted = scores.scored_columns(task.metrics, tells=True)
            scores.tell(record, read_rows(self.plan.out / "rows" / cell.folder, wanted), task)
        record.status = "done" if record.counts.done == record.counts.planned else "incomplete"

    def _score(self) -> None:
        """Scores with intervals, over the samples that are sound for every model of the data set."""
        assert self.kept is not None
        for data in self.plan.data:
            ran = [c for c in self.plan.cells if c.data is data.spec and self.record_of(c).status != "refused"]
            made_of = [cell_key(self.plan.out, c.cell, data.open.task) for c in ran]
            key = set_key(made_of, self.how.n_boot, self.how.seed)
            facts = self.kept.of_set(data.spec.id, key)
            if facts is None:
                facts = self._score_rows(data, ran)
                self.kept.keep(data.spec.id, key, facts, zip(made_of, map(self.record_of, ran), strict=True))
            about = self.record.datasets[data.spec.id]
            about.n_excluded, about.n_scored = facts.n_excluded, data.facts.n_samples - facts.n_excluded
            about.sees, about.sees_between = facts.sees, facts.sees_between

    def _score_rows(self, data: FoundData, ran: list[CellSpec]) -> SetFacts:
        """Score the cells of one data set, over the same images."""
        task, how = data.open.task, self.how
        rows = [read_rows(self.plan.out / "rows" / c.cell.folder, scores.scored_columns(task.metrics)) for c in ran]
        left_out, found = scores.score_together(rows, task, how.n_boot, how.seed)
        for spec, each in zip(ran, found, strict=True):
            self.record_of(spec).scores = each
        if not how.n_boot:
            return SetFacts(len(left_out))
        rivals = [
            (spec.cell.model, table, each[task.headline].value)
            for spec, table, each in zip(ran, rows, found, strict=True)
            if spec.model.entry.card.kind == "network"
        ]
        seen = scores.smallest_difference(rivals, task, scores.Draws(how.n_boot, how.seed), left_out)
        return SetFacts(len(left_out), *seen)

    def _tell_lost(self) -> None:
        """Shards without even error rows: why they are missing."""
        for spec, why in self.lost:
            self.record_of(spec).causes.append(Cause(kind="WorkerDied", side="run", detail=why))

    def _find_device(self) -> str:
        """The device that was asked for; loads torch."""
        found = {spec.model.precision for spec in self.plan.cells}  # of several, rows are refused by ``build_model``
        return use_full_fp32(resolve_device(self.plan.how.device, found.pop() if len(found) == 1 else "fp32"))

    def _verdict(self) -> RunRecord:
        """Write the final record, then complain if there is reason to."""
        cells = [self.record_of(c) for c in self.plan.cells]
        ran = [c for c in cells if c.status in ("done", "incomplete")]
        short = [c for c in ran if c.status == "incomplete"]
        self._save("incomplete" if short else "done" if ran else "failed")
        if not ran and self.first_error is not None:
            raise self.first_error
        if self.how.part is not None and self.how.part[1]:
            return self.record  # the rest is somebody else's
        if short:
            missing = "; ".join(f"{c.model} on {c.dataset}: {c.counts.done} of {c.counts.planned}" for c in short)
            raise IncompleteRun(f"INCOMPLETE: rows are missing ({missing}). Run the same command again.")
        allowed = MAX_ERRORS if self.how.max_errors is None else self.how.max_errors
        bad = [c for c in ran if failed(c, strictly=allowed == 0) > allowed * c.counts.planned]
        if bad:
            raise TooManyErrors(f"{complaint(bad)} At most {allowed:.1%} is allowed (--max-errors). {self.plan.out}")
        return self.record

    def _materialise(self, data: FoundData) -> None:
        adapter = data.open.adapter
        if data.spec.id in self.materialised or not isinstance(adapter, Materialised):
            return

        def progress(done: int, total: int) -> None:
            self.on_event(DataProgress(data.spec.id, done, total))

        self.materialised.add(data.spec.id)
        adapter.materialise(range(data.facts.n_samples), self.setting.threads.cores, progress)

    def record_of(self, spec: CellSpec) -> CellRecord:
        return self.records[spec.cell.dataset, spec.cell.model]

    def _note(self, *texts: str) -> None:
        for text in texts:
            self.record.notes.append(text)
            self.on_event(Note(text))

    def note_once(self, *texts: str) -> None:
        """Notes that several cells, or several workers, have."""
        self._note(*(text for text in dict.fromkeys(texts) if text not in self.record.notes))

    def _save(self, status: RunStatus) -> None:
        self.record.status = status
        self.record.finished = "" if status == "running" else provenance.now()
        self.record.cells = carried_timings(self.previous, self.record, [self.records[k] for k in self.plan.order])
        write_run(self.plan.out, self.record)

    def _try_to_save(self, status: RunStatus) -> None:
        with suppress(SapiensBenchError):  # the disk may be full: that is what is being reported
            self._save(status)


def _header(plan: Plan, setting: Setting) -> RunRecord:
    """The record before any result."""
    device, batch_size, threads = setting.device, setting.batch_size, setting.threads
    return RunRecord(
        status="running",
        task=plan.task,
        command=plan.how.command,
        version=__version__,
        started=provenance.now(),
        git=GitRecord.model_validate(provenance.git_state()),
        packages=provenance.packages(),
        hardware=HardwareRecord.model_validate(provenance.hardware(device)),
        request={**plan.asked, "device": device, "batch_size": batch_size, **asdict(threads)},
        cards=plan.cards,
        datasets={data.spec.id: _about(data, plan.asked) for data in plan.data},
        seeds={"bootstrap": plan.how.seed, "models": plan.how.seed},
    )


def _about(data: FoundData, asked: Mapping[str, Any]) -> DatasetRecord:
    spec = data.spec
    known = spec.card.protocols.get(spec.protocol_name)
    unsaid = set(asked["data_options"]) - set(known.options if known else ())  # by the protocol
    return DatasetRecord(
        title=spec.card.title,
        licence=spec.card.licence.name,
        n_images=data.facts.n_samples,
        manifest_sha256=data.facts.manifest_sha256,
        protocol=spec.protocol_name,
        protocol_title=spec.protocol.title,
        caveat=spec.protocol.caveat,
        boxes=asked["boxes"] or str(spec.protocol.options.get("boxes", "")),
        about_files=sorted(unsaid & declared.adapter_options(spec.card, spec.path).about_files),
        **_about_files(data),
    )


def _about_files(data: FoundData) -> dict[str, Any]:
    """What the adapter says about its files; of person boxes source, hash and quality against the people scored."""
    adapter = data.open.adapter
    facts: dict[str, Any] = {}
    for name, key in (("boxes", "boxes_source"), ("boxes_sha256", "boxes_sha256")):
        if value := getattr(adapter, name, None):
            facts[key] = str(value)
    facts |= {name: _texts(adapter, name) for name in ("notes", "boxes_notes")}
    measure = getattr(adapter, "box_quality", None)
    quality = None if measure is None else measure(range(data.facts.n_samples))
    if quality is not None:
        facts["box_quality"] = asdict(quality)
    return facts


def _texts(adapter: Adapter, name: str) -> list[str]:
    value = getattr(adapter, name, None) or ()
    return [value] if isinstance(value, str) else [str(text) for text in value]
