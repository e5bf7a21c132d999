"""How many bytes a run takes: of a process's memory, and of the disk for rows, predictions and maps.

Measured on rendered people; ``tools/forecast_check.py`` holds every figure against runs, a test does so for small ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sapiens_bench.engine.samples import budget_bytes
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.types import Adapter, KnowsSizes

BASE_BYTES = 650_000_000  # of a process that has loaded torch and its libraries
PICTURE = 768 * 1024  # pixels, where the set does not say
HELD = 64  # images of a cell on their way, at most


class Files(NamedTuple):
    """Bytes of a cell's files: of each shard with its commit, of an image in it, and of a class of an image."""

    a_file: int
    a_row: int
    a_class: int = 0


FILES = {
    "pose": Files(8_500, 740),  # rows and predictions
    "seg": Files(4_600, 150, 18),
    "depth": Files(10_200, 440),
    "normal": Files(9_000, 3_750),
}
OTHER = Files(10_000, 400)
CELL_BYTES = 2_000  # of the file that says what a cell is
MAP_BYTES = {"seg": 8_000, "depth": 290_000, "normal": 1_000_000, "matting": 250_000, "albedo": 650_000}  # of a PICTURE


class InWork(NamedTuple):
    """Bytes of memory: of an image with its truth, for each of its pixels; of a network, beside its weights."""

    a_pixel: int
    network: int


IN_WORK = {
    "pose": InWork(4, 230_000_000),
    "seg": InWork(5, 250_000_000),
    "depth": InWork(9, 350_000_000),
    "normal": InWork(17, 350_000_000),
}
OTHER_IN_WORK = InWork(9, 350_000_000)


def disk_bytes(task: str, n: int, shard_size: int, classes: int = 0, map_pixels: int = 0) -> int:
    """Of one cell.

    Args:
        n: images.
        classes: that a labelling task tells apart.
        map_pixels: of a dense prediction that is kept; 0: none is.
    """
    files = FILES.get(task, OTHER)
    kept = CELL_BYTES + math.ceil(n / shard_size) * files.a_file + n * (files.a_row + classes * files.a_class)
    return kept + round(n * MAP_BYTES.get(task, 0) * map_pixels / PICTURE)


def picture_pixels(adapter: Adapter) -> int:
    """Of the first picture of a set, which is not opened: as the set declares."""
    return (adapter.pixels(0) if isinstance(adapter, KnowsSizes) and len(adapter) else 0) or PICTURE


def host_bytes(cells: Sequence[CellSpec], pixels: Mapping[str, int]) -> int:
    """Of the largest process at its peak: libraries, a network with its activations, and images that are held with
    their truth, for the next model where there are several.

    Args:
        pixels: of a picture of each data set, by its id.
    """
    several = len({spec.cell.model for spec in cells}) > 1
    return BASE_BYTES + max((_cell_bytes(spec, pixels[spec.cell.dataset], several) for spec in cells), default=0)


def _cell_bytes(spec: CellSpec, pixels: int, several: bool) -> int:
    held, network = IN_WORK.get(spec.cell.task, OTHER_IN_WORK)
    weights, image = spec.record.weights_bytes or 0, pixels * held
    images = min(budget_bytes(), spec.cell.n_samples * image) if several else min(HELD, spec.cell.n_samples) * image
    return 3 * weights + (network if weights else 0) + images
