"""Rows move to a GPU where they have room, and give the same batches there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sapiens_bench.probe import cache
from sapiens_bench.probe.cache import DeviceRows, Rows, near, on_device

ROWS = Rows({"image": np.arange(600, dtype=np.uint8).reshape(100, 6), "depth": np.ones((100, 2), np.float32)})


def free(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    """A GPU with so much free memory, whose copies stay on the CPU."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (n_bytes, n_bytes))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(cache, "on_device", lambda rows, device: on_device(rows, "cpu"))


def test_batches_on_a_device_are_those_of_the_disk() -> None:
    found, wanted = on_device(ROWS, "cpu").batch([70, 3, 3]), ROWS.batch([70, 3, 3])
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert found["image"].dtype == torch.uint8


def test_rows_move_only_where_they_take_at_most_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(array.nbytes for array in ROWS.arrays.values())
    assert near(ROWS, "cpu") is ROWS
    free(monkeypatch, 2 * size - 1)
    assert near(ROWS, "cuda") is ROWS
    free(monkeypatch, 2 * size)
    assert isinstance(near(ROWS, "cuda:0"), DeviceRows)


def test_rows_stay_where_another_process_took_the_memory_first(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**9)

    def full(rows: Rows, device: str) -> DeviceRows:
        raise torch.cuda.OutOfMemoryError("taken")

    monkeypatch.setattr(cache, "on_device", full)
    assert near(ROWS, "cuda") is ROWS
