from __future__ import annotations

import itertools

import numpy as np
import pytest

from sapiens_bench.profiling import timing
from sapiens_bench.profiling.timing import Budget


class Scripted:
    """A clock that says what it is told; no test depends on how fast this machine is."""

    name = "scripted"

    def __init__(self, times: list[float]) -> None:
        self.times = itertools.chain(times, itertools.repeat(times[-1]))
        self.n_finished = 0

    def timed(self, call: timing.Call) -> float:
        call()
        return next(self.times)

    def finish(self) -> None:
        self.n_finished += 1


def test_warm_up_goes_on_until_two_windows_agree_twice() -> None:
    falling = [1.0] * 5 + [0.5] * 5 + [0.2] * 5 + [0.1] * 5
    calls: list[int] = []
    found = timing.warm_up(lambda: calls.append(1), Scripted(falling), Budget())
    assert found.n == len(calls) == 30  # the falling windows, then two that repeat 0.1
    assert found.is_stable
    assert found.drift == 0


def test_warm_up_that_never_settles_says_so() -> None:
    restless = [t for i in range(200_000) for t in [1.0 + i % 2] * 5]
    found = timing.warm_up(lambda: None, Scripted(restless), Budget(warmup_seconds=0.02))
    assert not found.is_stable
    assert found.n >= 2


def test_at_least_the_minimum_count_is_measured() -> None:
    times = timing.measure(lambda: None, Scripted([0.1]), Budget(min_seconds=0, min_calls=37))
    assert len(times) == 37


def test_a_slow_call_is_cut_short_but_never_below_the_least_count() -> None:
    budget = Budget(min_seconds=0, min_calls=1000, max_seconds=0, least_calls=4)
    assert len(timing.measure(lambda: None, Scripted([9.0]), budget)) == 4


def test_spread_is_that_of_numpy_and_noise_is_relative() -> None:
    values = np.random.default_rng(0).gamma(4, 1, 501)
    found = timing.spread(list(values))
    assert (found.n, found.minimum) == (501, values.min())
    assert [found.p50, found.p90, found.p99] == pytest.approx(np.percentile(values, [50, 90, 99]).tolist())
    assert found.noise == pytest.approx(found.iqr / found.p50)


def test_back_to_back_waits_once_before_and_once_after() -> None:
    clock, calls = Scripted([0.1]), []
    n, _ = timing.back_to_back(lambda: calls.append(1), clock, seconds=1.0, estimate=0.1)
    assert (n, len(calls), clock.n_finished) == (10, 10, 2)
