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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError, UsageError
from sapiens_bench.models.parts.trunks import Trunk
from sapiens_bench.probe.parts import Elsewhere, feature_maps, read_part
from sapiens_bench.probe.people import person_view
from sapiens_bench.probe.views import Arrays, Grid, draws, make_view
from sapiens_bench.store.files import write_atomic
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.types import Adapter

BLOCK = 64  # rows between two commits
ON_DEVICE_SHARE = 0.5  # of a device's free memory that rows may take
VERSION = 1  # of views: raised whenever one could come out differently
Progress = Callable[[str, int, int], None]
Make = Callable[[int, int], tuple[list[Arrays], list[str]] | None]  # rows of a block, and their pictures


@dataclass(frozen=True)
class TrainingData:
    """What a head is fitted on: one data set, opened once a task, with the same samples in each."""

    adapters: Mapping[str, Adapter]  # task -> data set under its protocol
    flip_index: NDArray[np.int64] | None  # of the label set, where there is one
    indices: tuple[int, ...]  # samples used, in the adapters' order
    n_views: int
    grid: Grid
    seed: int
    people: tuple[int, ...] = ()  # pose: who of the sample at each place is meant; samples then come once a person

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
        parts += [self.people] if self.people else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]

    def views(self, place: int, numbers: Sequence[int]) -> tuple[list[Arrays], str]:
        """Views of the sample at a place, and the hash of its picture as it lies in the data set.

        Raises:
            SampleFault: the picture or its truth is damaged.
            ShapeError: the tasks' samples are not the same.
        """
        index = self.indices[place]
        samples = {task: adapter[index] for task, adapter in self.adapters.items()}
        pictures = [sample.input for sample in samples.values()]
        if len({picture.key for picture in pictures}) != 1:
            raise ShapeError(f"sample {index} is not the same for every task: {[picture.key for picture in pictures]}")
        targets = {task: sample.target for task, sample in samples.items()}
        image, key = pictures[0].image_HW3, pictures[0].key
        if self.people:
            made = [self._person(image, targets["pose"], key, self.people[place], n) for n in numbers]
        else:
            made = [
                make_view(image, targets, n, self.grid, draws("probe view", self.seed, key, n), self.flip_index)
                for n in numbers
            ]
        return made, picture_hash(image)

    def _person(self, image: NDArray[np.uint8], target: PoseTarget, key: str, person: int, number: int) -> Arrays:
        assert self.flip_index is not None
        rng = draws("probe person", self.seed, key, person, number)
        return person_view(image, target, person, number, self.grid.input_hw, rng, self.flip_index)


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


@dataclass(frozen=True)
class DeviceRows:
    """Rows that lie on the device that trains."""

    arrays: dict[str, torch.Tensor]

    def batch(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Copies of some rows, on the device."""
        order = torch.tensor(list(rows))
        index = order.to(next(iter(self.arrays.values())).device, non_blocking=True)
        return {name: array[index] for name, array in self.arrays.items()}


def near(rows: Rows, device: str) -> Rows | DeviceRows:
    """The rows in the memory of a CUDA device where they take at most half of what is free; else as they are."""
    kind = torch.device(device)
    if kind.type != "cuda":
        return rows
    size = sum(array.nbytes for array in rows.arrays.values())
    if size > ON_DEVICE_SHARE * torch.cuda.mem_get_info(kind)[0]:
        return rows
    try:
        return on_device(rows, device)
    except torch.cuda.OutOfMemoryError:  # another process was quicker
        torch.cuda.empty_cache()
        return rows


def on_device(rows: Rows, device: str) -> DeviceRows:
    """All rows on a device, copied in parts: the host holds few at a time."""
    found = {}
    for name, array in rows.arrays.items():
        first = torch.from_numpy(np.array(array[:1]))
        found[name] = torch.empty(array.shape, dtype=first.dtype, device=device)
        for start in range(0, len(array), BLOCK):
            found[name][start : start + BLOCK] = torch.from_numpy(np.array(array[start : start + BLOCK])).to(device)
    return DeviceRows(found)


def views_of(data: TrainingData, root: Path, progress: Progress, workers: int = 1) -> Rows:
    """The views, made where they are missing, several pictures at a time.

    Raises:
        UsageError: there is no sample. SampleFault: a damaged one. StorageFull: no room.
    """
    if not data.n_rows:
        raise UsageError("There is no sample to fit a head on.")
    folder = root / f"views-{data.key()}"

    def make(first: int, last: int) -> tuple[list[Arrays], list[str]]:
        numbers: dict[int, list[int]] = {}
        for row in range(first, last):
            numbers.setdefault(row // data.n_views, []).append(row % data.n_views)
        made = list(pool.map(data.views, numbers, numbers.values()))
        return [view for views, _ in made for view in views], [picture for views, picture in made for _ in views]

    with ThreadPoolExecutor(max(1, workers), "sapiens-views") as pool:  # decoding and warping leave Python to others
        return _filled(folder, data.n_rows, make, lambda done: progress("views", done, data.n_rows))


def maps_of(
    data: TrainingData,
    views: Rows,
    trunk: Trunk,
    root: Path,
    device: str,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> Rows:
    """The trunk's feature maps of every view, float16, made where they are missing, here or by workers elsewhere."""
    key = hashlib.sha256(f"{data.key()}\n{trunk.identity}\n{trunk.taps}".encode()).hexdigest()[:20]
    images, folder = views.arrays["image"], root / f"maps-{key}"
    n_rows = len(images)

    def told(done: int) -> None:
        progress("feature maps", done, n_rows)

    def of_part(first: int, last: int) -> tuple[list[Arrays], list[str]] | None:
        maps = read_part(folder, first)
        return None if maps is None else _rows_of(maps, last - first)

    def make(first: int, last: int) -> tuple[list[Arrays], list[str]]:
        return of_part(first, last) or _rows_of(feature_maps(trunk, images[first:last], device), last - first)

    if elsewhere is not None:
        blocks = [(first, min(first + BLOCK, n_rows)) for first in range(_state(folder)["done"], n_rows, BLOCK)]
        view_file = root / f"views-{data.key()}" / "image.npy"
        elsewhere.make(view_file, folder, blocks, lambda: _fill(folder, n_rows, of_part, told))
    found = _filled(folder, n_rows, make, told)
    for part in folder.glob("part-*.npz"):  # all are in the cache
        part.unlink(missing_ok=True)
    return found


def _rows_of(maps: Arrays, n: int) -> tuple[list[Arrays], list[str]]:
    return [{name: m[i] for name, m in maps.items()} for i in range(n)], []


def _filled(folder: Path, n_rows: int, make: Make, on_done: Callable[[int], None]) -> Rows:
    """The arrays of a folder, its missing rows made block by block."""
    state = _fill(folder, n_rows, make, on_done)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in state["parts"]}
    return Rows(arrays, tuple(state["pictures"]))


def _fill(folder: Path, n_rows: int, make: Make, on_done: Callable[[int], None]) -> dict[str, Any]:
    """Missing rows, block by block, as far as ``make`` has them; what is there now."""
    state = _state(folder)
    while state["done"] < n_rows:
        first = state["done"]
        last = min(first + BLOCK, n_rows)
        made = make(first, last)
        if made is None:
            break
        rows, pictures = made
        folder.mkdir(parents=True, exist_ok=True)
        for name in rows[0]:
            block = np.stack([row[name] for row in rows])
            array = _open(folder / f"{name}.npy", (n_rows, *block.shape[1:]), block.dtype, new=first == 0)
            array[first:last] = block
            array.flush()
        state = {"done": last, "parts": list(rows[0]), "pictures": state["pictures"] + pictures}
        write_atomic(folder / "done.json", json.dumps(state).encode())
        on_done(last)
    return state


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
