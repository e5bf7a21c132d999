"""The device's part: the crops of several images in, each image's outputs out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from sapiens_bench.engine.loader import Loaded, model_fault
from sapiens_bench.engine.stopping import end, result_of
from sapiens_bench.engine.streams import Arrays, Flight, streams_of
from sapiens_bench.errors import MachineFault, SampleFault, out_of_memory, raise_if_machine
from sapiens_bench.types import Model

Done = list[tuple[Loaded, Arrays | SampleFault]]  # of one batch


class Forward:
    """Runs ``model.forward`` on packed crops under ``torch.inference_mode``.

    A batch that fails is run again image by image, so that only the image at fault is charged. Out of memory, on any
    device, halves the number of crops for the rest of the run; at one crop it ends the run, and no image is charged.
    On a CPU the crops of a model that says ``is_reentrant`` run beside each other, each with one operator thread:
    nothing waits for anything, and a busy machine stays usable.

    Args:
        depth: batches that may be queued on the device when the outputs of an earlier one are waited for. 0: each is
            read out before the next is given; 1: the device always has one to go on with. None: 1 on a GPU and for
            crops beside each other, where a thread that is through would wait for the others; else 0, for a batch that
            is computed at once gains nothing by outputs that stay in memory.
    """

    def __init__(self, model: Model, device: str, budget: int, operators: int = 1, depth: int | None = None) -> None:
        self.model, self.device, self.budget = model, device, budget
        is_parallel = device == "cpu" and operators > 1 and bool(getattr(model, "is_reentrant", False))
        self.depth = int(is_parallel or device.startswith("cuda")) if depth is None else depth
        self._pool = ThreadPoolExecutor(operators, "sapiens-crop", _one_operator_thread) if is_parallel else None
        self.streams = streams_of(device, getattr(model, "on_host", ()))
        self._in_flight: deque[tuple[Sequence[Loaded], list[_Group]]] = deque()
        self.seconds = 0.0  # spent in launching, and in waiting for outputs
        self.halved = 0  # how often memory ran out
        self._n_landed = 0

    def __call__(self, batch: Sequence[Loaded]) -> Iterator[tuple[Loaded, Arrays | SampleFault]]:
        """Each image of ``batch`` with its outputs (``{}`` for zero crops), or with its fault."""
        for done in (*self.push(batch), *self.flush()):
            yield from done

    @property
    def n_computed(self) -> int:
        """Images that were computed. What a GPU has queued counts: it tells only who waits for it."""
        queued = [group for _, groups in self._in_flight for group in groups]
        open_ = [g for g in queued if not isinstance(g.parts, SampleFault) and not all(p.is_landed for p in g.parts)]
        n_open = sum(len(group.items) for group in open_) if self._pool is not None else 0
        return self._n_landed + sum(len(batch) for batch, _ in self._in_flight) - n_open

    def push(self, batch: Sequence[Loaded]) -> Iterator[Done]:
        """Give a batch to the device; what comes back are earlier ones, in order, until ``depth`` are queued."""
        began = time.perf_counter()
        groups: list[_Group] = []
        self._in_flight.append((batch, groups))  # first: where memory runs out, all that is queued is waited for
        self._launch([item for item in batch if item.fault is None and item.n_crops > 0], groups)
        self.seconds += time.perf_counter() - began
        yield from self._landed(self.depth)

    def flush(self) -> Iterator[Done]:
        """All that is still queued."""
        yield from self._landed(0)

    def close(self) -> None:
        """End the threads and forget what is queued; what has not begun is dropped."""
        self._in_flight.clear()
        if self._pool is not None:
            end(self._pool, wait=True)

    def _landed(self, depth: int) -> Iterator[Done]:
        while len(self._in_flight) > depth:
            began = time.perf_counter()
            batch, groups = self._in_flight[0]
            outputs = {index: part for group in groups for index, part in self._outputs(group).items()}
            self._in_flight.popleft()
            self._n_landed += len(batch)
            self.seconds += time.perf_counter() - began
            yield [(item, item.fault or outputs.get(item.index, {})) for item in batch]

    def _launch(self, items: Sequence[Loaded], groups: list[_Group]) -> None:
        """Launch the images together where that goes well, and add to ``groups`` what they became."""
        if self._pool is not None:
            groups.extend(_Group([item], self._beside_each_other(item)) for item in items)
            return
        if not items:
            return
        try:
            packed = self.streams.packed([_tensors(item) for item in items])
            groups.append(_Group(items, self._chunks(packed, sum(item.n_crops for item in items))))
        except Exception as error:  # any model may raise anything
            raise_if_machine(error)
            self._refuse_lost_device(error)
            if len(items) == 1:
                groups.append(_Group(items, model_fault(error)))
                return
            for item in items:
                self._launch([item], groups)

    def _outputs(self, group: _Group) -> dict[int, Arrays | SampleFault]:
        """The outputs of every image of a group, waited for."""
        if isinstance(group.parts, SampleFault):
            return {item.index: group.parts for item in group.items}
        try:
            parts = [part.arrays() for part in group.parts]
        except Exception as error:  # of a thread; a CUDA device that fails now is lost
            raise_if_machine(error)
            self._refuse_lost_device(error)
            return {item.index: model_fault(error) for item in group.items}
        whole = parts[0] if len(parts) == 1 else {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
        ends = np.cumsum([item.n_crops for item in group.items])
        return {
            item.index: {name: array[end - item.n_crops : end] for name, array in whole.items()}
            for item, end in zip(group.items, ends, strict=True)
        }

    def _beside_each_other(self, item: Loaded) -> list[Flight]:
        assert self._pool is not None
        tensors = _tensors(item)
        crops = ({name: array[i : i + 1] for name, array in tensors.items()} for i in range(item.n_crops))
        return [_Thread(self._pool.submit(self._once, crop, 1)) for crop in crops]

    def _chunks(self, packed: Arrays, n: int) -> list[Flight]:
        parts: list[Flight] = []
        start = 0
        while start < n:
            stop = min(start + self.budget, n)
            try:
                parts.append(self._once({name: array[start:stop] for name, array in packed.items()}, stop - start))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if not self._settle(parts):  # what is queued holds memory, too: only then is the batch too large
                    if stop - start == 1:
                        raise
                    self.budget, self.halved = (stop - start) // 2, self.halved + 1
                _free_memory()
                continue
            start = stop
        return parts

    def _settle(self, parts: Sequence[Flight]) -> bool:
        """Wait for all that is queued, so that it leaves the device; False: nothing was."""
        groups = [group for _, groups in self._in_flight for group in groups]
        earlier = [part for group in groups if not isinstance(group.parts, SampleFault) for part in group.parts]
        waiting = [part for part in (*earlier, *parts) if not part.is_landed]
        for part in waiting:
            part.arrays()
        return bool(waiting)

    def _once(self, arrays: Arrays, n: int) -> Flight:
        import torch

        def network(tensors: dict[str, Any]) -> dict[str, Any]:
            outputs = self.model.forward(tensors)
            wrong = {name: tuple(t.shape) for name, t in outputs.items() if t.ndim == 0 or len(t) != n}
            if wrong:
                raise ValueError(f"forward was given {n} crops and returned {wrong}")
            return outputs

        with torch.inference_mode():
            return self.streams.launch(arrays, network)

    def _refuse_lost_device(self, error: Exception) -> None:
        """A CUDA device that has failed answers nothing any more: no image is to be charged for that.

        Raises:
            MachineFault: it has.
        """
        if not self.device.startswith("cuda"):
            return
        import torch

        try:
            torch.cuda.synchronize(self.device)
        except Exception as lost:
            raise MachineFault(
                f"The device {self.device} failed and computes nothing more in this process: {type(lost).__name__}: "
                f"{' '.join(str(lost).split())[:200]}. What is committed is kept; the same command goes on from there. "
                "CUDA_LAUNCH_BLOCKING=1 with --batch-size 1 --prefetch 0 shows where it happens."
            ) from error


class _Group(NamedTuple):
    """Images that were launched together, and what comes of them."""

    items: Sequence[Loaded]
    parts: Sequence[Flight] | SampleFault


class _Thread:
    """Outputs of a thread."""

    def __init__(self, future: Future[Flight]) -> None:
        self._future = future

    @property
    def is_landed(self) -> bool:
        """See ``Flight``."""
        return self._future.done()

    def arrays(self) -> Arrays:
        """See ``Flight``."""
        return result_of(self._future).arrays()


def _one_operator_thread() -> None:
    import torch

    torch.set_num_threads(1)  # of this thread alone


def _free_memory() -> None:
    import torch

    torch.cuda.empty_cache()


def _tensors(item: Loaded) -> Arrays:
    assert item.prepared is not None
    return item.prepared.tensors
