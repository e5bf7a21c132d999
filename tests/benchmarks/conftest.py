"""What the benchmarks share: one thread, timings that take turns, and lines for docs/performance.md."""

from __future__ import annotations

import importlib
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import pyarrow as pa
import pytest
import torch

from sapiens_bench.tasks.pose.compiled import KERNELS


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """What can be set while running; tools/performance_page.py sets the threads of BLAS, which cannot."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """Kernels are compiled, or loaded, before any clock runs."""
    KERNELS.load()


class Range(NamedTuple):
    """A figure, and the least and most favourable round."""

    value: float
    low: float
    high: float


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


class Page:
    """Lines that tools/performance_page.py makes its tables of; they travel in ``extra_info`` of the benchmark."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark, self._is_used = benchmark, False

    def add(
        self,
        topic: str,
        what: str,
        found: Range | float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        beside: str = "",
        if_missed: str | Callable[[], str] = "",
    ) -> None:
        """One line.

        Args:
            unit: "x" for ratios.
            at_least, at_most: the goal; neither: a figure without one.
            beside: what the figure was made of, or its limit.
            if_missed: the reason, printed where the goal is missed; a function measures the parts only then.
        """
        value, low, high = found if isinstance(found, Range) else (found, found, found)
        is_met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        reason = "" if is_met else if_missed() if callable(if_missed) else if_missed
        goal = {"at_least": at_least, "at_most": at_most, "is_met": is_met, "if_missed": reason}
        line = {"topic": topic, "what": what, "value": value, "low": low, "high": high, "unit": unit, "beside": beside}
        self._benchmark.extra_info.setdefault("lines", []).append(line | goal)

    def ratio(
        self,
        topic: str,
        what: str,
        base: Callable[[], object],
        ours: Callable[[], object],
        *,
        against: str,
        rounds: int = 3,
        repeats: int = 5,
        **goal: Any,
    ) -> float:
        """CPU time of ``base`` over ours: the fastest of rounds that take turns; ours ``repeats`` times a round."""
        slow, fast = [], []
        for _ in range(rounds):
            slow.append(cpu_seconds(base))
            fast.append(min(cpu_seconds(ours) for _ in range(repeats)))
        each = [s / f for s, f in zip(slow, fast, strict=True)]
        found = Range(min(slow) / min(fast), min(each), max(each))
        beside = f"{against} {min(slow) * 1000:.3g} ms, ours {min(fast) * 1000:.3g} ms"
        self.add(topic, what, found, "x", beside=beside, **goal)
        self.call(ours)
        return found.value

    def ms(self, topic: str, what: str, function: Callable[[], object], rounds: int = 9, **goal: Any) -> float:
        """CPU milliseconds, the fastest of the rounds."""
        return 1000 * self._time(topic, what, function, rounds, 1000, "ms", goal)

    def seconds(self, topic: str, what: str, function: Callable[[], object], rounds: int = 3, **goal: Any) -> float:
        """CPU seconds, the fastest of the rounds."""
        return self._time(topic, what, function, rounds, 1, "s", goal)

    def call(self, function: Callable[[], object]) -> None:
        """Call it; by the fixture where that has not been used, as it wants to be, once."""
        if self._is_used:
            function()
        else:
            self._benchmark.pedantic(function, rounds=1)
        self._is_used = True

    def _time(
        self, topic: str, what: str, function: Callable[[], object], rounds: int, factor: float, unit: str, goal: Any
    ) -> float:
        self.call(function)  # the first call fills caches
        times = [cpu_seconds(function) for _ in range(rounds)]
        self.add(topic, what, Range(*(factor * t for t in (min(times), min(times), max(times)))), unit, **goal)
        return min(times)


@pytest.fixture
def page(benchmark: Any) -> Page:
    """Measures, and notes what belongs on the page."""
    return Page(benchmark)


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process, its threads and its children on one core: what overlaps with what cannot change CPU seconds."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cores cannot be chosen here")
    before = os.sched_getaffinity(0)
    _all_threads_to({max(before)})
    yield
    _all_threads_to(before)


def _all_threads_to(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


@pytest.fixture
def figures() -> Callable[[Sequence[float]], Range]:
    """Median and ends of some figures."""
    return lambda values: Range(statistics.median(values), min(values), max(values))


@pytest.fixture
def peak_mb() -> Callable[[Callable[[], object]], float]:
    """The most memory that was allocated at once during a call, MB."""

    def measure(function: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()

    return measure


@pytest.fixture
def ratio() -> Callable[..., float]:
    """``ratio(base, ours, rounds=7)``: median over interleaved rounds of base time / our time (CPU seconds)."""

    def measure(base: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
        base()
        ours()
        return statistics.median(cpu_seconds(base) / cpu_seconds(ours) for _ in range(rounds))

    return measure


@pytest.fixture(scope="session")
def fake() -> Callable[[str], ModuleType]:
    """``fake(NAME)``: the module tests/fakes/NAME.py."""

    return importlib.import_module
