"""SynthHuman (DAViD): rendered people with open licence, metric depth, normals and intrinsics.

All chunks unpacked into one folder, or each into a folder of its own below it:

    rgb_0000000.png  alpha_0000000.png  depth_0000000.exr (z, cm, 65504 = none)  normal_0000000.exr (XYZ)
    cam_0000000.txt (3 x 3)

A pixel is human where alpha is at least one half. The axis signs of the normals are published nowhere; they are
measured against the normals of the depth map when the folder is opened, and refused when no reading fits.

Source: microsoft/DAViD README.md and runtime/visualize.py.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.folders import manifest, read_matrix, whole_image
from sapiens_bench.adapters.surface import best_sign, normals_from_depth, sign_angles
from sapiens_bench.cards.options import Options
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault, UsageError, raise_if_machine
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.pixels.exr import NORMAL_CHANNELS, read_exr_choice
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.listing import subfolders
from sapiens_bench.pixels.shapes import misfit
from sapiens_bench.store.files import file_identity
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.evidence import Sign
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.types import Sample

METRES_PER_UNIT = 0.01
INVALID = 65504.0  # the largest half-precision number
HALF_ALPHA = 128
FRAMINGS: dict[str, range] = {"face": range(98_040), "full": range(98_040, 198_016), "upper": range(198_016, 298_008)}
DEPTH_CHANNELS = (("Z",), ("Y",), ("R",), ("depth",))
MOST_DEG = 20.0  # median angle to the depth's own normals; hair and cloth make it more than noise
N_MEASURED = 3
_NAME = re.compile(r"rgb_(\d{7})\.png")


class SynthHumanOptions(Options):
    """Of ``synthhuman``."""

    every: Annotated[int, Field(ge=1)] = 1000
    """Held-out rule: the ids divisible by this number; whichever of them are there."""
    framing: Literal["", "face", "full", "upper"] = ""
    """Only pictures of one framing."""


class SynthHuman:
    """The held-out ids that are on this machine, in order; each is its own group. ``keys``: ``<data-set id>/<id>``.

    Raises:
        CardError: a task other than depth and normal.
        DataMissing: none of the ids is there, or the extra for EXR files is not installed.
        DatasetRejected: no axis signs bring the normals and the depth together.
    """

    Options = SynthHumanOptions

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task("depth", "normal")
        card, root = context.card, context.root.absolute()
        options: SynthHumanOptions = context.options
        self._task, self._max_pixels, self._exif = context.protocol.task, context.max_pixels, card.exif
        self._places = held_out(root, options.every, FRAMINGS.get(options.framing, range(10_000_000)))
        self._ids = sorted(self._places)
        if not self._ids:
            raise DataMissing(
                f"{root} holds none of the held-out pictures (ids divisible by {options.every}"
                f"{f', {options.framing} framing' if options.framing else ''}). {card.get.strip()}"
            )
        self.keys: list[str] = [f"{card.id}/{id_}" for id_ in self._ids]
        self.groups: list[str] = self.keys
        with suppress(SampleFault):  # a missing package must show now, not in every row
            self._exr(self._file("depth", self._ids[0]), DEPTH_CHANNELS)
        self.sign: Sign = (1, 1, 1)
        self.notes: tuple[str, ...] = ()
        if self._task == "normal":
            self.sign = self._measure_sign(root)
            self.notes = (f"axis signs of the normals, measured against the depth: {self.sign}",)
        kinds = ("depth", "normal", "alpha", "cam")
        truth = [path for id_ in self._ids for kind in kinds if (path := self._file(kind, id_)).is_file()]
        images = [self._file("rgb", id_) for id_ in self._ids]
        self.manifest_sha256: str = manifest([card.id, self._task, str(self.sign)], root, images, truth)

    def __len__(self) -> int:
        return len(self.keys)

    def identity(self, index: int) -> str:
        """Size and time of change of the sample's files."""
        return file_identity(self._file(kind, self._ids[index]) for kind in ("rgb", "alpha", "cam", "depth", "normal"))

    def __getitem__(self, index: int) -> Sample:
        """One picture with depth (m) or normals (our frame) and its intrinsics.

        Raises:
            SampleFault: side ``input``.
        """
        id_ = self._ids[index]
        image = read_rgb(self._file("rgb", id_), exif=self._exif, max_pixels=self._max_pixels)
        given = whole_image(self.keys[index], image, self._camera(id_))
        shape = image.shape[:2]
        target: DepthTarget | NormalTarget
        if self._task == "depth":
            depth = self._depth(id_, shape)
            mask = self._mask(id_, shape) & np.isfinite(depth)
            target = DepthTarget(depth, mask)
        else:
            normals = self._normals(id_, shape) * np.asarray(self.sign, np.float32)
            valid = np.asarray(np.isfinite(normals).all(axis=-1))
            target = NormalTarget(np.where(valid[..., None], normals, np.float32(0)), self._mask(id_, shape) & valid)
        return Sample(index, self.keys[index], self.groups[index], given, target)

    def _file(self, kind: str, id_: str) -> Path:
        ending = {"rgb": "png", "alpha": "png", "cam": "txt"}.get(kind, "exr")
        return self._places[id_] / f"{kind}_{id_}.{ending}"

    def _camera(self, id_: str) -> NDArray[np.float64]:
        return read_matrix(self._file("cam", id_))

    def _mask(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        path = self._file("alpha", id_)
        alpha = read_rgb(path, max_pixels=self._max_pixels)[..., 0]
        _check_shape(alpha, shape, path)
        return np.asarray(alpha >= HALF_ALPHA)

    def _depth(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Metres along z, NaN where there is none."""
        path = self._file("depth", id_)
        stored = self._exr(path, DEPTH_CHANNELS)[..., 0]
        _check_shape(stored, shape, path)
        valid = np.isfinite(stored) & (stored > 0) & (stored < INVALID)
        return np.where(valid, stored * np.float32(METRES_PER_UNIT), np.float32(np.nan))

    def _normals(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Unit vectors in the axes of the file, NaN where there is none."""
        path = self._file("normal", id_)
        stored = self._exr(path, NORMAL_CHANNELS)
        _check_shape(stored, (*shape, 3), path)
        length = np.linalg.norm(stored.astype(np.float64), axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(length > 0, stored / length, np.nan).astype(np.float32)

    def _exr(self, path: Path, choices: tuple[tuple[str, ...], ...]) -> NDArray[np.float32]:
        """The first set of channels that the file has.

        Raises:
            DataMissing: the optional package is not installed.
            SampleFault: unreadable, or none of the sets.
        """
        try:
            return read_exr_choice(path, choices, max_pixels=self._max_pixels)
        except UsageError as error:
            raise DataMissing(str(error)) from None

    def _measure_sign(self, root: Path) -> Sign:
        """The axis signs that make the normals those of the depth map, from the first sound pictures."""
        tried: list[str] = []
        for id_ in self._ids[:N_MEASURED]:
            try:
                depth = self._exr(self._file("depth", id_), DEPTH_CHANNELS)[..., 0]
                shape = depth.shape
                depth, normals = self._depth(id_, shape), self._normals(id_, shape)
                mask = self._mask(id_, shape) & np.isfinite(depth)
                angles = sign_angles(
                    normals, normals_from_depth(np.where(mask, depth, np.nan), self._camera(id_)), mask
                )
            except SampleFault as fault:
                tried.append(f"{id_}: {fault.detail}")
                continue
            best = best_sign(angles)
            if best is not None and angles[best] < MOST_DEG:
                return best
            found = "too few pixels" if best is None else f"{angles[best]:.1f} degrees at best, with signs {best}"
            tried.append(f"{id_}: {found}")
        raise DatasetRejected(
            str(root),
            tried,
            "No axis signs bring normals and depth together; check that the files belong together.",
        )


def held_out(root: Path, every: int, ids: range) -> dict[str, Path]:
    """Ids that are divisible by ``every`` and in the range, as seven digits, with their folder: ``root`` or one below.

    Raises:
        DataMissing: the folder cannot be read.
        DatasetRejected: one id lies in two folders.
    """
    found: dict[str, Path] = {}
    repeated: list[str] = []
    try:
        for folder in (root, *subfolders(root)):
            for name in sorted(os.listdir(folder)):
                match = _NAME.fullmatch(name)
                if match is None or int(match[1]) % every or int(match[1]) not in ids:
                    continue
                if found.setdefault(match[1], folder) != folder:
                    repeated.append(f"{name} lies in {found[match[1]].name} and in {folder.name}")
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{shown(root)} cannot be read: {error.strerror or error}") from None
    if repeated:
        raise DatasetRejected(str(root), repeated[:20], "Keep one copy of each chunk.")
    return found


def _check_shape(array: NDArray[np.generic], shape: tuple[int, ...], path: Path) -> None:
    if array.shape != shape:
        raise SampleFault("label.shape", f"{path}: {misfit(array.shape, shape)}")
