"""Packing and reading ahead."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.engine.device import cpu_has_bf16, default_batch_size, resolve_device
from sapiens_bench.engine.loader import Loaded, Loader, pack
from sapiens_bench.errors import DeviceError, UnknownName
from sapiens_bench.types import ModelInput, Prepared, Sample


def item(index: int, n_crops: int) -> Loaded:
    return Loaded(index, str(index), "g", prepared=Prepared({"x": np.zeros((n_crops, 1))}, None))


@given(crops=st.lists(st.integers(0, 9), max_size=40), budget=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_packing_keeps_order_loses_nothing_and_exceeds_the_budget_for_single_images_only(
    crops: list[int], budget: int
) -> None:
    batches = list(pack([item(i, n) for i, n in enumerate(crops)], budget))
    assert [i.index for batch in batches for i in batch] == list(range(len(crops)))
    assert all(batch for batch in batches)
    for batch in batches:
        assert len(batch) == 1 or sum(max(1, i.n_crops) for i in batch) <= budget
    for first, second in pairwise(batches):  # greedy: the next image would not have fitted
        assert sum(max(1, i.n_crops) for i in first) + max(1, second[0].n_crops) > budget


class SlowData:
    """Counts how many images were opened and not yet taken."""

    manifest_sha256 = "0"

    def __init__(self, n: int, seconds: float) -> None:
        self.keys = [str(i) for i in range(n)]
        self.groups = self.keys
        self.seconds, self.opened, self.lock = seconds, 0, threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        with self.lock:
            self.opened += 1
        time.sleep(self.seconds)
        boxes = np.zeros((1, 4), np.float32)
        return Sample(
            index, str(index), "g", ModelInput(str(index), np.zeros((2, 2, 3), np.uint8), boxes, boxes[:, 0]), 0
        )


def prepare(x: ModelInput) -> Prepared:
    return Prepared({"x": np.zeros((1, 1))}, None)


def test_no_more_than_the_window_is_read_ahead() -> None:
    data = SlowData(50, 0.0)
    with Loader(data, prepare, range(50), workers=4, window=6) as loader:
        stream = loader.take(50)
        for taken in range(1, 20):
            assert next(stream).index == taken - 1
            time.sleep(0.002)
            assert data.opened <= taken + 6


def test_reading_overlaps_the_consumer() -> None:
    """20 images of 10 ms with a consumer of 10 ms: 0.2 s side by side, 0.4 s one after the other."""
    data = SlowData(20, 0.01)
    with Loader(data, prepare, range(20), workers=2, window=6) as loader:
        for _ in loader.take(20):
            time.sleep(0.01)
        assert loader.wait_s < 0.1  # the reading itself took 0.2 s
        assert loader.prepare_s > 0.19


def test_leaving_early_does_not_wait_for_what_nobody_will_score() -> None:
    data = SlowData(500, 0.01)

    def leave() -> None:
        with Loader(data, prepare, range(500), workers=2, window=100) as loader:
            next(loader.take(500))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    time.sleep(0.05)
    opened = data.opened
    time.sleep(0.05)
    assert data.opened == opened < 110


def test_arrays_of_different_lengths_are_a_fault_of_the_model() -> None:
    def uneven(x: ModelInput) -> Prepared:
        return Prepared({"a": np.zeros((1, 1)), "b": np.zeros((2, 1))}, None)

    with Loader(SlowData(1, 0.0), uneven, range(1), workers=1, window=1) as loader:
        (found,) = loader.take(1)
    assert found.fault is not None
    assert (found.fault.code, found.fault.side) == ("model.exception", "prediction")


def test_devices_that_cannot_do_it_are_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert resolve_device("cpu") == "cpu"
    assert default_batch_size("cpu") < default_batch_size("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    for name, precision, text in [
        ("cuda", "fp32", "not available"),
        ("tpu", "fp32", "'tpu' is not known"),
        ("cpu", "fp16", "fp16 is not supported on the CPU"),
    ]:
        with pytest.raises(DeviceError, match=text):
            resolve_device(name, precision)
    with pytest.raises(UnknownName, match="bf16"):
        resolve_device("cpu", "bf61")
    (tmp_path / "old").write_text("flags : sse avx2\n")
    (tmp_path / "new").write_text("processor : 0\nflags : sse avx512_bf16\n")
    assert not cpu_has_bf16(tmp_path / "old")
    assert cpu_has_bf16(tmp_path / "new")
    monkeypatch.setattr("sapiens_bench.engine.device.cpu_has_bf16", lambda: False)
    with pytest.raises(DeviceError, match="250 times slower"):
        resolve_device("cpu", "bf16")
