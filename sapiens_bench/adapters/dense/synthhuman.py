"""SynthHuman (DAViD): rendered people with open licence, metric depth, normals and intrinsics.

A flat folder, all chunks unpacked together:

    rgb_0000000.png  alpha_0000000.png  depth_0000000.exr (z, cm, 65504 = none)  normal_0000000.exr (XYZ)
    cam_0000000.txt (3 x 3)

Protocol options:

    every: 1000      # held-out rule: the ids divisible by this number; whichever of them are there
    framing: face    # only one of face, full, upper; default all

A pixel is human where alpha is at least one half. The axis signs of the normals are published nowhere; they are
measured against the normals of the depth map when the folder is opened, and refused when no reading fits.

Source: microsoft/DAViD README.md and runtime/visualize.py, as specified in specs: data sets, section 6.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.folders import (
    check_shape,
    checked_options,
    manifest,
    read_matrix,
    refuse_split,
    where,
    whole_image,
)
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.adapters.surface import best_sign, normals_from_depth, sign_angles
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault, UsageError
from sapiens_bench.pixels.codecs import read_exr, read_rgb, safe_join
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.convention import Sign
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.types import Sample

METRES_PER_UNIT = 0.01
INVALID = 65504.0  # the largest half-precision number
HALF_ALPHA = 128
FRAMINGS: dict[str, range] = {"face": range(98_040), "full": range(98_040, 198_016), "upper": range(198_016, 298_008)}
NORMAL_CHANNELS = (("X", "Y", "Z"), ("R", "G", "B"))
DEPTH_CHANNELS = (("Z",), ("Y",), ("R",), ("depth",))
MOST_DEG = 20.0  # median angle to the depth's own normals; hair and cloth make it more than noise
N_MEASURED = 3
_NAME = re.compile(r"rgb_(\d{7})\.png")


class SynthHuman:
    """The held-out ids that are on this machine, in order; each is its own group. ``keys``: ``<data-set id>/<id>``.

    Raises:
        CardError: unknown options, or a task other than depth and normal.
        DataMissing: none of the ids is there, or the extra for EXR files is not installed.
        DatasetRejected: no axis signs bring the normals and the depth together.
    """

    def __init__(
        self,
        card: DatasetCard,
        protocol: EvalProtocol,
        space: SpaceCard | None,
        root: Path,
        options: AdapterOptions | None = None,
    ) -> None:
        options, root = options or AdapterOptions(), root.absolute()
        refuse_split(card, options.split)
        chosen = checked_options(card, protocol, {"every": int, "framing": str})
        if protocol.task not in ("depth", "normal"):
            raise CardError(f"{where(card, protocol)}: this set has depth and normals, no {protocol.task}")
        framing, every = chosen.get("framing", ""), chosen.get("every", 1000)
        if (framing and framing not in FRAMINGS) or every < 1:
            raise CardError(f"{where(card, protocol)}: framing must be one of {sorted(FRAMINGS)}, every at least 1")
        self._root, self._task, self._max_pixels = root, protocol.task, options.max_pixels
        self._exif = card.exif
        self._ids = held_out(root, every, FRAMINGS[framing] if framing else range(10_000_000))
        if not self._ids:
            raise DataMissing(
                f"{root} holds none of the held-out pictures (ids divisible by {every}"
                f"{f', {framing} framing' if framing else ''}). {card.get.strip()}"
            )
        self.keys: list[str] = [f"{card.id}/{id_}" for id_ in self._ids]
        self.groups: list[str] = self.keys
        with suppress(SampleFault):  # a missing package must show now, not in every row
            self._exr(self._file("depth", self._ids[0]), DEPTH_CHANNELS)
        self.sign: Sign = (1, 1, 1)
        self.notes: list[str] = []
        if self._task == "normal":
            self.sign = self._measure_sign()
            self.notes = [f"axis signs of the normals, measured against the depth: {self.sign}"]
        kinds = ("depth", "normal", "alpha", "cam")
        truth = [path for id_ in self._ids for kind in kinds if (path := self._file(kind, id_)).is_file()]
        images = [self._file("rgb", id_) for id_ in self._ids]
        self.manifest_sha256: str = manifest([card.id, self._task, str(self.sign)], root, images, truth)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """One picture with depth (m) or normals (our frame) and its intrinsics.

        Raises:
            SampleFault: side ``input``.
        """
        id_ = self._ids[index]
        image = read_rgb(self._file("rgb", id_), exif=self._exif, max_pixels=self._max_pixels, root=self._root)
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
        return self._root / f"{kind}_{id_}.{ending}"

    def _camera(self, id_: str) -> NDArray[np.float64]:
        return read_matrix(safe_join(self._root, self._file("cam", id_).name))

    def _mask(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        path = self._file("alpha", id_)
        alpha = read_rgb(path, max_pixels=self._max_pixels, root=self._root)[..., 0]
        check_shape(alpha, shape, path)
        return np.asarray(alpha >= HALF_ALPHA)

    def _depth(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Metres along z, NaN where there is none."""
        path = self._file("depth", id_)
        stored = self._exr(path, DEPTH_CHANNELS)[..., 0]
        check_shape(stored, shape, path)
        valid = np.isfinite(stored) & (stored > 0) & (stored < INVALID)
        return np.where(valid, stored * np.float32(METRES_PER_UNIT), np.float32(np.nan))

    def _normals(self, id_: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Unit vectors in the axes of the file, NaN where there is none."""
        path = self._file("normal", id_)
        stored = self._exr(path, NORMAL_CHANNELS)
        check_shape(stored, (*shape, 3), path)
        length = np.linalg.norm(stored.astype(np.float64), axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(length > 0, stored / length, np.nan).astype(np.float32)

    def _exr(self, path: Path, choices: tuple[tuple[str, ...], ...]) -> NDArray[np.float32]:
        """The first set of channels that the file has.

        Raises:
            DataMissing: the optional package is not installed.
            SampleFault: unreadable, or none of the sets.
        """
        fault: SampleFault | None = None
        for channels in choices:
            try:
                return read_exr(path, channels, root=self._root)
            except UsageError as error:
                raise DataMissing(str(error)) from None
            except SampleFault as error:
                if error.code != "label.channels":
                    raise
                fault = fault or error
        assert fault is not None
        raise fault

    def _measure_sign(self) -> Sign:
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
            str(self._root),
            tried,
            "No axis signs bring normals and depth together; check that the files belong together.",
        )


def held_out(root: Path, every: int, ids: range) -> list[str]:
    """Ids below ``root`` that are divisible by ``every`` and in the range, ascending, as seven digits."""
    try:
        names = sorted(path.name for path in root.iterdir())
    except OSError as error:
        raise DataMissing(f"{root} cannot be read: {error.strerror or error}") from None
    found = [match[1] for name in names if (match := _NAME.fullmatch(name))]
    return [id_ for id_ in found if int(id_) % every == 0 and int(id_) in ids]
