"""Opening data sets as the plan does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.folder import DenseFolder
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options


@pytest.fixture(scope="session")
def open_folder() -> Callable[..., DenseFolder]:
    """``open_folder(root, protocol, max_pixels=..., **options)``: a plain dense folder."""
    catalog = Catalog.load()
    card = catalog.dataset("folder")

    def opened(root: Path, protocol: str, max_pixels: int = 100_000_000, **options: Any) -> DenseFolder:
        p = card.protocols[protocol]
        return DenseFolder(
            DataContext(
                card=card,
                protocol=p,
                space=catalog.space(p.space) if p.space else None,
                to_space=catalog.sources_of(p.space),
                root=root,
                split="",
                boxes="",
                seed=0,
                options=read_options(DenseFolder.Options, {**p.options, **options}, "test"),
                max_pixels=max_pixels,
            )
        )

    return opened
