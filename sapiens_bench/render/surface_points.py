"""Points of face and body that lie on the kit's surface: ``embedded/surface_points.csv``.

Made by tools/place_face_points.py. Each is a point of one triangle of the kit, so it follows every shape, expression
and pose exactly. The person's left and right are mirror images.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from sapiens_bench.errors import DataMissing
from sapiens_bench.render.human_kit import Doubles, Ints

FILE = "surface_points.csv"
FIELDS = ("name", "vertex_a", "vertex_b", "vertex_c", "weight_a", "weight_b", "weight_c")


@dataclass(frozen=True, slots=True, eq=False)
class SurfacePoints:
    """Named points in barycentric coordinates."""

    names: tuple[str, ...]
    vertex_N3: Ints  # of the kit
    weight_N3: Doubles  # rows sum to 1

    def on(self, vertices_V3: Doubles) -> Doubles:
        """Where they are on a body of the kit, float64 [N, 3]."""
        corners = vertices_V3[self.vertex_N3]
        w = self.weight_N3[..., None]
        return np.asarray(corners[:, 0] * w[:, 0] + corners[:, 1] * w[:, 1] + corners[:, 2] * w[:, 2])


@lru_cache(maxsize=1)
def load_points() -> SurfacePoints:
    """The points shipped with the package.

    Raises:
        DataMissing: the file is not there or not ours; a broken installation.
    """
    path = resources.files("sapiens_bench.embedded") / FILE
    try:
        rows = list(csv.reader(path.read_text("utf-8").splitlines()))
        if tuple(rows[0]) != FIELDS:
            raise ValueError(f"columns {rows[0]}")
        names, numbers = [row[0] for row in rows[1:]], np.array([row[1:] for row in rows[1:]], np.float64)
        return SurfacePoints(tuple(names), numbers[:, :3].astype(np.int64), numbers[:, 3:])
    except (OSError, ValueError, IndexError) as error:
        raise DataMissing(
            f"{path} cannot be read ({error}). It ships with the package: reinstall sapiens-vision-bench."
        ) from None
