"""Prepared samples of scans on this machine: ``<cache>/data/<data set>/<recipe hash>/<sample>-<source hash>/``.

Everything stays in the user's cache folder, never in the licensed data set (unless ``$SAPIENS_BENCH_CACHE`` says so).
A sample is a folder:

    rgb.png       uint8 RGB; absent when the picture of the data set is used as it is
    mask.png      8-bit grey, 255 = scored
    depth.npy     float32 [N], metres, the pixels of the mask in row order; lossless
    normal.npy    int16 [N, 2], octahedral code of the unit normal; error below 0.004 degrees (tested)
    entry.json    what was rendered from what; written last: a sample without it does not exist

or holds ``fault.json``: why it could not be made. A fault is tried again whenever the set is prepared.
The folder's name carries a hash of the source files, so that a changed scan is rendered anew and a moved one is found.

Axes: H height, W width, N pixels of the mask.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.cards.locate import cache_root
from sapiens_bench.errors import DataError, SampleFault, SapiensBenchError, ShapeError, raise_if_machine
from sapiens_bench.pixels.arrays import load_npy
from sapiens_bench.pixels.codecs import read_mask, read_rgb
from sapiens_bench.render.manifest import ManifestEntry, from_record, to_record
from sapiens_bench.store.files import write_atomic

CACHE_VERSION = 1
_BLOCK = 1 << 16
_OCT_LIMIT = 32767


def store_folder(dataset: str, recipe_sha256: str) -> Path:
    """Where the samples of a data set under one recipe lie."""
    return cache_root() / "data" / dataset / recipe_sha256[:16]


def stamp(files: Iterable[Path]) -> str:
    """A hash of names, sizes and three 64 KiB blocks (start, middle, end) of each file, in the order given.

    Whole data sets of scans are too large to read before every run; the full SHA-256 of what was rendered stands in the
    manifest. A missing file counts with size -1.
    """
    sha256 = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
            sha256.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                for start in sorted({0, max(0, size // 2 - _BLOCK // 2), max(0, size - _BLOCK)}):
                    file.seek(start)
                    sha256.update(file.read(_BLOCK))
        except OSError as error:
            raise_if_machine(error)
            sha256.update(f"{path.name}\0-1\0".encode("utf-8", "surrogateescape"))
    return sha256.hexdigest()


def encode_normals(normals_N3: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Octahedral code of unit vectors, int16 [N, 2].

    Source: Cigolle et al. 2014, "A Survey of Efficient Representations for Independent Unit Vectors", listing 1.
    """
    normals = np.asarray(normals_N3, np.float64)
    size = np.abs(normals).sum(1)
    size[size == 0] = 1.0
    x, y = normals[:, 0] / size, normals[:, 1] / size
    behind = normals[:, 2] < 0
    folded_x = (1 - np.abs(y)) * np.where(x >= 0, 1.0, -1.0)
    folded_y = (1 - np.abs(x)) * np.where(y >= 0, 1.0, -1.0)
    code = np.stack([np.where(behind, folded_x, x), np.where(behind, folded_y, y)], 1)
    return np.asarray(np.rint(code * _OCT_LIMIT), np.int16)


def decode_normals(code_N2: NDArray[np.int16]) -> NDArray[np.float32]:
    """Unit vectors of ``encode_normals``, float32 [N, 3]."""
    x, y = code_N2[:, 0] / _OCT_LIMIT, code_N2[:, 1] / _OCT_LIMIT
    z = 1 - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0)
    x, y = x - np.where(x >= 0, fold, -fold), y - np.where(y >= 0, fold, -fold)
    length = np.sqrt(x * x + y * y + z * z)
    return np.stack([x / length, y / length, z / length], 1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """One sample as it is made."""

    entry: ManifestEntry
    depth_HW: NDArray[np.float32]  # metres along z; undefined outside the mask
    normal_HW3: NDArray[np.float32]  # viewer frame; undefined outside the mask
    mask_HW: NDArray[np.bool_]  # human pixels
    rgb_HW3: NDArray[np.uint8] | None  # None: the data set's own picture is the input
    notes: tuple[str, ...] = ()  # e.g. inverted faces


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """The commit of a stored sample."""

    entry: ManifestEntry
    has_rgb: bool
    notes: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)  # file -> bytes


class SampleFolder:
    """One sample's folder. Safe for many threads and processes: files appear whole, the entry last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, sample: PreparedSample) -> int:
        """Write the sample; returns its bytes.

        Raises:
            StorageFull: no space, or no permission.
        """
        mask = sample.mask_HW
        files = {
            "mask.png": _png(mask.astype(np.uint8) * 255),
            "depth.npy": _npy(sample.depth_HW[mask].astype(np.float32)),
            "normal.npy": _npy(encode_normals(sample.normal_HW3[mask])),
        }
        if sample.rgb_HW3 is not None:
            files["rgb.png"] = _png(sample.rgb_HW3)
        for name, data in files.items():
            write_atomic(self.path / name, data)
        sizes = {name: len(data) for name, data in files.items()}
        record = {"version": CACHE_VERSION, "sizes": sizes, "notes": sample.notes, "entry": to_record(sample.entry)}
        write_atomic(self.path / "entry.json", json.dumps(record, allow_nan=False).encode())
        with suppress(OSError):
            (self.path / "fault.json").unlink(missing_ok=True)
        return sum(sizes.values())

    def save_fault(self, code: str, detail: str) -> None:
        """Record why the sample cannot be made."""
        write_atomic(self.path / "fault.json", json.dumps({"code": code, "detail": detail}).encode())

    def entry(self) -> StoredEntry | None:
        """The commit, or None when the sample is not (wholly) there."""
        try:
            record = json.loads((self.path / "entry.json").read_bytes())
            if record["version"] != CACHE_VERSION:
                return None
            sizes = {str(name): int(size) for name, size in record["sizes"].items()}
            if any((self.path / name).stat().st_size != size for name, size in sizes.items()):
                return None
            entry = from_record(record["entry"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ShapeError) as error:
            raise_if_machine(error)
            return None
        return StoredEntry(entry, "rgb.png" in sizes, tuple(record["notes"]), sizes)

    def fault(self) -> SampleFault | None:
        """Why the sample could not be made, when that was tried."""
        try:
            record = json.loads((self.path / "fault.json").read_bytes())
            return SampleFault(str(record["code"]), str(record["detail"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def rgb(self) -> NDArray[np.uint8]:
        """The rendered picture, uint8 [H, W, 3]."""
        return read_rgb(self.path / "rgb.png")

    def mask(self) -> NDArray[np.bool_]:
        """Human pixels, bool [H, W]."""
        return read_mask(self.path / "mask.png")

    def depth(self, mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Metres along z, float32 [H, W]; NaN outside the mask."""
        out = np.full(mask_HW.shape, np.nan, np.float32)
        out[mask_HW] = self._array("depth.npy", mask_HW, np.float32, ())
        return out

    def normals(self, mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Unit normals in the viewer frame, float32 [H, W, 3]; NaN outside the mask."""
        out = np.full((*mask_HW.shape, 3), np.nan, np.float32)
        out[mask_HW] = decode_normals(self._array("normal.npy", mask_HW, np.int16, (2,)))
        return out

    def _array(self, name: str, mask_HW: NDArray[np.bool_], dtype: type, tail: tuple[int, ...]) -> NDArray[Any]:
        try:
            array = load_npy(self.path / name)
        except SapiensBenchError as error:
            raise_if_machine(error)
            raise SampleFault("scan.cache", f"{self.path / name} is damaged. {_REMEDY} ({error})") from None
        if array.dtype != dtype or array.shape != (int(np.count_nonzero(mask_HW)), *tail):
            raise SampleFault("scan.cache", f"{self.path / name} does not fit its mask. {_REMEDY}")
        return array


_REMEDY = "Delete this folder and prepare the data set again."


def recipe_hash(recipe: dict[str, Any]) -> str:
    """SHA-256 of a recipe as canonical JSON.

    Raises:
        DataError: it holds something JSON cannot.
    """
    try:
        text = json.dumps(recipe, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(f"render options cannot be written down: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
