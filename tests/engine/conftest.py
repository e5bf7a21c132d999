"""The toy of tests/fakes, for the engine's tests."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from sapiens_bench.tasks import TASKS


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module tests/fakes/toy_catalog.py; the real tasks are back afterwards."""
    import torch

    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "fakes"))
    monkeypatch.setattr("sapiens_bench.tasks.TASKS", dict(TASKS))
    torch.set_num_threads(1)
    import toy_catalog

    monkeypatch.setattr(toy_catalog, "TASKS", sys.modules["sapiens_bench.tasks"].TASKS)
    return toy_catalog
