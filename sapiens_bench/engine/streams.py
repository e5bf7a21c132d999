"""Crops to the device and outputs back, so that the device never waits for a copy, nor the host for the device.

On a CUDA device three streams work beside each other: uploads from pinned memory, the network on the device's own
stream, downloads into pinned memory. ``launch`` returns as soon as all of it is queued; ``Flight.arrays`` waits for its
own download alone. Elsewhere (CPU, MPS) ``launch`` returns when everything is there.

What a model reads as numbers in the middle of ``forward`` (``types.Model``: ``on_host``) is not uploaded: reading it
back would make the host wait for the whole queue.

How busy the device is follows from events on its own stream, one before and one behind the network of every flight:
busy is the time between the two, a gap that between the end of one flight and the beginning of the next. Pauses inside
a flight (kernels that are launched more slowly than they run) count as busy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Network = Callable[[dict[str, Any]], dict[str, Any]]  # tensors on the device -> outputs there (or on the host)
PINNED_MOST = 1 << 30  # bytes of one array; larger ones take the slow way rather than lock so much memory


class Flight(Protocol):
    """Outputs on their way."""

    @property
    def is_landed(self) -> bool:
        """Whether they are there."""
        ...

    def arrays(self) -> Arrays:
        """The outputs, when they are there; nothing is left on the device then."""
        ...


class Streams(Protocol):
    """How one kind of device is fed."""

    busy_s: float  # the device computed; 0.0 where that cannot be told
    gap_s: float  # ... and had nothing to do between two flights

    def packed(self, parts: Sequence[Arrays]) -> Arrays:
        """The crops of several images, one behind the other, in memory that the device reads well."""
        ...

    def launch(self, arrays: Arrays, network: Network) -> Flight:
        """Begin: upload, ``network``, download. Raises what ``network`` raises."""
        ...

    def forget(self) -> None:
        """Begin to count ``busy_s`` and ``gap_s`` anew, with the next flight."""
        ...


def streams_of(device: str, on_host: Collection[str] = ()) -> Streams:
    """The streams of a device.

    Args:
        on_host: names of arrays that stay where they are.
    """
    return CudaStreams(device, on_host) if device.startswith("cuda") else HostStreams(device, on_host)


class Landed:
    """Outputs that are there."""

    is_landed = True

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def arrays(self) -> Arrays:
        """See ``Flight``."""
        return self._arrays


class HostStreams:
    """Of devices that are not asked to do two things at once."""

    def __init__(self, device: str, on_host: Collection[str]) -> None:
        self.busy_s = self.gap_s = 0.0
        self._device, self._on_host = device, frozenset(on_host)

    def packed(self, parts: Sequence[Arrays]) -> Arrays:
        """See ``Streams``. Strides are left as prepare made them: convolutions on the CPU may be twice as fast so."""
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def launch(self, arrays: Arrays, network: Network) -> Landed:
        """See ``Streams``."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self._device != "cpu":
            tensors = {n: t if n in self._on_host else t.to(self._device) for n, t in tensors.items()}
        return Landed({name: readable(t).detach().cpu().numpy() for name, t in network(tensors).items()})

    def forget(self) -> None:
        """See ``Streams``."""


class CudaStreams:
    """Of a CUDA device.

    Args:
        cuda: ``torch.cuda``, or what stands for it in a test.
    """

    def __init__(self, device: str, on_host: Collection[str], cuda: Any = None) -> None:
        import torch

        self.cuda: Any = torch.cuda if cuda is None else cuda
        self.device, self._on_host = torch.device(device), frozenset(on_host)
        self.upward, self.downward = self.cuda.Stream(device=self.device), self.cuda.Stream(device=self.device)
        self.busy_s = self.gap_s = 0.0
        self._last_end: Any = None

    def packed(self, parts: Sequence[Arrays]) -> Arrays:
        """See ``Streams``."""
        import torch

        packed: Arrays = {}
        for name, first in parts[0].items():
            shape = (sum(len(part[name]) for part in parts), *first.shape[1:])
            buffer = self._host_memory(shape, torch.from_numpy(np.empty(0, first.dtype)).dtype)
            packed[name] = buffer.numpy()
            np.concatenate([part[name] for part in parts], out=packed[name])
        return packed

    def launch(self, arrays: Arrays, network: Network) -> CudaFlight:
        """See ``Streams``. Nothing here waits for the device, unless ``network`` does."""
        import torch

        own = self.cuda.current_stream(self.device)
        given = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with self.cuda.stream(self.upward):
            inputs = {n: t if n in self._on_host else t.to(self.device, non_blocking=True) for n, t in given.items()}
        own.wait_stream(self.upward)
        begin, end, there = self._event(), self._event(), self._event()
        begin.record(own)
        outputs = {name: readable(tensor).detach() for name, tensor in network(inputs).items()}
        end.record(own)
        self.downward.wait_event(end)
        with self.cuda.stream(self.downward):
            results = {name: self._downloaded(tensor) for name, tensor in outputs.items()}
        there.record(self.downward)
        # Inputs and outputs are kept until the download is over, so that no other stream is given their memory.
        return CudaFlight(self, (begin, end, there), (given, inputs, outputs), results)

    def forget(self) -> None:
        """See ``Streams``."""
        self.busy_s = self.gap_s = 0.0

    def landed(self, begin: Any, end: Any) -> None:
        """Add up what the events of a flight tell; flights are asked in the order of their launch."""
        self.busy_s += begin.elapsed_time(end) / 1e3
        if self._last_end is not None:
            self.gap_s += max(0.0, self._last_end.elapsed_time(begin) / 1e3)
        self._last_end = end

    def _event(self) -> Any:
        # Blocking: whoever waits sleeps, and leaves its core to the loaders.
        return self.cuda.Event(enable_timing=True, blocking=True)

    def _downloaded(self, tensor: Any) -> Any:
        if tensor.device.type == "cpu" and self.device.type != "cpu":
            return tensor
        return self._host_memory(tensor.shape, tensor.dtype).copy_(tensor, non_blocking=True)

    def _host_memory(self, shape: Sequence[int], dtype: Any) -> Any:
        import torch

        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        is_pinned = self.device.type != "cpu" and 0 < n_bytes <= PINNED_MOST
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=is_pinned)


class CudaFlight:
    """Outputs on their way from a CUDA device."""

    def __init__(self, streams: CudaStreams, events: tuple[Any, Any, Any], kept: Any, results: dict[str, Any]) -> None:
        self.is_landed = False
        self._streams, self._events, self._kept, self._results = streams, events, kept, results

    def arrays(self) -> Arrays:
        """See ``Flight``."""
        if not self.is_landed:
            begin, end, there = self._events
            there.synchronize()
            self._kept = None
            self._streams.landed(begin, end)
            self.is_landed = True
        return {name: tensor.numpy() for name, tensor in self._results.items()}


def readable(tensor: Any) -> Any:
    """The tensor in a type that NumPy has: there is no bf16, and decoding in fp16 loses sub-pixels."""
    import torch

    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
