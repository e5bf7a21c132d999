"""What needs a CUDA device; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.profile import run_profile
from sapiens_bench.engine.profile_request import ProfileRequest
from sapiens_bench.profiling import machine
from sapiens_bench.profiling.roofline import measure_ceiling
from sapiens_bench.profiling.timing import Budget, CudaClock, measure

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
QUICK = Budget(min_seconds=0.2, min_calls=20, max_seconds=5.0)


def test_events_see_the_work_and_not_only_its_launch() -> None:
    a = torch.randn(4096, 4096, device="cuda")
    clock = CudaClock("cuda")
    large = min(measure(lambda: a @ a, clock, QUICK))
    small = min(measure(lambda: a[:64, :64] @ a[:64, :64], clock, QUICK))
    assert large > 5 * small
    assert len(clock.host) >= 40


def test_a_model_is_profiled_with_uploads_memory_and_limits() -> None:
    request = ProfileRequest(models=("movenet-thunder",), device="cuda", precisions=("fp32", "bf16"), budget=QUICK)
    rows = run_profile(request, Catalog.load()).rows
    assert [row.status for row in rows] == ["done", "done"]
    for row in rows:
        assert row.latency is not None
        assert row.memory is not None
        assert row.latency.clock == "cuda events"
        assert row.latency.stages.upload is not None
        assert row.memory.peak_allocated_bytes
        assert (row.memory.peak_reserved_bytes or 0) >= row.memory.peak_allocated_bytes
        assert 0 < row.percent_of_limit < 150


def test_a_batch_that_does_not_fit_is_halved() -> None:
    request = ProfileRequest(models=("movenet-thunder",), device="cuda", batches=(1 << 20,), budget=QUICK)
    row = run_profile(request, Catalog.load()).rows[0]
    assert row.status == "done"
    assert row.batch < row.batch_asked


def test_the_driver_tells_clocks_and_temperature() -> None:
    gpu = machine.gpu_of("cuda")
    if gpu is None:
        pytest.skip("the driver's management library is not here")
    found = machine.state(gpu)
    assert found.sm_mhz > 0
    assert 0 < found.temperature_c < 120


def test_bf16_is_faster_than_fp32_in_the_measured_ceiling() -> None:
    fp32, bf16 = (measure_ceiling("cuda", p, seconds=1.0) for p in ("fp32", "bf16"))
    assert bf16.flops_per_s["bf16"] > fp32.flops_per_s["fp32"]
