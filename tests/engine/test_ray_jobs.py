"""Pictures and feature maps made by workers of a Ray cluster: the local engine's bytes, whatever ends on the way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli.data_check import open_adapter
from sapiens_bench.engine.choices import Places
from sapiens_bench.engine.ray_cluster import jobs_on, joined
from sapiens_bench.errors import UsageError, WorkerDied
from sapiens_bench.workers import run_all

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*:ResourceWarning")]
TWO = Places("ray", workers=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One for all tests here."""
    with joined("", cores=2):
        yield


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rendered(cache: Path, monkeypatch: pytest.MonkeyPatch, places: Places, limit: int, notes: list[str]) -> None:
    """The first people of the set, made as `data prepare` makes them."""
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(cache))
    catalog = Catalog.load([])
    card = catalog.dataset("synthetic-humans")
    adapter = open_adapter(catalog, card, next(iter(card.protocols)), None, "tiny")
    with jobs_on(places, notes.append):
        prepare_data(adapter, 1, limit=limit)


def test_each_engine_renders_on_where_the_other_stopped_and_a_killed_worker_costs_nothing(
    cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes: list[str] = []
    killed = threading.Event()

    def kill_one() -> None:
        while not killed.wait(0.02):
            for child in psutil.Process().children(recursive=True):
                if child.is_running() and child.name().startswith("ray::JobWorker"):
                    child.kill()
                    killed.set()
                    return

    rendered(tmp_path / "local", monkeypatch, Places(), 4, notes)
    rendered(tmp_path / "ray", monkeypatch, Places(), 1, notes)
    killer = threading.Thread(target=kill_one)
    killer.start()
    rendered(tmp_path / "ray", monkeypatch, TWO, 4, notes)
    killed.set()
    killer.join()
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert len(files(tmp_path / "ray")) >= 4


def test_results_come_back_by_their_place_and_an_exception_with_its_class(cluster: None, tmp_path: Path) -> None:
    found: dict[int, Any] = {}
    with jobs_on(TWO, list[str]().append):
        run_all("math:sqrt", [n * n for n in range(200)], 1, found.__setitem__, tmp_path)
        assert found == {n: float(n) for n in range(200)}
        with pytest.raises(RuntimeError, match="math domain error"):
            run_all("math:sqrt", [-1], 1, found.__setitem__, tmp_path)
        with pytest.raises(FileNotFoundError, match="On "):
            run_all("os:listdir", [str(tmp_path / "none")], 1, found.__setitem__, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_job_that_kills_three_workers_is_told_of_when_all_others_are_done(cluster: None, tmp_path: Path) -> None:
    found: dict[int, Any] = {}
    notes: list[str] = []
    with jobs_on(TWO, notes.append), pytest.raises(WorkerDied, match="1 of 3 jobs ended 3 workers each"):
        run_all("signal:raise_signal", [0, int(signal.SIGKILL), 0], 1, found.__setitem__, tmp_path)
    assert sorted(found) == [0, 2]
    assert all("killed or crashed" in note for note in notes)
    assert len(notes) == 3


def test_what_only_a_cluster_can_use_is_refused_without_one() -> None:
    with pytest.raises(UsageError, match="--address belongs to --engine ray"):
        Places("local", address="head:6379")
