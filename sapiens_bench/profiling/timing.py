"""Honest timing of a call: warm-up until medians stand still, then enough calls for enough time, each on its own.

Source of the manners: MLPerf Inference rules (single stream: latencies of separate queries, minimum duration and count,
percentiles rather than a mean of means).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sapiens_bench.profiling.record import Spread

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure. Slow calls are made at least ``least_calls`` times, whatever the time."""

    min_seconds: float = 3.0
    min_calls: int = 50
    max_seconds: float = 60.0  # stops before min_calls are reached, but not before least_calls
    least_calls: int = 3
    warmup_seconds: float = 10.0
    stable_within: float = 0.02  # relative change between the medians of two windows


class Clock(Protocol):
    """Times one call. ``finish`` waits for everything that was started."""

    name: str

    def timed(self, call: Call) -> float: ...
    def finish(self) -> None: ...


class WallClock:
    """perf_counter around the call; ``finish`` does nothing, because a CPU call returns when it is done."""

    name = "perf_counter"

    def timed(self, call: Call) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    def finish(self) -> None:
        return


class CudaClock:
    """CUDA events on the current stream around the call, and a wait for the stream after it."""

    name = "cuda events"

    def __init__(self, device: str) -> None:
        import torch

        self._torch, self._device = torch, torch.device(device)
        event: Any = torch.cuda.Event
        self._begin, self._end = event(enable_timing=True), event(enable_timing=True)
        self.host: list[float] = []  # wall time of every timed call, launch and wait included

    def timed(self, call: Call) -> float:
        start = time.perf_counter()
        self._begin.record()
        call()
        self._end.record()
        self._end.synchronize()
        self.host.append(time.perf_counter() - start)
        return float(self._begin.elapsed_time(self._end)) / 1e3

    def finish(self) -> None:
        self._torch.cuda.synchronize(self._device)


@dataclass(frozen=True, slots=True)
class WarmUp:
    n: int
    seconds: float
    is_stable: bool
    drift: float  # between the last two windows; NaN when there was only one


def warm_up(call: Call, clock: Clock, budget: Budget) -> WarmUp:
    """Call until the medians of two consecutive windows agree, twice in a row, or the budget is spent.

    A window is five calls, or as many as take 50 ms. At least two calls are made.
    """
    begin = time.perf_counter()
    medians: list[float] = []
    n = calm = 0
    drift = float("nan")
    while calm < 2:
        window: list[float] = []
        while len(window) < 5 or sum(window) < 0.05:
            window.append(clock.timed(call))
            n += 1
            if time.perf_counter() - begin > budget.warmup_seconds and n >= 2:
                break
        medians.append(float(np.median(window)))
        if len(medians) > 1:
            drift = abs(medians[-1] / medians[-2] - 1)
            calm = calm + 1 if drift < budget.stable_within else 0
        if time.perf_counter() - begin > budget.warmup_seconds:
            break
    return WarmUp(n, time.perf_counter() - begin, calm >= 2, drift)


def measure(call: Call, clock: Clock, budget: Budget) -> list[float]:
    """Seconds of every call, until minimum duration and minimum count are both reached, or the maximum duration.

    The garbage collector rests meanwhile: its pauses belong to Python, not to the model.
    """
    times: list[float] = []
    timed = clock.timed
    begin = time.perf_counter()
    with _no_collector():
        while True:
            times.append(timed(call))
            spent, n = time.perf_counter() - begin, len(times)
            enough = spent >= budget.min_seconds and n >= budget.min_calls
            if n >= budget.least_calls and (enough or spent >= budget.max_seconds):
                return times


def back_to_back(call: Call, clock: Clock, seconds: float, estimate: float) -> tuple[int, float]:
    """(calls, seconds) when nobody waits for the single call: what a server or an evaluation run gets."""
    n = max(3, min(1000, round(seconds / max(estimate, 1e-6))))
    with _no_collector():
        clock.finish()
        begin = time.perf_counter()
        for _ in range(n):
            call()
        clock.finish()
        return n, time.perf_counter() - begin


@contextmanager
def _no_collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def spread(times: Sequence[float]) -> Spread:
    """Percentiles of a sample, linearly interpolated (with few calls, p99 is close to the slowest)."""
    values = np.asarray(times, np.float64)
    p25, p50, p75, p90, p99 = np.percentile(values, [25, 50, 75, 90, 99])
    return Spread(
        n=len(values), p50=float(p50), p90=float(p90), p99=float(p99), mean=float(values.mean()),
        iqr=float(p75 - p25), minimum=float(values.min()),
    )  # fmt: skip
