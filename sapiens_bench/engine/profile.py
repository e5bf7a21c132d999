"""A profile request becomes rows: counts here, every measurement in a fresh child process."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sapiens_bench import __version__
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine import own_heads, provenance
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.profile_build import (
    Chosen,
    child_arguments,
    choose,
    count_entry,
    paper_record,
    parts_of,
    resized,
    why_not,
)
from sapiens_bench.engine.profile_request import ProfileRequest
from sapiens_bench.errors import DeviceError, Interrupted, SapiensBenchError, StorageFull, UsageError, WeightsMissing
from sapiens_bench.profiling import roofline
from sapiens_bench.profiling.machine import available_bytes
from sapiens_bench.profiling.parent import Answer, ask
from sapiens_bench.profiling.record import (
    CeilingRecord,
    CountRecord,
    MemoryRecord,
    ProfileRecord,
    ProfileRow,
    write_profile,
)
from sapiens_bench.store.lock import locked
from sapiens_bench.store.record import RunRecord, read_run, write_run

_BUILDER = "sapiens_bench.engine.profile_build:build_in_child"
_PROCESS_BYTES = 700 << 20  # interpreter, torch and its libraries
_NOISY = 0.10  # interquartile range over median from which a row says so


@dataclass(frozen=True, slots=True)
class RowStarted:
    """A measurement begins. ``least_s`` is the floor of one batch on this device; NaN when unknown."""

    number: int
    total: int
    model: str
    precision: str
    batch: int
    least_s: float


@dataclass(frozen=True, slots=True)
class RowFinished:
    row: ProfileRow


@dataclass(frozen=True, slots=True)
class ProfileNote:
    text: str


ProfileEvent = RowStarted | RowFinished | ProfileNote
ProfileWatcher = Callable[[ProfileEvent], None]


def ignore(event: ProfileEvent) -> None:
    """The watcher that looks away."""


def run_profile(request: ProfileRequest, catalog: Catalog, on_event: ProfileWatcher = ignore) -> ProfileRecord:
    """Count and, unless only counts are wanted, time every combination of the request.

    A model that cannot be counted or that fails in its child becomes a row that says so; the others go on. With
    ``request.out`` the record is written after every row.

    Raises:
        UnknownName, UsageError: the request names nothing that exists, or an option that none of the models has.
        CardError: an option's value is wrong.
        DeviceError: the device does not exist here.
        FolderInUse: a run works in the folder ``request.out``.
        Interrupted: Ctrl-C; rows that were finished are kept.
    """
    return _Profile(request, catalog, on_event).complete()


@dataclass(slots=True)
class _Job:
    """One combination, with what is known before it runs."""

    chosen: Chosen
    precision: str
    batch: int
    counts: CountRecord | None
    notes: tuple[str, ...]
    rounds: list[ProfileRow] = field(default_factory=list)


class _Profile:
    def __init__(self, request: ProfileRequest, catalog: Catalog, on_event: ProfileWatcher) -> None:
        self.request, self.catalog, self.on_event = request, catalog, on_event
        own_heads.add_heads(parts_of(request.models), request.task, request.weights_root, catalog)
        self.chosen, notes = choose(catalog, request.models, request.task, request.options)
        self.device = "meta" if request.counts_only else resolve_device(request.device)
        self.known = roofline.known_ceilings()
        self.record = ProfileRecord(
            command=request.command,
            version=__version__,
            started=provenance.now(),
            git=provenance.git_state(),
            packages=provenance.packages(),
            hardware=provenance.hardware(self.device),
            request=request.as_json(),
            ceilings=dict(self.known),
            notes=notes,
        )

    def complete(self) -> ProfileRecord:
        # A run that works in the same folder would write its own record over this one.
        with locked(self.request.out) if self.request.out else nullcontext():
            return self._complete()

    def _complete(self) -> ProfileRecord:
        for note in self.record.notes:
            self.on_event(ProfileNote(note))
        try:
            jobs = self._counted()
            if jobs:
                self._timed(jobs)
        except KeyboardInterrupt:
            with suppress(StorageFull):
                self._save()
            where = f" Finished rows are in {self.request.out}." if self.request.out else ""
            raise Interrupted(f"Stopped.{where}") from None
        self._save()
        return self.record

    def _save(self) -> None:
        self.record.finished = provenance.now()
        if self.request.out is not None:
            write_profile(self.request.out, self.record)
            self._share(self.request.out)

    def _share(self, folder: Path) -> None:
        """The rows go into run.json, too: that of an evaluation in the same folder, or a new one."""
        if (folder / "run.json").is_file():
            run = read_run(folder)
        else:
            names = ("command", "version", "started", "finished", "git", "packages", "hardware", "request")
            facts = {name: getattr(self.record, name) for name in names}
            run = RunRecord(status="done", task=self.request.task or "profile", **facts)
        run.costs = [row.model_dump(mode="json") for row in self.record.rows]
        write_run(folder, run)

    def _add(self, row: ProfileRow) -> None:
        self.record.rows.append(row)
        self.on_event(RowFinished(row))

    # counts

    def _counted(self) -> list[_Job]:
        """Rows that end here are added to the record; the others are returned as jobs."""
        jobs: list[_Job] = []
        for original in self.chosen:
            try:
                chosen = resized(original, self.request.input_hw)
            except UsageError as error:
                self._add(self._row(original, "refused", how=str(error)))
                continue
            jobs += self._count_one(chosen)
        return jobs

    def _count_one(self, chosen: Chosen) -> list[_Job]:
        request = self.request
        if why := why_not(chosen.candidate):
            self._add(self._row(chosen, "unavailable", how=why))
            return []
        counts, notes = None, []
        try:
            counts = count_entry(chosen, request.weights_root)
        except WeightsMissing as error:
            self._add(self._row(chosen, "unavailable", how=str(error)))
            return []
        except SapiensBenchError as error:
            if request.counts_only or isinstance(error, UsageError):
                self._add(self._row(chosen, "refused", how=str(error)))
                return []
            notes.append(f"Not counted: {error}")
        except Exception as error:  # a network may fail in any way while it is counted
            notes.append(f"Not counted: {type(error).__name__}: {str(error)[:200]}")
        if request.counts_only:
            status = "counted" if counts else "failed"
            row = self._row(chosen, status, counts=counts, how=" ".join(notes))
            if counts:
                row.floors = roofline.floors(counts, row.precision, 1, self.known)
            self._add(row)
            return []
        return [
            _Job(chosen, precision, batch, counts, tuple(notes))
            for precision in request.precisions
            for batch in request.batches
        ]

    def _row(self, chosen: Chosen, status: Any, **more: Any) -> ProfileRow:
        entry = chosen.entry
        known = {"precision": self.request.precisions[0], "device": self.device}
        return ProfileRow(
            model=chosen.id,
            title=chosen.title,
            family=entry.card.id,
            task=entry.card.task,
            kind=entry.card.kind,
            status=status,
            paper=paper_record(entry, self.catalog),
            **{**known, **more},
        )

    # measurements

    def _timed(self, jobs: list[_Job]) -> None:
        """All jobs, round after round, so that a slow minute of the machine does not hit one model alone."""
        number = 0
        here = self._ceilings_here({job.precision for job in jobs})
        for last in range(self.request.rounds):
            for job in jobs:
                number += 1
                row = self._one(job, here, number, len(jobs) * self.request.rounds)
                job.rounds.append(row)
                if last == self.request.rounds - 1:
                    self._add(_median_round(job.rounds))
                    self._save()

    def _ceilings_here(self, precisions: set[str]) -> dict[str, CeilingRecord]:
        """Measured rates of this device by precision; a precision it does not have is left out."""
        found: dict[str, CeilingRecord] = {}
        for precision in sorted(precisions):
            try:
                resolve_device(self.device, precision)
            except DeviceError:
                continue
            self.on_event(ProfileNote(f"Measuring what {self.device} can do in {precision}."))
            job = {
                "kind": "ceiling",
                "device": self.device,
                "precision": precision,
                "threads": self.request.threads,
            }
            answer = ask(job, self.request.timeout_s)
            if answer.result is None:
                self.record.notes.append(f"The ceiling of {self.device} in {precision} is unknown: {answer.message}")
                continue
            found[precision] = CeilingRecord.model_validate(answer.result)
        if found:
            together = {name: c.flops_per_s[name] for name, c in found.items()}
            first = next(iter(found.values()))
            fastest = max(c.bytes_per_s for c in found.values())
            self.record.ceilings[roofline.HERE] = first.model_copy(
                update={"flops_per_s": together, "bytes_per_s": fastest}
            )
        return found

    def _one(self, job: _Job, here: dict[str, CeilingRecord], number: int, total: int) -> ProfileRow:
        row = self._row(
            job.chosen, "failed", precision=job.precision, batch=job.batch, batch_asked=job.batch, counts=job.counts,
            is_compiled=self.request.compile, is_channels_last=self.request.channels_last, notes=list(job.notes),
        )  # fmt: skip
        try:
            resolve_device(self.device, job.precision)
        except DeviceError as error:
            row.status, row.how = "refused", str(error)
            return self._with_floors(row, here)
        self._with_floors(row, here)
        floor = row.floors.get(roofline.HERE)
        self.on_event(
            RowStarted(number, total, row.model, row.precision, row.batch, floor.seconds if floor else float("nan"))
        )
        while True:
            row.memory = self._predicted(job.counts, row.precision, row.batch)
            if too_big := _does_not_fit(row.memory, self.device):
                if row.batch > 1:
                    self._halve(row, too_big)
                    continue
                row.status, row.how = "refused", too_big
                break
            answer = self._ask(job.chosen, row)
            if answer.is_out_of_memory and row.batch > 1:
                self._halve(row, "memory ran out")
                continue
            self._fill(row, answer)
            break
        return self._with_floors(row, here)

    @staticmethod
    def _halve(row: ProfileRow, why: str) -> None:
        row.notes.append(f"Batch {row.batch}: {why.rstrip('.')}; batch {row.batch // 2} instead.")
        row.batch //= 2

    def _ask(self, chosen: Chosen, row: ProfileRow) -> Answer:
        request = self.request
        arguments = child_arguments(chosen, self.device, row.precision, request.weights_root, request.seed)
        job = {
            "kind": "profile",
            "build": _BUILDER,
            "arguments": arguments,
            "device": self.device,
            "batch": row.batch,
            "compile": request.compile,
            "channels_last": request.channels_last,
            "budget": asdict(request.budget),
            "threads": request.threads,
        }
        return ask(job, request.timeout_s)

    def _fill(self, row: ProfileRow, answer: Answer) -> None:
        if answer.result is None:
            row.status, row.how = "failed", answer.message
            return
        found = ProfileRow.model_validate({**row.model_dump(), **answer.result, "status": "done"})
        for name in ("status", "weights", "latency", "energy", "before", "after"):
            setattr(row, name, getattr(found, name))
        if row.memory and found.memory:
            known = {"predicted_bytes": row.memory.predicted_bytes, "available_bytes": row.memory.available_bytes}
            row.memory = found.memory.model_copy(update=known)
        row.notes += _remarks(row)

    def _predicted(self, counts: CountRecord | None, precision: str, batch: int) -> MemoryRecord:
        share = roofline.BYTES[precision] / 4
        need = 0 if self.device.startswith("cuda") else _PROCESS_BYTES
        if counts is not None:
            need += round(share * (counts.weight_bytes + batch * counts.peak_activation_bytes))
        return MemoryRecord(predicted_bytes=need, available_bytes=available_bytes(self.device))

    def _with_floors(self, row: ProfileRow, here: dict[str, CeilingRecord]) -> ProfileRow:
        if row.counts is None:
            return row
        ceilings = dict(self.known)
        if row.precision in here:
            ceilings[roofline.HERE] = here[row.precision]
        row.floors = roofline.floors(row.counts, row.precision, row.batch, ceilings)
        floor = row.floors.get(roofline.HERE)
        if floor and row.latency:
            row.percent_of_limit = 100 * floor.seconds / row.latency.stages.forward.p50
        return row


def _does_not_fit(memory: MemoryRecord, device: str) -> str:
    """Why it is not even tried; empty when it may fit."""
    if memory.available_bytes is None or memory.predicted_bytes <= memory.available_bytes:
        return ""
    return (
        f"it would need about {memory.predicted_bytes / 1e9:.1f} GB and {memory.available_bytes / 1e9:.1f} GB are free "
        f"on {device} (predicted, not tried). A smaller --batch or --input, or a shorter --precision, needs less."
    )


def _remarks(row: ProfileRow) -> list[str]:
    """What a reader must know about this measurement."""
    assert row.latency is not None
    remarks = []
    if row.weights == "random":
        remarks.append("The weights are not on this machine: timed with random ones.")
    noise = row.latency.stages.forward.noise
    if noise > _NOISY:
        load = row.before.load_1min if row.before else float("nan")
        remarks.append(
            f"Noisy: the middle half of the forward times spans {noise:.0%} of the median (load {load:.1f} on "
            f"{provenance.cores()} cores before it began)."
        )
    if not row.latency.is_stable:
        change = f"last change {row.latency.drift:.0%}" if math.isfinite(row.latency.drift) else "too slow to compare"
        remarks.append(
            f"The warm-up ended before times were seen to stand still ({change}, {row.latency.n_warmup} calls in "
            f"{row.latency.warmup_s:.0f} s)."
        )
    if row.after and row.after.throttle:
        remarks.append(f"The GPU was slowed down: {', '.join(row.after.throttle)}.")
    return remarks


def _median_round(rounds: list[ProfileRow]) -> ProfileRow:
    """The round with the middle median; how far the rounds lie apart is noted."""
    done = sorted(
        (row for row in rounds if row.latency), key=lambda r: r.latency.stages.forward.p50 if r.latency else 0
    )
    if not done:
        return rounds[-1]
    medians = [row.latency.stages.forward.p50 for row in done if row.latency]
    row = done[(len(done) - 1) // 2]
    if len(medians) > 1:
        row.notes.append(
            f"Median of {len(medians)} rounds; their medians differ by {medians[-1] / medians[0] - 1:.1%}."
        )
    return row
