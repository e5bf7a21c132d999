"""`study factor --engine ray`: pictures and rows are those of the local engine, with a worker of each kind killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from sapiens_bench.cli import app
from sapiens_bench.engine.ray_cluster import joined
from sapiens_bench.store.record import read_run

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*:ResourceWarning")]
STUDY = "study factor --task pose --models movenet-lightning --factor skin_tone --levels 2 --pairs 4"


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(study: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(study).items() if {"rows", "preds"} & set(Path(name).parts)}


def carry_out(folder: Path, monkeypatch: pytest.MonkeyPatch, *engine: str) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(folder / "cache"))
    assert not app([*STUDY.split(), "--out", str(folder / "study"), *engine], standalone_mode=False)


@contextmanager
def one_killed_of_each(kinds: set[str]) -> Iterator[None]:
    """The first process of each kind that is seen gets kill -9; what is in ``kinds`` at the end was not seen."""
    is_over = threading.Event()

    def look() -> None:
        while kinds and not is_over.wait(0.02):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    kind = child.name().removeprefix("ray::").partition(".")[0]
                    if kind in kinds:
                        child.kill()
                        kinds.discard(kind)

    killer = threading.Thread(target=look)
    killer.start()
    try:
        yield
    finally:
        is_over.set()
        killer.join()


def test_a_study_on_a_cluster_has_the_pictures_rows_and_scores_of_the_local_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(tmp_path / "local", monkeypatch)
    unseen = {"JobWorker", "Worker"}  # those that render, and those that compute rows
    with joined("", cores=2), one_killed_of_each(unseen):
        carry_out(tmp_path / "ray", monkeypatch, "--engine", "ray", "--workers", "2")
    assert unseen == set()
    assert files(tmp_path / "ray" / "cache") == files(tmp_path / "local" / "cache")
    assert rows(tmp_path / "ray" / "study") == rows(tmp_path / "local" / "study")
    assert len(rows(tmp_path / "ray" / "study")) == 3 * len(rows(tmp_path / "ray" / "study" / "as-drawn"))
    for name in ("as-drawn", "skin_tone-1", "skin_tone-7"):
        local, ray = (read_run(tmp_path / engine / "study" / name) for engine in ("local", "ray"))
        assert (local.request["engine"], ray.request["engine"]) == ("local", "ray")
        assert [c.scores for c in ray.cells] == [c.scores for c in local.cells]
