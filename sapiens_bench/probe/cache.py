"""Views and feature maps on disk: made once for a data set and once a trunk, used by every head and seed.

    <cache>/probe/views-<key>/<part>.npy       picture and truth of every view; the key covers data, sizes, views, seed
    <cache>/probe/maps-<key>/<tap>.npy         float16 feature maps of the same rows; the key covers the trunk as well
    .../done.json                              rows that are complete; written after them, so a stopped process goes on

Row ``i * n_views + v`` is view v of the i-th sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError, UsageError
from sapiens_bench.models.parts.trunks import Trunk
from sapiens_bench.probe.views import Arrays, Grid, draws, make_view
from sapiens_bench.store.files import write_atomic
from sapiens_bench.types import Adapter, Sample

BLOCK = 32  # rows between two commits
VERSION = 1  # of views: raised whenever one could come out differently
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainingData:
    """What a head is fitted on: one data set, opened once a task, with the same samples in each."""

    adapters: Mapping[str, Adapter]  # task -> data set under its protocol
    flip_index: NDArray[np.int64] | None  # of the label set, where there is one
    indices: tuple[int, ...]  # samples used, in the adapters' order
    n_views: int
    grid: Grid
    seed: int
    _kept: dict[int, dict[str, Sample]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def first(self) -> Adapter:
        return next(iter(self.adapters.values()))

    @property
    def n_rows(self) -> int:
        return len(self.indices) * self.n_views

    @property
    def keys(self) -> list[str]:
        """Of the samples used."""
        return [self.first.keys[index] for index in self.indices]

    def key(self) -> str:
        """Text that differs when any view could."""
        manifests = {task: adapter.manifest_sha256 for task, adapter in sorted(self.adapters.items())}
        flips = None if self.flip_index is None else self.flip_index.tolist()
        parts = [VERSION, manifests, self.keys, self.n_views, self.grid.input_hw, self.grid.stride, self.seed, flips]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]

    def view(self, row: int) -> tuple[Arrays, str]:
        """One view, and the hash of its picture as it lies in the data set.

        Raises:
            SampleFault: the picture or its truth is damaged.
            ShapeError: the tasks' samples are not the same.
        """
        place, number = divmod(row, self.n_views)
        index = self.indices[place]
        samples = self._samples(index)
        pictures = [sample.input for sample in samples.values()]
        if len({picture.key for picture in pictures}) != 1:
            raise ShapeError(f"sample {index} is not the same for every task: {[picture.key for picture in pictures]}")
        rng = draws("probe view", self.seed, pictures[0].key, number)
        targets = {task: sample.target for task, sample in samples.items()}
        view = make_view(pictures[0].image_HW3, targets, number, self.grid, rng, self.flip_index)
        return view, picture_hash(pictures[0].image_HW3)

    def _samples(self, index: int) -> dict[str, Sample]:
        """One sample for each task; the last one is remembered, since its views are asked for in a row."""
        if index not in self._kept:
            self._kept.clear()
            self._kept[index] = {task: adapter[index] for task, adapter in self.adapters.items()}
        return self._kept[index]


def picture_hash(image_HW3: NDArray[np.uint8]) -> str:
    """Of the pixels, whatever the file's format."""
    return hashlib.sha256(repr(image_HW3.shape).encode() + np.ascontiguousarray(image_HW3).tobytes()).hexdigest()


@dataclass(frozen=True)
class Rows:
    """Arrays on disk, one row a view; opened read-only."""

    arrays: dict[str, NDArray[Any]]
    pictures: tuple[str, ...] = ()  # hashes of the pictures, row by row; of views only

    def batch(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Copies of some rows as tensors."""
        order = np.asarray(rows)
        return {name: torch.from_numpy(np.array(array[order])) for name, array in self.arrays.items()}


def views_of(data: TrainingData, root: Path, progress: Progress) -> Rows:
    """The views, made where they are missing.

    Raises:
        UsageError: there is no sample. SampleFault: a damaged one. StorageFull: no room.
    """
    if not data.n_rows:
        raise UsageError("There is no sample to fit a head on.")
    folder = root / f"views-{data.key()}"

    def make(first: int, last: int) -> tuple[list[Arrays], list[str]]:
        made = [data.view(row) for row in range(first, last)]
        return [view for view, _ in made], [picture for _, picture in made]

    return _filled(folder, data.n_rows, make, lambda done: progress("views", done, data.n_rows))


def maps_of(data: TrainingData, views: Rows, trunk: Trunk, root: Path, device: str, progress: Progress) -> Rows:
    """The trunk's feature maps of every view, float16, made where they are missing."""
    key = hashlib.sha256(f"{data.key()}\n{trunk.identity}\n{trunk.taps}".encode()).hexdigest()[:20]
    images = views.arrays["image"]

    def make(first: int, last: int) -> tuple[list[Arrays], list[str]]:
        with torch.inference_mode():
            maps = trunk(torch.from_numpy(np.array(images[first:last])).to(device))
        limit = torch.finfo(torch.float16).max
        found = [m.float().clamp(-limit, limit).half().cpu().contiguous().numpy() for m in maps]
        names = [tap.name for tap in trunk.taps]
        return [{name: m[i] for name, m in zip(names, found, strict=True)} for i in range(last - first)], []

    return _filled(root / f"maps-{key}", len(images), make, lambda done: progress("feature maps", done, len(images)))


def _filled(
    folder: Path,
    n_rows: int,
    make: Callable[[int, int], tuple[list[Arrays], list[str]]],
    on_done: Callable[[int], None],
) -> Rows:
    """The arrays of a folder, its missing rows made block by block."""
    state = _state(folder)
    while state["done"] < n_rows:
        first = state["done"]
        last = min(first + BLOCK, n_rows)
        rows, pictures = make(first, last)
        folder.mkdir(parents=True, exist_ok=True)
        for name in rows[0]:
            block = np.stack([row[name] for row in rows])
            array = _open(folder / f"{name}.npy", (n_rows, *block.shape[1:]), block.dtype, new=first == 0)
            array[first:last] = block
            array.flush()
        state = {"done": last, "parts": list(rows[0]), "pictures": state["pictures"] + pictures}
        write_atomic(folder / "done.json", json.dumps(state).encode())
        on_done(last)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in state["parts"]}
    return Rows(arrays, tuple(state["pictures"]))


def _state(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "done.json").read_text())
        if all((folder / f"{name}.npy").is_file() for name in found["parts"]):
            return found
    except (OSError, ValueError, KeyError):
        pass  # nothing there, or cut off: made again
    return {"done": 0, "parts": [], "pictures": []}


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, new: bool) -> Any:
    if new:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return np.lib.format.open_memmap(path, mode="r+")
