"""The toy task, and rows of it made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from sapiens_bench.testing import toy as toy_module


@pytest.fixture
def toy() -> Iterator[ModuleType]:
    """``sapiens_bench.testing.toy``, its task installed."""
    import torch

    torch.set_num_threads(1)
    with toy_module.installed():
        yield toy_module
