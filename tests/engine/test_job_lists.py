"""Lists of jobs in a file: each comes back alone, and the file goes with the work."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sapiens_bench.engine.job_lists import list_in, listed_in
from sapiens_bench.errors import StorageFull

JOB = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5) | st.none(), max_size=2)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(JOB, max_size=3), max_size=6))
def test_each_list_comes_back_by_its_number(tmp_path_factory: pytest.TempPathFactory, lists: list[list[Any]]) -> None:
    folder = tmp_path_factory.mktemp("lists")
    with listed_in(folder, lists) as path:
        assert [list_in(path, number) for number in range(len(lists))] == lists
        for wrong in (-1, len(lists)):
            with pytest.raises(IndexError):
                list_in(path, wrong)
    assert list(folder.iterdir()) == []


def test_a_worker_holds_one_list_of_a_hundred_thousand(tmp_path: Path) -> None:
    with listed_in(tmp_path, ([{"index": i, "text": "x" * 20}] for i in range(100_000))) as path:
        tracemalloc.start()
        assert list_in(path, 99_999)[0]["index"] == 99_999
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert path.stat().st_size > 4e6
    assert most < 100_000


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFull, match="No space left"), listed_in(tmp_path, [[1]]):
        pass
    assert list(tmp_path.iterdir()) == []
