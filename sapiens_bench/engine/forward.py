"""The device's part: the crops of several images in, each image's outputs out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.engine.loader import Loaded, model_fault
from sapiens_bench.engine.stopping import end, result_of
from sapiens_bench.errors import SampleFault, out_of_memory, raise_if_machine
from sapiens_bench.types import Model

Arrays = dict[str, NDArray[Any]]


class Forward:
    """Runs ``model.forward`` on packed crops under ``torch.inference_mode``.

    A batch that fails is run again image by image, so that only the image at fault is charged. Out of memory, on any
    device, halves the number of crops for the rest of the run; at one crop it ends the run, and no image is charged.
    On a CPU the crops of a model that says ``is_reentrant`` run beside each other, each with one operator thread:
    nothing waits for anything, and a busy machine stays usable.
    """

    def __init__(self, model: Model, device: str, budget: int, operators: int = 1) -> None:
        self.model, self.device, self.budget = model, device, budget
        is_parallel = device == "cpu" and operators > 1 and bool(getattr(model, "is_reentrant", False))
        self._pool = ThreadPoolExecutor(operators, "sapiens-crop", _one_operator_thread) if is_parallel else None
        self.seconds = 0.0
        self.halved = 0  # how often memory ran out

    def __call__(self, batch: Sequence[Loaded]) -> Iterator[tuple[Loaded, Arrays | SampleFault]]:
        """Each image of ``batch`` with its outputs (``{}`` for zero crops), or with its fault."""
        live = [item for item in batch if item.fault is None and item.n_crops > 0]
        began = time.perf_counter()
        outputs = self._batch(live) if live else {}
        self.seconds += time.perf_counter() - began
        for item in batch:
            yield item, item.fault or outputs.get(item.index, {})

    def _batch(self, items: Sequence[Loaded]) -> dict[int, Arrays | SampleFault]:
        if self._pool is not None:
            return self._beside_each_other(items)
        try:
            packed = {name: np.concatenate([_tensors(item)[name] for item in items]) for name in _tensors(items[0])}
            outputs = self._chunks(packed, sum(item.n_crops for item in items))
        except Exception as error:  # any model may raise anything
            raise_if_machine(error)
            if len(items) == 1:
                return {items[0].index: model_fault(error)}
            return {index: part for item in items for index, part in self._batch([item]).items()}
        ends = np.cumsum([item.n_crops for item in items])
        return {
            item.index: {name: array[end - item.n_crops : end] for name, array in outputs.items()}
            for item, end in zip(items, ends)
        }

    def _beside_each_other(self, items: Sequence[Loaded]) -> dict[int, Arrays | SampleFault]:
        assert self._pool is not None
        futures = {
            item.index: [
                self._pool.submit(self._once, {name: array[i : i + 1] for name, array in _tensors(item).items()}, 1)
                for i in range(item.n_crops)
            ]
            for item in items
        }
        return {index: _joined(crops) for index, crops in futures.items()}

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        if self._pool is not None:
            end(self._pool, wait=True)

    def _chunks(self, packed: Arrays, n: int) -> Arrays:
        import torch

        parts: list[Arrays] = []
        start = 0
        while start < n:
            stop = min(start + self.budget, n)
            try:
                parts.append(self._once({name: array[start:stop] for name, array in packed.items()}, stop - start))
            except Exception as error:
                if stop - start == 1 or not out_of_memory(error):
                    raise
                self.budget, self.halved = (stop - start) // 2, self.halved + 1
                torch.cuda.empty_cache()
                continue
            start = stop
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _once(self, arrays: Arrays, n: int) -> Arrays:
        import torch

        with torch.inference_mode():
            # Strides are left as prepare made them: convolutions on the CPU may be twice as fast channels-last.
            tensors = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
            outputs = {name: _to_numpy(tensor) for name, tensor in self.model.forward(tensors).items()}
        wrong = {name: array.shape for name, array in outputs.items() if array.ndim == 0 or len(array) != n}
        if wrong:
            raise ValueError(f"forward was given {n} crops and returned {wrong}")
        return outputs


def _one_operator_thread() -> None:
    import torch

    torch.set_num_threads(1)  # of this thread alone


def _joined(crops: Sequence[Future[Arrays]]) -> Arrays | SampleFault:
    """One image's outputs from those of its crops."""
    try:
        parts = [result_of(crop) for crop in crops]
    except Exception as error:  # any model may raise anything
        raise_if_machine(error)
        return model_fault(error)
    return parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _tensors(item: Loaded) -> Arrays:
    assert item.prepared is not None
    return item.prepared.tensors


def _to_numpy(tensor: Any) -> NDArray[Any]:
    import torch

    if tensor.dtype in (torch.bfloat16, torch.float16):  # NumPy has no bf16, and decoding in fp16 loses sub-pixels
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
