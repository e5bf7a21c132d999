"""A hub of our own, empty caches, and no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sapiens_bench.fetch import download
from sapiens_bench.testing.hub import FakeHub


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A server that answers every request of this process."""
    fake = FakeHub()
    with fake.serving():
        yield fake
