"""Reading and preparing images in threads, ahead of the device, with a bounded number of them in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from sapiens_bench.engine.samples import freeze
from sapiens_bench.engine.stopping import end, pool_of, result_of
from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.types import Adapter, ModelInput, Prepared, Sample

Prepare = Callable[[ModelInput], Prepared]


@dataclass(slots=True)
class Loaded:
    """One image on its way: a sample that is prepared, or the fault that stopped it."""

    index: int
    key: str
    group: str
    sample: Sample | None = None
    prepared: Prepared | None = None
    fault: SampleFault | None = None
    seconds: float = 0.0  # spent in adapter[i] and prepare, by one worker

    @property
    def n_crops(self) -> int:
        """Rows this image adds to a batch."""
        if self.prepared is None or not self.prepared.tensors:
            return 0
        return int(next(iter(self.prepared.tensors.values())).shape[0])


def model_fault(error: Exception) -> SampleFault:
    """Whatever a model raised, as a prediction-side fault: a model cannot take an image out of the score."""
    if isinstance(error, SampleFault):
        return SampleFault(error.code, error.detail, side="prediction")
    return SampleFault("model.exception", f"{type(error).__name__}: {error}", side="prediction")


def load(adapter: Adapter, prepare: Prepare, index: int) -> Loaded:
    """``adapter[index]``, then ``prepare``; raises nothing but this machine's own faults.

    The arrays of the sample are read-only for every model alike: the sample may be shared with the next model, and a
    score must not depend on which other models run.
    """
    began = time.perf_counter()
    item = Loaded(index, str(adapter.keys[index]), str(adapter.groups[index]))
    try:
        item.sample = adapter[index]
        freeze(item.sample)
    except SampleFault as fault:
        raise_if_machine(fault)  # a reader may have wrapped one
        item.fault = fault
    except Exception as error:  # whatever the data did, its row says so
        raise_if_machine(error)
        item.fault = SampleFault("input.exception", f"{type(error).__name__}: {error}", side="input")
    else:
        try:
            item.prepared = _checked(prepare(item.sample.input))
        except Exception as error:
            raise_if_machine(error)
            item.fault = model_fault(error)
    item.seconds = time.perf_counter() - began
    return item


def _checked(prepared: Prepared) -> Prepared:
    lengths = {name: len(array) for name, array in prepared.tensors.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"prepare gave arrays of different lengths: {lengths}")
    return prepared


class Loader:
    """A stream of loaded images in the order asked for.

    Threads suffice: decoding and warping release the interpreter lock. At most ``window`` images are in memory. Where
    ``indices`` has no next one it is asked again when the next image is taken: more may have been added.

    Args:
        workers: threads that load; 0: images are loaded by whoever takes them.
    """

    def __init__(self, adapter: Adapter, prepare: Prepare, indices: Iterable[int], workers: int, window: int) -> None:
        self._pool = pool_of(workers, "sapiens-load", at_once=workers == 0)
        self._stream = self._run(adapter, prepare, indices, max(1, window))
        self.wait_s = 0.0  # time the consumer waited
        self.prepare_s = 0.0  # time the workers worked

    def _run(self, adapter: Adapter, prepare: Prepare, indices: Iterable[int], window: int) -> Iterator[Loaded]:
        pending: deque[Future[Loaded]] = deque()
        source = iter(indices)
        while True:
            while len(pending) < window and (index := next(source, None)) is not None:
                pending.append(self._pool.submit(load, adapter, prepare, index))
            if not pending:
                return
            yield result_of(pending.popleft())

    def take(self, n: int) -> Iterator[Loaded]:
        """The next ``n`` images. Reading ahead goes on past them, so that a new shard does not start cold."""
        stream = islice(self._stream, n)
        while True:
            began = time.perf_counter()
            item = next(stream, None)
            self.wait_s += time.perf_counter() - began
            if item is None:
                return
            self.prepare_s += item.seconds
            yield item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After Ctrl-C nobody waits for images that nobody will score.
        end(self._pool, wait=kind is None)


def pack(items: Iterable[Loaded], budget: int) -> Iterator[Sequence[Loaded]]:
    """Consecutive images whose crops fill a budget. The cut depends on the images and the budget alone.

    An image without crops counts as one, so that memory stays bounded; an image with more crops than the budget is a
    batch of its own.
    """
    batch: list[Loaded] = []
    filled = 0
    for item in items:
        cost = max(1, item.n_crops)
        if batch and filled + cost > budget:
            yield batch
            batch, filled = [], 0
        batch.append(item)
        filled += cost
    if batch:
        yield batch
