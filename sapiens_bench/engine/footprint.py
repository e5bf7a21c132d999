"""How many bytes a run takes: of a process's memory, and of the disk for rows, predictions and maps.

Measured on rendered people; ``tools/forecast_check.py`` holds every figure against runs, a test does so for small ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sapiens_bench.engine.samples import budget_bytes
from sapiens_bench.engine.specs import CellSpec

BASE_BYTES = 640 << 20  # of a process that has loaded torch and its libraries
PICTURE = 768 * 1024  # pixels
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
MAP_BYTES = {"seg": 8_000, "depth": 250_000, "normal": 900_000, "matting": 250_000, "albedo": 650_000}  # of a PICTURE


def disk_bytes(task: str, n: int, shard_size: int, classes: int = 0, *, maps: bool = False) -> int:
    """Of one cell.

    Args:
        n: images.
        classes: that a labelling task tells apart.
        maps: whether dense predictions are kept.
    """
    files = FILES.get(task, OTHER)
    kept = CELL_BYTES + math.ceil(n / shard_size) * files.a_file + n * (files.a_row + classes * files.a_class)
    return kept + (n * MAP_BYTES.get(task, 0) if maps else 0)


def host_bytes(cells: Sequence[CellSpec]) -> int:
    """Of the largest process at its peak: libraries, the largest network with its activations, and pictures that are
    held, for the next model where there are several.
    """
    weights = max((spec.record.weights_bytes or 0 for spec in cells), default=0)
    n = max((spec.cell.n_samples for spec in cells), default=0)
    several = len({spec.cell.model for spec in cells}) > 1
    return BASE_BYTES + 3 * weights + (min(budget_bytes(), n * PICTURE * 3) if several else min(HELD, n) * PICTURE * 3)
