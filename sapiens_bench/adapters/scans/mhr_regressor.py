"""The keypoint regressor of MHR bodies: 308 points as weighted sums of a body's vertices and joints.

Source: facebookresearch/sam-3d-body, sam_3d_body/models/heads/mhr_head.py: the parameter ``keypoint_mapping``
[308, 18439 + 127] times vertices followed by joints, "sapiens 308 keypoints"; metadata/mhr70.py names the first 70,
and they stand as in Sapiens' own list. That the other 238 follow that list too is the word of that comment alone.

Axes: P weights that are not 0, V vertices, J joints, K points.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DatasetRejected, SampleFault, SapiensBenchError, raise_if_machine
from sapiens_bench.pixels.arrays import load_npy, load_one

N_VERTICES, N_JOINTS, N_POINTS = 18439, 127, 308
NAME = "keypoint_mapping"
MAX_SPREAD = 0.15  # of the body's height: the middle point's distance from the vertices it is made of, see ``check``
_SUM_TOLERANCE = 1e-3
_LEAST_SPAN = 0.5  # of the body's largest extent: so far apart some of its joints must be
_GROWN = 0.25  # of the same: so far outside of the body joints may lie

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Regressor:
    """A regressor as it was read."""

    row_P: NDArray[np.int64]
    column_P: NDArray[np.int64]
    weight_P: Doubles
    sha256: str

    @property
    def is_given_K(self) -> NDArray[np.bool_]:
        """Points that have weights; the others are not labelled."""
        return np.bincount(self.row_P, minlength=N_POINTS) > 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the table should know."""
        found = []
        if n := int((~self.is_given_K).sum()):
            found.append(f"{n} of the {N_POINTS} points have no weight in the regressor and are not labelled")
        sums = np.bincount(self.row_P, self.weight_P, N_POINTS)[self.is_given_K]
        if n := int((np.abs(sums - 1) > _SUM_TOLERANCE).sum()):
            found.append(
                f"the weights of {n} points do not sum to 1, so these move with the origin of the meshes: keep the "
                "bodies in the model's own frame"
            )
        return tuple(found)

    def points(self, body_B3: Doubles) -> Doubles:
        """Points of a body, float64 [K, 3], in its own units and axes; NaN where there are no weights."""
        terms = body_B3[self.column_P] * self.weight_P[:, None]
        out: Doubles = np.stack([np.bincount(self.row_P, terms[:, k], N_POINTS) for k in range(3)], 1).astype(
            np.float64
        )
        out[~self.is_given_K] = np.nan
        return out

    def check(self, body_B3: Doubles, what: str) -> None:
        """Raises SampleFault (scan.joints, scan.topology) for a body that cannot be meant.

        Vertices in another order give numbers too, but a point is then made of vertices all over the body.
        """
        vertices, joints = body_B3[:N_VERTICES], body_B3[N_VERTICES:]
        lower, upper = vertices.min(0), vertices.max(0)
        size = (upper - lower).max()
        inside = ((joints >= lower - _GROWN * size) & (joints <= upper + _GROWN * size)).all(1)
        if inside.mean() < 0.9 or np.ptp(joints, 0).max() < _LEAST_SPAN * size:
            raise SampleFault(
                "scan.joints",
                f"{what}: its {N_JOINTS} joints do not span the body ({int((~inside).sum())} lie outside). Mesh and "
                "joints need one unit and one frame (the model gives both in centimetres).",
            )
        apart = ((body_B3[self.column_P] - self.points(body_B3)[self.row_P]) ** 2).sum(1)
        weight = np.abs(self.weight_P)
        total = np.bincount(self.row_P, weight, N_POINTS)[self.is_given_K]
        spread = np.sqrt(np.bincount(self.row_P, weight * apart, N_POINTS)[self.is_given_K] / total)
        middle = float(np.median(spread)) / float(size)
        if not middle <= MAX_SPREAD:
            raise SampleFault(
                "scan.topology",
                f"{what}: the vertices that make up a point lie {100 * middle:.0f} % of the body's height apart. They "
                "are not in the model's order, or the body does not lie where the model puts it; write meshes without "
                "merging or sorting vertices (trimesh: process=False).",
            )


def read_regressor(path: Path) -> Regressor:
    """The regressor of a ``.npz`` file (array ``keypoint_mapping``, or its only one) or a ``.npy`` file.

    Raises:
        DataMissing: no such file.
        DatasetRejected: another shape, no finite numbers, or no weight at all.
    """
    weights = load_npy(path) if path.suffix.lower() == ".npy" else load_one(path, [NAME])
    shape = (N_POINTS, N_VERTICES + N_JOINTS)
    if weights.shape != shape or weights.dtype.kind != "f" or not np.isfinite(weights).all() or not weights.any():
        raise DatasetRejected(
            str(path),
            [f"{NAME} is {weights.dtype} {weights.shape}; needed are finite weights {shape}, not all of them 0"],
            "Save the parameter keypoint_mapping of SAM 3D Body's checkpoint as it is.",
        )
    row, column = np.nonzero(weights)
    exact = weights[row, column].astype(np.float64)
    sha256 = hashlib.sha256(b"".join(a.tobytes() for a in (row.astype("<i8"), column.astype("<i8"), exact)))
    return Regressor(row, column, exact, sha256.hexdigest())


def read_joints(path: Path) -> Doubles:
    """Joints of one body, float64 [J, 3]: ``.npy``, [127, 3] or the model's skeleton state [127, 8], whose first three
    columns are positions.

    Raises:
        SampleFault: scan.joints.
    """
    try:
        joints: NDArray[Any] = load_npy(path)
    except SapiensBenchError as error:
        raise_if_machine(error)
        raise SampleFault("scan.joints", str(error)) from None
    if joints.dtype.kind != "f" or joints.shape not in ((N_JOINTS, 3), (N_JOINTS, 8)) or not np.isfinite(joints).all():
        raise SampleFault(
            "scan.joints",
            f"{path} holds {joints.dtype} {joints.shape}; needed are finite positions ({N_JOINTS}, 3), or skeleton "
            f"states ({N_JOINTS}, 8).",
        )
    return joints[:, :3].astype(np.float64)
