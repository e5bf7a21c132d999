"""What the benchmarks share: one thread, and ratios of interleaved timings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture
def ratio() -> Callable[..., float]:
    """``ratio(base, ours, rounds=7)``: median over interleaved rounds of base time / our time (CPU seconds)."""

    def measure(base: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
        base()
        ours()
        found = []
        for _ in range(rounds):
            start = time.process_time()
            base()
            middle = time.process_time()
            ours()
            found.append((middle - start) / (time.process_time() - middle))
        return statistics.median(found)

    return measure
