"""Balls as a data set with a card, and a small trunk."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from sapiens_bench.cards.catalog import Catalog


@pytest.fixture
def cards(discs: ModuleType, repository: Path, tmp_path: Path) -> Path:
    """Folder with the card of the balls, and its code beside it."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "discs.yaml").write_text(discs.CARD)
    (folder / "discs.py").write_text((repository / "tests" / "fakes" / "discs.py").read_text())
    return folder


@pytest.fixture
def catalog(cards: Path) -> Catalog:
    """Our cards and that of the balls."""
    return Catalog.load([cards])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
