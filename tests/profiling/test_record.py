from __future__ import annotations

import math
from pathlib import Path

import pytest

from sapiens_bench.errors import StoreError
from sapiens_bench.profiling.record import (
    CeilingRecord,
    CountRecord,
    ProfileRecord,
    ProfileRow,
    read_profile,
    write_profile,
)


def record() -> ProfileRecord:
    counts = CountRecord(params_total=7, macs_linear=3, macs_total=5, passes=2)
    row = ProfileRow(model="m", title="M", task="pose", status="counted", counts=counts)
    known = CeilingRecord(device="d", flops_per_s={"fp32": 1.0}, bytes_per_s=2.0, is_measured=False, source="s")
    return ProfileRecord(rows=[row], ceilings={"A100": known})


def test_a_profile_survives_the_round_trip_nan_included(tmp_path: Path) -> None:
    path = write_profile(tmp_path, record())
    found = read_profile(tmp_path)
    assert "NaN" not in path.read_text()
    assert math.isnan(found.rows[0].percent_of_limit)
    assert found.model_dump_json() == record().model_dump_json()


def test_flops_are_two_per_mac_and_every_pass_counts() -> None:
    counts = record().rows[0].counts
    assert counts is not None
    assert (counts.flops, counts.flops_per_crop) == (10, 20)


@pytest.mark.parametrize("text", ["", "{}x", '{"schema": "run/1"}', '{"rows": 3}'])
def test_another_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(StoreError, match=r"profile\.json"):
        read_profile(tmp_path)


def test_a_folder_without_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        read_profile(tmp_path / "nowhere")
