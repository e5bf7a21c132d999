"""The toy, and tiny Sapiens networks on the photographs of the sample folder, for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sapiens_bench.api import evaluate
from sapiens_bench.store.record import RunRecord
from sapiens_bench.testing import toy as toy_module


@pytest.fixture
def toy() -> Iterator[ModuleType]:
    """``sapiens_bench.testing.toy``, its task installed."""
    import torch

    torch.set_num_threads(1)
    with toy_module.installed():
        yield toy_module


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of tests/fakes that this file uses."""
    torch.set_num_threads(1)
    import sapiens_by_hand
    import sapiens_cards

    return SimpleNamespace(cards=sapiens_cards, by_hand=sapiens_by_hand)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "sapiens-v1" / "models"


@pytest.fixture
def go(shared: Path, tmp_path: Path) -> Any:
    """Run on the four photographs of the sample folder; the cards are those in tmp_path/cards."""

    def run(*models: str, out: str = "out", **request: Any) -> RunRecord:
        defaults: dict[str, Any] = {
            "task": "pose",
            "models": models,
            "datasets": ("coco-val2017",),
            "data_root": shared / "data" / "coco",
            "weights_root": tmp_path / "weights",
            "cards": (tmp_path / "cards",),
            "out": tmp_path / out,
            "n_boot": 0,
            "device": "cpu",
            "workers": 2,
            "batch_size": 1,  # other batch sizes change last bits, and noise-like maps magnify them
        }
        return evaluate(**{**defaults, **request})

    return run


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder
