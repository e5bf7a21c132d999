"""Fixtures shared by the whole suite."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest

from sapiens_bench.engine.threads import prepare_process

prepare_process()  # as the commands do: idle threads that spin hold the cores that other processes need

_LONG = ("test_docs.py", "test_profile_engine.py", "test_plugin.py", "test_distribution.py", "test_page.py",
         "test_ray_engine.py")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process works on one of them while the others have nothing left."""
    items.sort(key=lambda item: item.path.name not in _LONG)


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


@pytest.fixture(scope="session")
def sphere() -> ModuleType:
    """The module tests/fakes/sphere.py: a ball with exact depth, normals and labels."""
    return _fake("sphere")


@pytest.fixture(scope="session")
def coco() -> ModuleType:
    """The module tests/fakes/coco_data.py: COCO-format files and the adapter over them."""
    return _fake("coco_data")


@pytest.fixture(scope="session")
def random_poses() -> ModuleType:
    """The module tests/fakes/random_poses.py: random annotation and results files."""
    return _fake("random_poses")


@pytest.fixture(scope="session")
def pose_layouts() -> ModuleType:
    """The module tests/fakes/pose_layouts.py: annotation files in the layouts of pose data sets."""
    return _fake("pose_layouts")


@pytest.fixture(scope="session")
def poses() -> ModuleType:
    """The module tests/fakes/poses.py: random people and what models answered."""
    return _fake("poses")


@pytest.fixture(scope="session")
def dense_rows() -> ModuleType:
    """The module tests/fakes/dense_rows.py: rows of dense tasks."""
    return _fake("dense_rows")


@pytest.fixture(scope="session")
def discs() -> ModuleType:
    """The module tests/fakes/discs.py: pictures of balls under three tasks."""
    return _fake("discs")


def _fake(name: str) -> ModuleType:
    """A module of tests/fakes, which is on pytest's path."""
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def _isolated_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's caches, and none may reach the network."""
    if "SAPIENS_BENCH_TEST_CACHE" not in os.environ:
        os.environ["SAPIENS_BENCH_TEST_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", os.environ["SAPIENS_BENCH_TEST_CACHE"])
    monkeypatch.setenv("HF_HUB_CACHE", os.path.join(os.environ["SAPIENS_BENCH_TEST_CACHE"], "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
