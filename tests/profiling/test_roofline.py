from __future__ import annotations

import pytest

from sapiens_bench.profiling import roofline
from sapiens_bench.profiling.record import CeilingRecord, CountRecord

COUNTS = CountRecord(
    params_total=1000, macs_linear=4000, macs_total=5000, passes=2, input_bytes=10, output_bytes=30, weight_bytes=4000
)


def ceiling(rate: float, bandwidth: float) -> CeilingRecord:
    return CeilingRecord(
        device="d", flops_per_s={"fp32": rate, "bf16": 2 * rate}, bytes_per_s=bandwidth, is_measured=False, source="s"
    )


def test_floor_of_a_compute_bound_batch() -> None:
    # 2 FLOPs x 5000 MACs x 2 passes x 8 crops = 160,000
    found = roofline.floor(COUNTS, "fp32", 8, ceiling(1e3, 1e9))
    assert found is not None
    assert (found.seconds, found.bound) == (160.0, "compute")


def test_floor_of_a_memory_bound_batch_moves_weights_once() -> None:
    # half the weights' bytes in bf16, and (10 + 30) bytes for every crop
    found = roofline.floor(COUNTS, "bf16", 8, ceiling(1e12, 10))
    assert found is not None
    assert (found.seconds, found.bound) == ((2000 + 320) / 10, "memory")


def test_a_precision_the_device_lacks_has_no_floor() -> None:
    known = roofline.known_ceilings()
    assert set(known) == {"A100", "H100", "H200", "L4", "T4", "RTX 4090"}
    assert set(roofline.floors(COUNTS, "bf16", 1, known)) == set(known) - {"T4"}


def test_every_datasheet_number_has_an_address_and_a_plausible_order() -> None:
    for ceiling_ in roofline.known_ceilings().values():
        assert "https://" in ceiling_.source
        assert not ceiling_.is_measured
        rates = ceiling_.flops_per_s
        assert rates["fp32"] < rates["fp16"]
        assert 1e11 < ceiling_.bytes_per_s < 1e13


@pytest.mark.parametrize("precision", ["fp32"])
def test_a_measured_ceiling_of_this_cpu_is_positive_and_says_how(precision: str) -> None:
    found = roofline.measure_ceiling("cpu", precision, seconds=0.02)
    assert found.is_measured
    assert found.flops_per_s[precision] > 0
    assert found.bytes_per_s > 0
    assert "matrix product" in found.source
