"""THE LOOP. A cell is cut into shards, a shard into batches, a batch into images; each image leaves one row.

adapter[i] -> prepare (loader.py) -> forward (forward.py) -> finish -> remap -> check -> measure (measure.py) -> row ->
commit. Metrics that can measure the images of a shard together, in one pass over all of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.engine.forward import Done, Forward
from sapiens_bench.engine.loader import Loaded, Loader, model_fault, pack
from sapiens_bench.engine.measure import Measured, is_together, measure_all
from sapiens_bench.engine.retry import worth_another_try
from sapiens_bench.engine.stopping import end, pool_of, result_of
from sapiens_bench.engine.streams import Arrays
from sapiens_bench.engine.threads import Threads, prompt_launches
from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.predictions import prediction_row
from sapiens_bench.store.rows import ATTRIBUTE, Row, Shard, commit_shard, item_key, remove_shard, shards_of
from sapiens_bench.store.stock import Expected, take_stock
from sapiens_bench.tasks.maps import map_name
from sapiens_bench.types import Adapter, Cell, Model, Sample, Task


class Scored(NamedTuple):
    """What is left of one image."""

    row: Row
    columns: dict[str, NDArray[Any]] | None  # the prediction, where the task keeps it
    finish_s: float
    measure_s: float


class Finished(NamedTuple):
    """An image that is to be measured together with others."""

    row: Row
    target: Any
    prediction: Any
    fault: SampleFault | None
    finish_s: float


@dataclass(slots=True)
class Stage:
    """All that a shard passes through."""

    loader: Loader
    forward: Forward
    finish: Callable[[Loaded, Arrays | SampleFault], Scored | Finished]
    measure: Callable[[Sequence[Scored | Finished]], list[Scored]]  # those that are only finished, together
    pool: Executor  # finish, and measure one by one, while the device works on the next batch
    budget: int  # crops per batch
    backlog: int  # images that may wait for finish


def run_shards(
    shards: Iterable[Shard],
    stage: Stage,
    on_batch: Callable[[int], None] = lambda n_images: None,
    *,
    is_prompt: bool = False,
) -> Generator[tuple[Shard, list[Scored]], None, None]:
    """Every shard with one result per sample, in index order.

    A batch never holds images of two shards, so rows do not depend on where a run was stopped before. A shard is waited
    for when the first batch of the next one is with the scorers, too: they and the loaders have work while it is
    committed. Where the device takes batches ahead (``Forward.depth``) it works on the next shard meanwhile. A machine
    that fails there does not take the shard before along.

    Args:
        is_prompt: no shard waits for the next one: whoever gives them gives another when one is through.
    """
    waiting: deque[_Open] = deque()
    ended: deque[_Open] = deque()  # all of whose images are with the scorers

    def scored() -> Iterator[tuple[Shard, list[Scored]]]:
        while ended:
            shard, finished = ended.popleft()
            yield shard, stage.measure([result_of(future) for future in finished])

    def landed(batches: Iterable[Done]) -> Iterator[tuple[Shard, list[Scored]]]:
        for batch in batches:
            shard, finished = waiting[0]
            for item, outputs in batch:
                finished.append(stage.pool.submit(stage.finish, item, outputs))  # finish, remap, check
                if len(finished) > stage.backlog:
                    result_of(finished[-stage.backlog])
            yield from scored()
            on_batch(len(batch))
            if len(finished) == len(shard.indices):
                ended.append(waiting.popleft())
                if is_prompt:
                    yield from scored()

    try:
        for shard in shards:
            waiting.append(_Open(shard, []))
            for batch in pack(stage.loader.take(len(shard.indices)), stage.budget):  # adapter[i], prepare
                yield from landed(stage.forward.push(batch))  # the only device work
        yield from landed(stage.forward.flush())
    except Exception:  # the machine failed in a later shard
        yield from scored()
        raise
    yield from scored()


class _Open(NamedTuple):
    """A shard, some of whose images are on their way."""

    shard: Shard
    finished: list[Future[Scored | Finished]]


@dataclass(frozen=True, slots=True)
class CellJob:
    """Where a cell lives and how it is cut."""

    cell: Cell
    out: Path
    batch_size: int
    threads: Threads
    device: str
    save_preds: bool
    prefetch: int | None = None  # batches queued on the device ahead of the one that is waited for; see ``Forward``
    save_maps: bool = False  # keep dense predictions as PNG files below maps/
    index_K: NDArray[np.int64] | None = None  # the model's set -> the protocol's; None: nothing to map
    identity: Callable[[int], str] | None = None  # of the files behind a sample; None: the data set cannot tell

    @property
    def folder(self) -> Path:
        """Folder of the cell's row shards."""
        return self.out / "rows" / self.cell.folder

    def missing_shards(self, adapter: Adapter, task: Task) -> tuple[list[Shard], list[str]]:
        """Shards to be computed, and notes on those that were on disk and did not count.

        Raises:
            StorageFull: a damaged shard could not be set aside.
        """
        shards = shards_of(self.cell.n_samples, self.cell.shard_size)
        expected = {s.number: Expected(len(s.indices), self.item_key(s, adapter.keys)) for s in shards}
        keeps = self.save_preds and task.to_columns is not None
        done, notes = take_stock(self.out, self.cell.folder, expected, keeps)
        if self.save_maps:  # rows of an earlier run without maps do not count
            done = {number: commit for number, commit in done.items() if self._maps_note(number).is_file()}
        again = worth_another_try(self.out, self.cell.folder, done, adapter)
        if again:
            notes.append(f"{self.cell.folder}: {len(again)} shard(s) with error rows are tried again.")
        return [shard for shard in shards if shard.number not in done or shard.number in again], notes

    def commit(self, shard: Shard, key: str, scored: Sequence[Scored]) -> None:
        """Predictions first: once the rows are there, the shard counts as done."""
        meta = {"fingerprint": self.cell.fingerprint, "item_key": key}
        kept = [prediction_row(s.row["index"], s.row["key"], s.columns) for s in scored if s.columns is not None]
        preds = self.out / "preds" / self.cell.folder
        if kept:
            commit_shard(preds, shard.number, kept, meta)
        else:
            remove_shard(preds, shard.number)  # of rows that are replaced now
        if self.save_maps:
            write_atomic(self._maps_note(shard.number), f"{self.cell.fingerprint}\n".encode())
        n_kept = len(kept) if self.save_preds else None
        commit_shard(self.folder, shard.number, [s.row for s in scored], meta, n_kept)

    def item_key(self, shard: Shard, keys: Sequence[str]) -> str:
        """What the shard must be made of: experiment, samples and, where the data set can tell, their files."""
        identities = [_identity(self.identity, i) for i in shard.indices] if self.identity else ()
        return item_key(self.cell.fingerprint, [keys[i] for i in shard.indices], identities)

    def keep_map(self, sample: Sample, prediction: Any, task: Task) -> None:
        """Write one prediction below ``maps/``."""
        assert task.kind.codec is not None  # the plan refuses --save-maps otherwise
        data = task.kind.codec.encode(prediction, sample.target, task.names)
        write_atomic(self.out / "maps" / self.cell.folder / map_name(sample.key), data)

    def _maps_note(self, number: int) -> Path:
        """The file that says that all maps of a shard are there."""
        return self.out / "maps" / self.cell.folder / f".shard-{number:05d}"


@contextmanager
def staged(job: CellJob, adapter: Adapter, model: Model, task: Task, indices: Iterable[int]) -> Iterator[Stage]:
    """The stage for these samples; on Ctrl-C its threads drop what they have not begun."""
    keep = job.save_preds and task.to_columns is not None
    window = job.threads.loaders + job.batch_size
    loaders, is_alone = job.threads.loaders, job.device == "cpu" and job.threads.cores == 1
    pool = pool_of(job.threads.scorers, "sapiens-score", at_once=is_alone)
    forward = Forward(model, job.device, job.batch_size, job.threads.operators, job.prefetch)
    finished = False
    try:
        with (
            prompt_launches(job.device),
            Loader(adapter, model.prepare, indices, 0 if is_alone and loaders == 1 else loaders, window) as loader,
        ):

            def measure(images: Sequence[Scored | Finished]) -> list[Scored]:
                return measured(images, task, keep)

            def finish(item: Loaded, outputs: Arrays | SampleFault) -> Scored | Finished:
                image = finish_item(item, outputs, model, task, job)
                return image if is_together(task) else measure([image])[0]

            yield Stage(loader, forward, finish, measure, pool, job.batch_size, backlog=max(2, job.batch_size))
        finished = True
    finally:
        end(pool, wait=finished)
        forward.close()


def finish_item(
    item: Loaded, outputs: Arrays | SampleFault, model: Model, task: Task, job: CellJob
) -> Scored | Finished:
    """The image ready to be measured: of a prediction-side fault the miss. Input-side faults have no metric values."""
    sample, fault = item.sample, item.fault
    row: Row = {"index": item.index, "key": item.key, "group": item.group}
    if sample is None or (fault is not None and fault.side == "input"):
        return Scored(row | status_of(fault), None, 0.0, 0.0)
    began = time.perf_counter()
    prediction, fault = predict(sample, item, outputs, model, task, job.index_K)
    finish_s = time.perf_counter() - began
    if fault is not None and fault.side == "input":
        return Scored(row | status_of(fault), None, finish_s, 0.0)
    if job.save_maps:
        job.keep_map(sample, prediction, task)
    row |= {f"{ATTRIBUTE}{name}": value for name, value in sample.about.items()}
    if task.attributes is not None:
        row |= {f"{ATTRIBUTE}{name}": float(value) for name, value in task.attributes(sample.target).items()}
    return Finished(row, sample.target, prediction, fault, finish_s)


def measured(images: Sequence[Scored | Finished], task: Task, keep: bool) -> list[Scored]:
    """The rows of all images, in order; those that wait for it are measured together.

    Args:
        keep: predictions that were measured are kept, so that they can be scored again.
    """
    waiting = [image for image in images if isinstance(image, Finished)]
    if not waiting:
        return [image for image in images if isinstance(image, Scored)]
    began = time.perf_counter()
    _, targets, predictions, faults, _ = zip(*waiting, strict=True)
    found = iter(measure_all(task, targets, predictions, faults))
    measure_s = (time.perf_counter() - began) / len(waiting)
    return [x if isinstance(x, Scored) else _scored(x, next(found), measure_s, task, keep) for x in images]


def _scored(image: Finished, found: Measured, measure_s: float, task: Task, keep: bool) -> Scored:
    is_kept = keep and (found.fault is None or found.fault.side == "prediction")
    columns = task.to_columns(image.prediction) if is_kept and task.to_columns is not None else None
    return Scored(image.row | found.values | status_of(found.fault), columns, image.finish_s, measure_s)


def predict(
    sample: Sample,
    item: Loaded,
    outputs: Arrays | SampleFault,
    model: Model,
    task: Task,
    index_K: NDArray[np.int64] | None,
) -> tuple[Any, SampleFault | None]:
    """The prediction that may be measured, and what was wrong with it."""
    if isinstance(outputs, SampleFault):
        return task.miss(sample.target), outputs
    assert item.prepared is not None
    try:
        prediction = model.finish(outputs, item.prepared.geometry)
    except Exception as error:  # any model may raise anything
        raise_if_machine(error)
        return task.miss(sample.target), model_fault(error)
    try:
        if index_K is not None and task.remap is not None:
            prediction = task.remap(prediction, index_K)
        return task.check(prediction, sample.input, sample.target)
    except Exception as error:  # not even the shape could be looked at
        raise_if_machine(error)
        fault = model_fault(error)
        code = fault.code if isinstance(error, SampleFault) else "pred.shape"
        return task.miss(sample.target), SampleFault(code, fault.detail, side="prediction")


def _identity(identity: Callable[[int], str], index: int) -> str:
    """ "" where the files cannot be looked at: that they are missing is told by the row."""
    try:
        return identity(index)
    except OSError as error:
        raise_if_machine(error)
        return ""


def status_of(fault: SampleFault | None) -> Row:
    """The columns that say how it went."""
    return {
        "status": "ok" if fault is None else "error",
        "error_code": fault.code if fault else "",
        "error_detail": fault.detail if fault else "",
        "error_side": fault.side if fault else "",
    }
