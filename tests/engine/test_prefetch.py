"""A batch in flight: rows, blame, memory and a stop are what they are without one; on a GPU too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_bench.engine import streams
from sapiens_bench.engine.events import BatchDone, ShardDone
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import Loaded
from sapiens_bench.engine.streams import Arrays, CudaStreams, HostStreams, Network
from sapiens_bench.errors import Interrupted, MachineFault, SampleFault
from sapiens_bench.types import Prepared

ROWS = Path("rows/toy/toy/plain/toy-plain")
HAS_GPU = torch.cuda.is_available()
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="no CUDA device")])
DEVICES = pytest.mark.parametrize("device", ["cpu", GPU])
FAULTY = {"forward_faults": (7, 22)}


def shard_bytes(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / ROWS).glob("shard-*"))}


def images(n_crops: list[int]) -> list[Loaded]:
    return [
        Loaded(i, f"k{i}", "g", prepared=Prepared({"x": np.full((n, 3), i, np.float32)}, None))
        for i, n in enumerate(n_crops)
    ]


class Doubling:
    """Doubles; an image whose number is among ``faulty`` breaks it."""

    def __init__(self, *faulty: int) -> None:
        self.faulty, self.batches = faulty, []  # type: ignore[var-annotated]

    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.batches.append(len(tensors["x"]))
        if set(tensors["x"][:, 0].tolist()) & set(self.faulty):
            raise ValueError("a kernel failed")
        return {"y": tensors["x"] * 2}


class Flying:
    """Outputs that are not there before they are asked for."""

    is_landed = False

    def __init__(self, owner: SmallDevice, arrays: Arrays, n: int) -> None:
        self.owner, self.n, self._arrays = owner, n, arrays

    def arrays(self) -> Arrays:
        if not self.is_landed:
            self.is_landed = True
            self.owner.held -= self.n
        return self._arrays


class SmallDevice(HostStreams):
    """A device with room for so many crops, those in flight included."""

    def __init__(self, room: int) -> None:
        super().__init__("cpu", ())
        self.room, self.held, self.most = room, 0, 0

    def launch(self, arrays: Arrays, network: Network) -> Any:
        n = len(next(iter(arrays.values())))
        if self.held + n > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        landed = super().launch(arrays, network).arrays()
        self.held += n
        self.most = max(self.most, self.held)
        return Flying(self, landed, n)


def through(forward: Forward, batches: list[list[Loaded]]) -> dict[int, Any]:
    done = [each for batch in batches for each in forward.push(batch)]
    done += forward.flush()
    assert [[item.index for item, _ in each] for each in done] == [[item.index for item in each] for each in batches]
    return {item.index: outputs for each in done for item, outputs in each}


def doubled(found: dict[int, Any], items: list[Loaded]) -> bool:
    return all((found[i.index]["y"] == 2 * i.index).all() and len(found[i.index]["y"]) == i.n_crops for i in items)


@DEVICES
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outputs_come_in_order_to_their_own_images(device: str, depth: int) -> None:
    items = images([2, 1, 3, 1, 1, 2, 1])
    forward = Forward(Doubling(), device, 4, depth=depth)  # type: ignore[arg-type]
    assert doubled(through(forward, [items[:2], items[2:4], items[4:6], items[6:]]), items)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_as_many_batches_are_in_flight_as_asked_for(depth: int) -> None:
    items = images([1] * 6)
    forward = Forward(Doubling(), "cpu", 1, depth=depth)  # type: ignore[arg-type]
    forward.streams = device = SmallDevice(100)
    through(forward, [[item] for item in items])
    assert device.most == depth + 1


@DEVICES
def test_one_faulty_image_in_a_batch_in_flight_is_blamed_alone(device: str) -> None:
    items = images([1, 2, 1, 1, 2, 1])
    forward = Forward(Doubling(3), device, 8, depth=1)  # type: ignore[arg-type]
    found = through(forward, [items[:3], items[3:]])
    assert isinstance(found[3], SampleFault)
    assert "a kernel failed" in found[3].detail
    assert doubled(found, [item for item in items if item.index != 3])


def test_memory_that_a_batch_in_flight_holds_is_waited_for_before_a_batch_is_halved() -> None:
    items = images([2, 2, 2, 2])
    forward = Forward(Doubling(), "cpu", 4, depth=1)  # type: ignore[arg-type]
    forward.streams = SmallDevice(4)
    assert doubled(through(forward, [items[:2], items[2:]]), items)
    assert (forward.halved, forward.budget) == (0, 4)


def test_a_batch_too_large_by_itself_is_halved_with_another_in_flight() -> None:
    items = images([2, 4, 2, 1, 4])
    forward = Forward(Doubling(), "cpu", 4, depth=1)  # type: ignore[arg-type]
    forward.streams = SmallDevice(2)
    assert doubled(through(forward, [[item] for item in items]), items)
    assert (forward.halved, forward.budget) == (1, 2)


def test_no_room_for_one_crop_charges_no_image() -> None:
    items = images([1, 1])
    forward = Forward(Doubling(), "cpu", 4, depth=1)  # type: ignore[arg-type]
    forward.streams = SmallDevice(0)
    with pytest.raises(torch.OutOfMemoryError):
        through(forward, [items])


@DEVICES
@pytest.mark.parametrize("depth", [1, 3])
def test_rows_are_those_of_a_run_without_prefetch(toy: ModuleType, tmp_path: Path, device: str, depth: int) -> None:
    data = {"n": 30, "input_faults": (4,)}
    plain = toy.go(tmp_path / "0", data, batch_size=3, options=FAULTY, prefetch=0)
    ahead = toy.go(tmp_path / "1", data, batch_size=3, options=FAULTY, prefetch=depth, device=device)
    assert plain.cells[0].counts == ahead.cells[0].counts
    assert plain.cells[0].counts.prediction_errors == 2
    if device == "cpu":
        assert shard_bytes(tmp_path / "0") == shard_bytes(tmp_path / "1")
    expected = {name: pytest.approx(score.value, abs=1e-6) for name, score in plain.cells[0].scores.items()}
    assert {name: score.value for name, score in ahead.cells[0].scores.items()} == expected


@DEVICES
def test_out_of_memory_with_a_batch_in_flight_halves_and_loses_nothing(
    toy: ModuleType, tmp_path: Path, device: str
) -> None:
    record = toy.go(tmp_path, batch_size=8, options={"most_crops": 2}, prefetch=1, device=device)
    assert record.cells[0].counts.ok == record.cells[0].counts.planned
    assert any("--batch-size 2" in note for note in record.notes)


@DEVICES
@pytest.mark.parametrize("when", [1, 3, 4])
def test_a_stop_with_a_batch_in_flight_loses_nothing(toy: ModuleType, tmp_path: Path, device: str, when: int) -> None:
    seen: list[object] = []

    def stop(event: object) -> None:
        if isinstance(event, BatchDone | ShardDone):
            seen.append(event)
            if len(seen) == when:
                raise KeyboardInterrupt

    given = {"batch_size": 3, "prefetch": 1, "device": device}
    toy.go(tmp_path / "whole", **given)
    with pytest.raises(Interrupted):
        toy.go(tmp_path / "stopped", on_event=stop, **given)
    toy.go(tmp_path / "stopped", **given)
    assert shard_bytes(tmp_path / "stopped") == shard_bytes(tmp_path / "whole")


class Waiting:
    """Outputs of a thread that stands for a device."""

    def __init__(self, future: Any) -> None:
        self.future = future

    @property
    def is_landed(self) -> bool:
        return bool(self.future.done())

    def arrays(self) -> Arrays:
        found: Arrays = self.future.result().arrays()
        return found


class WaitingDevice(HostStreams):
    """A device that ends no batch before the next one is queued, unless that takes too long: so no clock decides."""

    def __init__(self, n_batches: int, patience_s: float) -> None:
        super().__init__("cpu", ())
        self.queue, self.n_batches, self.patience_s = ThreadPoolExecutor(1), n_batches, patience_s
        self.launched = [Event() for _ in range(n_batches)]
        self.was_fed: list[bool] = []  # of each batch but the last, whether the next was queued before its end

    def launch(self, arrays: Arrays, network: Network) -> Any:
        number = next(i for i, event in enumerate(self.launched) if not event.is_set())
        self.launched[number].set()
        return Waiting(self.queue.submit(self._compute, number, super().launch(arrays, network)))

    def _compute(self, number: int, landed: Any) -> Any:
        if number + 1 < self.n_batches:
            self.was_fed.append(self.launched[number + 1].wait(self.patience_s))
        return landed


@pytest.mark.parametrize(("depth", "patience_s"), [(0, 0.02), (1, 60.0), (2, 60.0)])
def test_a_device_that_is_given_work_ahead_never_waits_for_the_host(depth: int, patience_s: float) -> None:
    forward = Forward(Doubling(), "cpu", 1, depth=depth)  # type: ignore[arg-type]
    forward.streams = device = WaitingDevice(12, patience_s)
    through(forward, [[item] for item in images([1] * 12)])
    device.queue.shutdown()
    assert device.was_fed == [depth > 0] * 11


class Log(list[str]):
    """``torch.cuda`` as far as the streams use it: it notes what is asked of it, and computes on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        outer = self

        class Stream:
            def __init__(self, device: Any) -> None:
                self.name = ("up", "down")[sum(line.startswith("stream") for line in outer)]
                outer.append(f"stream {self.name}")

            def wait_stream(self, other: Any) -> None:
                outer.append(f"{self.name} waits for {other.name}")

            def wait_event(self, event: Any) -> None:
                outer.append(f"{self.name} waits for event")

            def __enter__(self) -> None:
                outer.append(f"on {self.name}")

            def __exit__(self, *error: object) -> None:
                outer.append("off")

        class Event:
            def __init__(self, enable_timing: bool, blocking: bool) -> None:
                assert enable_timing
                assert blocking
                self.at = -1.0

            def record(self, stream: Any) -> None:
                outer.now += 0.5
                self.at = outer.now
                outer.append(f"event on {stream.name}")

            def synchronize(self) -> None:
                outer.append("host waits")

            def elapsed_time(self, end: Any) -> float:
                return float(end.at - self.at) * 1e3

        self.Stream, self.Event, self.own = Stream, Event, Stream.__new__(Stream)
        self.own.name = "own"

    def current_stream(self, device: Any) -> Any:
        return self.own

    def stream(self, stream: Any) -> Any:
        return stream


def test_a_flight_waits_for_its_upload_and_its_download_for_the_network() -> None:
    log = Log()
    device = CudaStreams("cpu", ("size",), log)

    def network(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        log.append("network")
        return {"y": (tensors["x"] * 2).bfloat16(), "n": tensors["size"]}

    packed = device.packed([{"x": np.ones((1, 2), np.uint8), "size": np.array([[5]])}] * 2)
    flight = device.launch(packed, network)
    assert log == [
        "stream up", "stream down", "on up", "off", "own waits for up", "event on own", "network", "event on own",
        "down waits for event", "on down", "off", "event on down",
    ]  # fmt: skip
    assert not flight.is_landed
    found = flight.arrays()
    assert (log[-1], flight.is_landed) == ("host waits", True)
    np.testing.assert_array_equal(found["y"], np.full((2, 2), 2, np.float32))
    np.testing.assert_array_equal(found["n"], [[5], [5]])


def test_busy_time_and_gaps_are_those_between_the_events() -> None:
    log = Log()
    device = CudaStreams("cpu", (), log)

    def slow(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        log.now += 2.0
        return {"y": tensors["x"]}

    for _ in range(3):
        device.launch({"x": np.ones((1, 2))}, slow).arrays()
        log.now += 1.0
    assert device.busy_s == pytest.approx(3 * 2.5)
    assert device.gap_s == pytest.approx(2 * (0.5 + 1.0 + 0.5))
    device.forget()
    assert device.busy_s == device.gap_s == 0


def test_a_device_that_is_lost_stops_the_run_and_charges_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(device: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(streams, "CudaStreams", lambda device, on_host: HostStreams("cpu", on_host))
    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    forward = Forward(Doubling(1), "cuda", 4, depth=1)  # type: ignore[arg-type]
    with pytest.raises(MachineFault, match="device-side assert"):
        through(forward, [images([1, 1])])
