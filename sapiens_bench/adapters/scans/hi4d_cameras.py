"""The numbers of a Hi4D sequence: calibrated cameras, first and last frame. Only members that are needed are opened."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing, DatasetRejected, raise_if_machine
from sapiens_bench.pixels.codecs import load_npz

INTRINSICS = ("intrinsics", "intirnsics")  # as public code reads it, and as the data set's document spells it
_SMALL = 1 << 16  # bytes of a scalar member of meta.npz
_MAX_FAULTS = 20
_BOTTOM = np.array([0.0, 0.0, 0.0, 1.0])  # last row of a 4 x 4 matrix


@dataclass(frozen=True, slots=True)
class Calibration:
    """One camera as calibrated. OpenCV axes, world to camera, metres."""

    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    distortion: tuple[float, ...]


def read_cameras(path: Path) -> dict[int, Calibration]:
    """Calibrated cameras by id. Extrinsics are 3 x 4, or 4 x 4 in re-packed copies.

    Raises:
        DataMissing, DatasetRejected: no such file, or not the arrays of this layout.
    """
    names = members(path)
    spelling = next((name for name in INTRINSICS if name in names), INTRINSICS[0])
    needed = ("ids", spelling, "extrinsics")
    if absent := [name for name in needed if name not in names]:
        raise DatasetRejected(str(path), [f"no array {name!r}; it has {', '.join(sorted(names))}" for name in absent])
    ids, K, Rt = (_member(path, name) for name in needed)
    ids = np.atleast_1d(ids)
    distortion = _member(path, "dist_coeffs") if "dist_coeffs" in names else np.zeros((len(ids), 5))
    if distortion.ndim == 3 and 1 in distortion.shape[1:]:  # OpenCV gives (1, 5) or (5, 1) for a camera
        distortion = distortion.reshape(len(distortion), -1)
    if faults := _shape_faults(spelling, ids, K, Rt, distortion) or _value_faults(ids, K, Rt, distortion):
        raise DatasetRejected(str(path), faults[:_MAX_FAULTS], "Fetch the calibration again.")
    return {
        int(ids[i]): Calibration(
            K[i].astype(np.float64),
            Rt[i, :3, :3].astype(np.float64),
            Rt[i, :3, 3].astype(np.float64),
            tuple(float(c) for c in distortion[i]),
        )
        for i in range(len(ids))
    }


def _shape_faults(
    spelling: str, ids: NDArray[np.generic], K: NDArray[np.generic], Rt: NDArray[np.generic], D: NDArray[np.generic]
) -> list[str]:
    n = len(ids)
    faults = [] if K.shape == (n, 3, 3) else [f"{spelling} is {K.shape}, expected ({n}, 3, 3)"]
    if Rt.shape not in ((n, 3, 4), (n, 4, 4)):
        faults.append(f"extrinsics is {Rt.shape}, expected ({n}, 3, 4)")
    if D.ndim != 2 or len(D) != n or D.shape[1] not in (4, 5, 8, 12, 14):
        faults.append(f"dist_coeffs is {D.shape}, expected ({n}, 5)")
    return faults


def _value_faults(
    ids: NDArray[np.generic], K: NDArray[np.generic], Rt: NDArray[np.generic], D: NDArray[np.generic]
) -> list[str]:
    try:
        numbers = [int(i) for i in ids]
        values = [np.asarray(a, np.float64) for a in (K, Rt, D)]
    except (TypeError, ValueError):
        return ["ids, intrinsics, extrinsics and dist_coeffs must be numbers"]
    faults = [] if len(set(numbers)) == len(numbers) else ["a camera id appears twice"]
    for i, number in enumerate(numbers):
        rotation = values[1][i, :3, :3]
        if not all(np.isfinite(a[i]).all() for a in values):
            faults.append(f"camera {number} has NaN or infinity")
        elif values[0][i, 0, 0] <= 0 or values[0][i, 1, 1] <= 0:
            faults.append(f"camera {number} has a focal length that is not positive")
        elif np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            faults.append(f"camera {number}: the first 3x3 of extrinsics is no rotation")
        elif Rt.shape[1] == 4 and not np.allclose(values[1][i, 3], _BOTTOM):
            faults.append(f"camera {number}: the last row of its 4x4 extrinsics is not 0 0 0 1")
    return faults


def members(path: Path) -> frozenset[str]:
    """Names of the arrays of an ``.npz`` file; none of them is opened.

    Raises:
        DataMissing, DatasetRejected: no plain file, or no such archive.
    """
    if not path.is_file():
        raise DataMissing(f"{path} is not there, or is not a file.")
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DatasetRejected(str(path), [f"not a sound .npz archive: {error}"], "Fetch it again.") from None


def _member(path: Path, name: str) -> NDArray[np.generic]:
    return load_npz(path, only=(name,))[name]


def whole_member(path: Path, name: str) -> int:
    """A whole number in an ``.npz`` whose other members may be anything; only this member is opened.

    Raises:
        DataMissing: the file cannot be read.
        DatasetRejected: it has no such whole number.
    """
    try:
        if name not in members(path):
            raise ValueError("it is not there")
        value = np.asarray(load_npz(path, only=(name,), max_member_bytes=_SMALL)[name]).reshape(-1)
        if len(value) != 1 or float(value[0]) != int(value[0]):
            raise ValueError(f"{name} is {value[:4]!r}")
        return int(value[0])
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DatasetRejected(str(path), [f"{name!r} is not one whole number ({error})"], "Fetch it again.") from None
