"""Limits of control groups, of the process's own and of those above it, as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sapiens_bench.cgroups import core_quotas, memory_rooms


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def member(tmp_path: Path) -> Path:
    path = tmp_path / "member"
    path.write_text("5:memory:/batch/job\n3:cpu,cpuacct:/batch/job\n1:name=systemd:/a:b\n0::/slice/job.scope\n")
    return path


def test_every_group_on_the_way_to_the_root_counts(tmp_path: Path, member: Path) -> None:
    group(tmp_path, cpu__max="max 100000", memory__max="max", memory__current="5")
    group(tmp_path / "slice", cpu__max="200000 100000", memory__max="1000", memory__current="400")
    group(tmp_path / "slice" / "job.scope", cpu__max="50000 100000", memory__max="100", memory__current="300")
    group(tmp_path / "slice" / "other.scope", cpu__max="1 100000", memory__max="1", memory__current="0")
    assert list(core_quotas(tmp_path, member)) == [0.5, 2.0]
    assert list(memory_rooms(tmp_path, member)) == [0, 600]


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path, member: Path) -> None:
    job = tmp_path / "cpu" / "batch" / "job"
    group(job, cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    group(tmp_path / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    group(tmp_path / "memory" / "batch", memory__limit_in_bytes="900", memory__usage_in_bytes="100")
    assert list(core_quotas(tmp_path, member)) == [1.5]
    assert list(memory_rooms(tmp_path, member)) == [800]


@pytest.mark.parametrize("told", ["0::/../elsewhere", "not a list of groups", "", None])
def test_the_root_counts_where_the_own_group_is_not_to_be_seen(tmp_path: Path, told: str | None) -> None:
    group(tmp_path, cpu__max="50000 100000", memory__max="1000", memory__current="400")
    if told is not None:
        (tmp_path / "member").write_text(told)
    assert list(core_quotas(tmp_path, tmp_path / "member")) == [0.5]
    assert list(memory_rooms(tmp_path, tmp_path / "member")) == [600]


@pytest.mark.parametrize("text", ["x", "", "0 100000", "50000 0", "-1 100000", "\udcff"])
def test_what_says_nothing_limits_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert list(core_quotas(tmp_path, tmp_path / "member")) == []


@pytest.mark.parametrize(("stat", "room"), [("anon 300\ninactive_file 250", 350), ("x", 100), ("inactive_file y", 100)])
def test_files_that_were_only_read_leave_room(tmp_path: Path, stat: str, room: int) -> None:
    group(tmp_path, memory__max="1000", memory__current="900", memory__stat=stat)
    assert list(memory_rooms(tmp_path, tmp_path / "member")) == [room]


def test_the_folders_above_a_group_of_version_1_hold_sums_of_their_own(tmp_path: Path) -> None:
    stat = "inactive_file 10\ntotal_inactive_file 70"
    group(tmp_path / "memory", memory__limit_in_bytes="100", memory__usage_in_bytes="90", memory__stat=stat)
    assert list(memory_rooms(tmp_path, tmp_path / "member")) == [80]
