"""One model, one batch size, timed stage by stage in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.errors import DeviceError
from sapiens_bench.profiling import machine, timing
from sapiens_bench.profiling.record import EnergyRecord, LatencyRecord, MachineState, MemoryRecord, StageRecord
from sapiens_bench.profiling.subject import Subject, tiled
from sapiens_bench.profiling.timing import Budget, Clock, CudaClock, WallClock
from sapiens_bench.store.record import Record
from sapiens_bench.types import ModelInput

_SMALL = Budget(min_seconds=0.3, min_calls=20, max_seconds=3.0, least_calls=2)  # of a stage other than forward
_BACK_TO_BACK_S = 2.0


class Measured(Record):
    """What a child process sends back."""

    weights: str
    latency: LatencyRecord
    memory: MemoryRecord
    energy: EnergyRecord | None
    before: MachineState
    after: MachineState


def profile(
    build: Callable[[], Subject], x: ModelInput, *, device: str, batch: int, compiled: bool, budget: Budget
) -> Measured:
    """Build the model and time every stage.

    Args:
        build: makes the model; its duration is the load stage.
        x: an image that gives one crop (or more; the first counts).
    """
    gpu = machine.gpu_of(device)
    clock: Clock = CudaClock(device) if device.startswith("cuda") else WallClock()
    base_rss = machine.rss_bytes()
    before = machine.state(gpu)
    began = time.perf_counter()
    subject = build()
    clock.finish()
    load_s = time.perf_counter() - began

    model = subject.model
    prepare = timing.measure(lambda: model.prepare(x), WallClock(), _SMALL)
    prepared = model.prepare(x)
    arrays = tiled(prepared.tensors, batch)
    tensors = _upload(arrays, device)
    upload = timing.measure(lambda: _upload(arrays, device), clock, _SMALL) if clock.name != "perf_counter" else None
    with torch.inference_mode():
        first_s, compile_s, warm, times, n, spent, energy = _forward(subject, tensors, clock, gpu, compiled, budget)
        outputs = model.forward(tensors)
        download = timing.measure(lambda: _download(outputs), clock, _SMALL)
        results = {name: array[:1] for name, array in _download(outputs).items()}
    finish = timing.measure(lambda: model.finish(results, prepared.geometry), WallClock(), _SMALL)
    host = clock.host[-len(times) :] if isinstance(clock, CudaClock) else []
    return Measured(
        weights=subject.weights,
        latency=LatencyRecord(
            clock=clock.name,
            first_call_s=first_s,
            compile_s=compile_s,
            n_warmup=warm.n,
            warmup_s=warm.seconds,
            is_stable=warm.is_stable,
            drift=warm.drift,
            measured_s=float(sum(times)),
            throughput_per_s=batch * n / spent,
            host_p50=float(np.median(host)) if host else float("nan"),
            stages=StageRecord(
                load_s=load_s,
                prepare=timing.spread(prepare),
                upload=None if upload is None else timing.spread(upload),
                forward=timing.spread(times),
                download=timing.spread(download),
                finish=timing.spread(finish),
            ),
        ),
        memory=_memory(device, base_rss),
        energy=energy,
        before=before,
        after=machine.state(gpu),
    )


_Forward = tuple[float, float, timing.WarmUp, list[float], int, float, EnergyRecord | None]


def _forward(
    subject: Subject, tensors: dict[str, Tensor], clock: Clock, gpu: Any, compiled: bool, budget: Budget
) -> _Forward:
    """First call, compilation, warm-up, the timed calls, and the back-to-back run with its energy."""

    def call() -> dict[str, Tensor]:
        return subject.model.forward(tensors)

    def waited() -> None:
        call()
        clock.finish()

    first_s = WallClock().timed(waited)
    with_compiler = float("nan")
    if compiled:
        if subject.network is None:
            raise DeviceError("--compile: there is no torch network inside this model. Leave it out.")
        several = isinstance(subject.network, nn.ModuleList)  # a list itself is never called
        for module in subject.network.children() if several else (subject.network,):
            module.compile()
        with_compiler = WallClock().timed(waited)
    if clock.name != "perf_counter":
        torch.cuda.reset_peak_memory_stats()
    warm = timing.warm_up(call, clock, budget)
    if isinstance(clock, CudaClock):
        clock.host.clear()
    times = timing.measure(call, clock, budget)
    median = float(np.median(times))
    batch = len(next(iter(tensors.values())))
    meter = machine.EnergyMeter(gpu)
    meter.start()
    if clock.name == "perf_counter":  # a CPU has no queue: another run would show the same
        n, spent, energy = len(times), float(sum(times)), None
        if median < 1:
            n, spent = timing.back_to_back(call, clock, _BACK_TO_BACK_S, median)
            energy = meter.stop(n * batch)
    else:
        host = clock.host[-len(times) :] if isinstance(clock, CudaClock) else []
        n, spent = timing.back_to_back(call, clock, _BACK_TO_BACK_S, median)
        energy = meter.stop(n * batch)
        if isinstance(clock, CudaClock):
            clock.host[:] = host
    return first_s, max(0.0, with_compiler - median) if compiled else with_compiler, warm, times, n, spent, energy


def _upload(arrays: dict[str, NDArray[Any]], device: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in arrays.items()}


def _download(outputs: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    half = (torch.bfloat16, torch.float16)
    return {name: (t.float() if t.dtype in half else t).cpu().numpy() for name, t in outputs.items()}


def _memory(device: str, base_rss: int) -> MemoryRecord:
    on_gpu = device.startswith("cuda")
    return MemoryRecord(
        predicted_bytes=0,  # the parent knows
        peak_rss_bytes=machine.peak_rss_bytes(),
        base_rss_bytes=base_rss,
        peak_allocated_bytes=torch.cuda.max_memory_allocated(torch.device(device)) if on_gpu else None,
        peak_reserved_bytes=torch.cuda.max_memory_reserved(torch.device(device)) if on_gpu else None,
    )
