"""Faults at random moments of real runs: after the same command nothing is lost, doubled, spoilt, or scored otherwise.

Here a few of each; ``pytest -m soak`` injects 25 and more of each, as ``tools/measure_faults.py`` does for the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_suite import disks, flips, growth, ray_runs, renders, toy_runs
from fault_suite.tally import Tally, Unbroken, judge
from fault_suite.toy_runs import DATA, FIELDS, Starter

from sapiens_bench.store.rows import read_rows, remove_shard
from sapiens_bench.testing import toy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them")
UNHARMED = (0, 0, 0, 0.0, [])
N_SOAK = 25


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with toy.installed():
        yield Starter(tmp_path_factory.mktemp("unbroken"))


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, pytest.param(N_SOAK, marks=pytest.mark.soak)])
def test_a_killed_run_ends_as_an_unbroken_one(starter: Starter, tmp_path: Path, n: int) -> None:
    tally = toy_runs.driver_killed(starter, tmp_path, n, seed=n)
    assert tally.damage == UNHARMED
    assert max(tally.recomputed) == 0  # a shard in flight was not committed, so no work is done twice


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, pytest.param(N_SOAK, marks=pytest.mark.soak)])
def test_another_machine_goes_on_with_what_the_store_has(starter: Starter, tmp_path: Path, n: int) -> None:
    tally = toy_runs.machine_lost(starter, tmp_path, n, seed=n)
    assert tally.damage == UNHARMED
    assert max(tally.recomputed) == 0


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, pytest.param(N_SOAK, marks=pytest.mark.soak)])
def test_a_file_that_may_not_grow_ends_the_run_resumably(starter: Starter, tmp_path: Path, n: int) -> None:
    tally = disks.size_limited(starter, tmp_path, n, seed=n)
    assert tally.damage == UNHARMED
    assert max(tally.recomputed) == 0


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_full_disk_ends_the_run_resumably(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    tally = disks.disk_filled(tmp_path, N_SOAK, 0, engine)
    if tally is None:
        pytest.skip("no file system may be mounted here")
    assert tally.damage == UNHARMED


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, pytest.param(N_SOAK, marks=pytest.mark.soak)])
def test_of_two_runs_on_one_folder_one_works_at_a_time(starter: Starter, tmp_path: Path, n: int) -> None:
    assert toy_runs.two_runs(starter, tmp_path, n, seed=n).damage == UNHARMED


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_flipped_bit_is_seen_and_its_shard_made_again(starter: Starter, tmp_path: Path, n: int) -> None:
    tally = flips.bits_flipped(tmp_path, n, seed=n)
    assert tally.damage == UNHARMED
    assert max(tally.recomputed) == 1


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, pytest.param(N_SOAK, marks=pytest.mark.soak)])
def test_pictures_of_a_killed_renderer_are_made_by_another(tmp_path: Path, n: int) -> None:
    tally = renders.renderers_killed(tmp_path, n, seed=n)
    assert tally.damage == UNHARMED


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.filterwarnings("default")  # Ray leaves files and threads to the end of the process
@pytest.mark.parametrize("fault", ray_runs.FAULTS)
def test_on_a_cluster_whatever_ends_or_joins_nothing_is_lost(fault: Callable[..., Tally], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with toy.installed():
        tally = fault(tmp_path, N_SOAK, seed=0)
    assert tally.damage == UNHARMED
    assert tally.met >= N_SOAK


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("long_run", [growth.long_run, growth.long_run_on_ray])
def test_memory_does_not_grow_with_the_rows(long_run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    if long_run is growth.long_run_on_ray:
        pytest.importorskip("ray")
    found = long_run(tmp_path, 100_000, 12, seed=0)
    assert (found["rows_lost"], found["rows_duplicated"], found["rows_corrupt"]) == (0, 0, 0)
    assert found["complaints"] == []
    assert found["metric_diff_after_resume"] == 0.0
    assert found["rss_mb_at_the_end"] - found["rss_mb_after_a_tenth"] < 50


def test_the_judge_sees_what_is_lost_doubled_and_spoilt(tmp_path: Path) -> None:
    with toy.installed():
        out = tmp_path / "run"
        toy.go(out, DATA, **FIELDS)
        unbroken, tally = Unbroken.of(out), Tally()
        judge(tally, out, unbroken)
        assert tally.damage == UNHARMED
        cell = out / "rows/toy/toy/plain/toy-plain"
        assert read_rows(cell).num_rows == DATA["n"]
        remove_shard(cell, 3)
        (out / ".tmp-stray").touch()
        judge(tally, out, unbroken)
    assert tally.rows_lost == FIELDS["shard_size"]
    assert tally.rows_corrupt == 2  # the shard and its commit
    assert any("planned rows found" in text for text in tally.complaints)
    assert any("left behind" in text for text in tally.complaints)
