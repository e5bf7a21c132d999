"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with golden outputs and sample data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("SAPIENS_BENCH_SHARED", REPOSITORY.parent / "shared"))
    if not (path / "golden").is_dir():
        pytest.skip("golden fixtures not found: set SAPIENS_BENCH_SHARED")
    return path


@pytest.fixture(autouse=True)
def _isolated_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, and none may reach the network through the hub client."""
    if "SAPIENS_BENCH_TEST_CACHE" not in os.environ:
        os.environ["SAPIENS_BENCH_TEST_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", os.environ["SAPIENS_BENCH_TEST_CACHE"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
