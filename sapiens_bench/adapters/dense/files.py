"""The files of a plain dense folder (adapters/dense_folder.py), read into our units, axes and label set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.dense.frames import DepthFrame, NormalFrame
from sapiens_bench.adapters.dense.label_maps import mapped
from sapiens_bench.adapters.folders import IMAGE_SUFFIXES, by_stem, check_shape, read_array, read_matrix
from sapiens_bench.adapters.surface import ray_factor
from sapiens_bench.errors import DataMissing, SampleFault
from sapiens_bench.pixels.codecs import read_depth_png, read_labels, read_mask, read_rgb, safe_join
from sapiens_bench.pixels.png import decode_png

FOLDERS: dict[str, tuple[str, ...]] = {  # role -> spellings; the first is written on export
    "image": ("images", "rgb"),
    "mask": ("masks", "mask"),
    "depth": ("depths", "depth"),
    "normal": ("normals", "normal"),
    "seg": ("labels", "label"),
    "camera": ("camera_intrinsics",),
}
_TRUTH = (".npy", ".npz", ".png")
SUFFIXES = {"image": IMAGE_SUFFIXES, "mask": IMAGE_SUFFIXES, "camera": (".txt",)}


class DenseFiles:
    """Stems that every needed folder has, sorted, with what else there is of each.

    Raises:
        DataMissing: a needed folder is absent, or no stem is in all of them.
        DatasetRejected: two files of one folder share a stem.
    """

    def __init__(self, root: Path, needed: Sequence[str], wanted: Sequence[str], exif: Any, max_pixels: int) -> None:
        self.root, self._exif, self._max_pixels = root, exif, max_pixels
        files = {role: self._list(role) for role in needed}
        self.stems = sorted(set.intersection(*(set(found) for found in files.values())))
        if not self.stems:
            counts = ", ".join(f"{role}: {len(found)}" for role, found in files.items())
            raise DataMissing(f"{root}: no stem is in all folders that are needed ({counts}).")
        self.left_out = max(len(found) for found in files.values()) - len(self.stems)
        files |= {role: self._list(role) for role in wanted if self._folder(role) is not None}
        self._paths = {role: [found.get(stem) for stem in self.stems] for role, found in files.items()}

    def paths(self, *, pictures: bool) -> list[Path]:
        """The pictures, or everything that is not one."""
        roles = [role for role in sorted(self._paths) if (role == "image") == pictures]
        return [path for role in roles for path in self._paths[role] if path is not None]

    def has(self, role: str, index: int) -> bool:
        """Is there such a file for this sample?"""
        return role in self._paths and self._paths[role][index] is not None

    def path(self, role: str, index: int) -> Path:
        """Its path.

        Raises:
            SampleFault: ``label.missing``.
        """
        path = self._paths[role][index] if role in self._paths else None
        if path is None:
            raise SampleFault("label.missing", f"{self.stems[index]} has no {role}")
        return path

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 RGB [H, W, 3]."""
        return read_rgb(self.path("image", index), exif=self._exif, max_pixels=self._max_pixels, root=self.root)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """bool [H, W]."""
        return read_mask(self.path("mask", index), max_pixels=self._max_pixels, root=self.root)

    def camera(self, index: int) -> NDArray[np.float64]:
        """Intrinsics, float64 [3, 3], pixels."""
        return read_matrix(self._inside(self.path("camera", index)))

    def labels(self, index: int, shape_hw: tuple[int, ...], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W] in the protocol's set."""
        path = self.path("seg", index)
        if path.suffix.lower() == ".png":
            stored: NDArray[Any] = read_labels(path, max_pixels=self._max_pixels, root=self.root)
        else:
            array = self._numbers(path, "label")
            if array.dtype.kind not in "iu" or (array.size and (array.min() < 0 or array.max() > 65535)):
                raise SampleFault("label.value", f"{path}: labels must be whole numbers from 0")
            stored = array.astype(np.uint16)
        check_shape(stored, shape_hw, path)
        return mapped(stored, table, path)

    def depth(self, index: int, shape_hw: tuple[int, ...], frame: DepthFrame) -> NDArray[np.float32]:
        """float32 [H, W], metres along z (or relative units); NaN or not positive where there is none."""
        path = self.path("depth", index)
        if path.suffix.lower() == ".png":
            depth = read_depth_png(path, metres_per_unit=frame.count * frame.metres, root=self.root)
        else:
            depth = self._numbers(path, "depth").astype(np.float32) * np.float32(frame.metres)
        check_shape(depth, shape_hw, path)
        if frame.along == "ray":
            depth = (depth / ray_factor((depth.shape[0], depth.shape[1]), self.camera(index))).astype(np.float32)
        return depth

    def normals(self, index: int, shape_hw: tuple[int, ...], frame: NormalFrame) -> NDArray[np.float32]:
        """Unit vectors in our frame, float32 [H, W, 3]; NaN where there is none."""
        path = self.path("normal", index)
        is_picture = path.suffix.lower() == ".png"
        stored = self._coloured(path) if is_picture else self._numbers(path, "normal").astype(np.float32)
        check_shape(stored, (*shape_hw, 3), path)
        return frame.to_ours(stored)

    def _coloured(self, path: Path) -> NDArray[np.float32]:
        """Normals of a picture, (n + 1) / 2 in 8 or 16 bits; black means none."""
        try:
            data = self._inside(path).read_bytes()
        except OSError as error:
            raise SampleFault("image.missing", f"{path}: {error.strerror or error}") from None
        pixels = decode_png(data, str(path), self._max_pixels).pixels
        if pixels.ndim != 3:
            raise SampleFault("label.mode", f"{path}: normals need three channels")
        normals = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max / 2) - 1
        normals[(pixels == 0).all(axis=-1)] = np.nan
        return normals

    def _numbers(self, path: Path, member: str) -> NDArray[Any]:
        array = read_array(self._inside(path), member)
        if array.dtype.kind not in "fiu":
            raise SampleFault("label.array", f"{path}: {array.dtype} values are not numbers")
        return array

    def _inside(self, path: Path) -> Path:
        """The path if its links stay below the root."""
        return safe_join(self.root, path.relative_to(self.root).as_posix())

    def _folder(self, role: str) -> Path | None:
        return next((self.root / name for name in FOLDERS[role] if (self.root / name).is_dir()), None)

    def _list(self, role: str) -> dict[str, Path]:
        folder = self._folder(role)
        if folder is None:
            raise DataMissing(f"{self.root} has no folder {' or '.join(FOLDERS[role])}.")
        return by_stem(folder, SUFFIXES.get(role, _TRUTH), lambda stem: stem)
