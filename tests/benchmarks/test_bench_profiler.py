"""What the profiler itself costs."""

from __future__ import annotations

from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.profile import run_profile
from sapiens_bench.engine.profile_request import ProfileRequest
from sapiens_bench.profiling.timing import Budget, WallClock, measure


def test_bench_overhead_per_timed_call(benchmark: Any, page: Any) -> None:
    """Everything around a call that does nothing; one per cent of a 10 ms forward pass is 100 us."""
    budget = Budget(min_seconds=0.0, min_calls=10_000, max_seconds=10.0)
    benchmark.pedantic(measure, (lambda: None, WallClock(), budget), rounds=5)
    per_call_us = benchmark.stats.stats.min / 10_000 * 1e6
    page.add("What the harness adds", "the profiler, around each timed call", per_call_us, "µs", at_most=100)


@pytest.mark.parametrize("model", ["sapiens-2b", "movenet-thunder"])
def test_bench_counts(benchmark, model: str) -> None:  # type: ignore[no-untyped-def]
    catalog = Catalog.load()
    request = ProfileRequest(models=(model,), counts_only=True)
    record = benchmark.pedantic(run_profile, (request, catalog), rounds=2)
    assert record.rows[0].status == "counted"
