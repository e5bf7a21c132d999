"""Decoded samples shared by the models of one run: a picture that several models look at is read once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sapiens_bench.cgroups import memory_rooms
from sapiens_bench.types import Adapter, Sample

MOST_BYTES = 1 << 30
SHARE_OF_FREE = 0.1


def budget_bytes() -> int:
    """A tenth of the memory that is free now, also by the limits of this process's groups; at most 1 GiB."""
    import psutil

    return min(MOST_BYTES, int(SHARE_OF_FREE * min([psutil.virtual_memory().available, *memory_rooms()])))


class SharedSamples:
    """An adapter that keeps what it has read while there is room; what does not fit is read again each time.

    Models pass over the samples in order, so the first ones are kept and nothing is displaced: displacing the oldest
    would lose every sample just before it is needed. The loader makes the arrays of every sample read-only, so that
    no model changes what the next one sees.
    """

    def __init__(self, adapter: Adapter, budget: int) -> None:
        self._adapter, self._left = adapter, budget
        self._kept: dict[int, Sample] = {}
        self._lock = threading.Lock()
        self.keys: Sequence[str] = adapter.keys
        self.groups: Sequence[str] = adapter.groups
        self.manifest_sha256 = adapter.manifest_sha256

    def __len__(self) -> int:
        return len(self._adapter)

    def __getitem__(self, index: int) -> Sample:
        found = self._kept.get(index)
        if found is not None:
            return found
        sample = self._adapter[index]
        size = sum(array.nbytes for array in arrays_in(sample))
        with self._lock:
            if index in self._kept or size > self._left:
                return sample
            self._left -= size
        self._kept[index] = sample
        return sample


def freeze(sample: Sample) -> None:
    """Make every array of a sample read-only."""
    for array in arrays_in(sample):
        array.setflags(write=False)


def arrays_in(value: Any) -> list[np.ndarray[Any, Any]]:
    """Every array of a record, of the records in it, and of its dicts, lists and tuples."""
    if isinstance(value, np.ndarray):
        return [value]
    if is_dataclass(value):
        return [array for field in fields(value) for array in arrays_in(getattr(value, field.name))]
    if isinstance(value, dict):
        return [array for item in value.values() for array in arrays_in(item)]
    if isinstance(value, list | tuple):
        return [array for item in value for array in arrays_in(item)]
    return []
