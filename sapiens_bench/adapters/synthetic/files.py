"""Synthetic humans on disk: one PNG and one NPZ an image, rendered in a process pool, resumable, committed by rename.

    <root>/v<version>-<width>x<height>/<split>/<index>.npz   truth; written first
    <root>/v<version>-<width>x<height>/<split>/<index>.png   colour; renamed into place last: the image is complete

With a factor of the scene set to a level, the folder is <split>@<factor>=<level>.

Depth is float32 as rendered, normals are int16 steps of 1 / 32767, both on the pixels of people alone.

Axes: N people, K keypoints, P pixels of people, H, W image.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import SampleFault, StorageFull, raise_if_machine
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.factors import redraw
from sapiens_bench.render.scene import VERSION, Picture, render
from sapiens_bench.store.files import remove_strays, temporary_name
from sapiens_bench.workers import run_all

NORMAL_STEPS = 32767
PARTS = ("instance", "labels", "depth", "normal")  # what ``load`` can leave out; each takes a decompression


@dataclass(frozen=True, slots=True)
class Store:
    """Where the images of one split lie."""

    root: Path
    split: str
    height: int
    width: int
    factor: str = ""  # NAME=LEVEL: one factor of the scene set instead of drawn

    @property
    def folder(self) -> Path:
        name = f"{self.split}@{self.factor}" if self.factor else self.split
        return self.root / f"v{VERSION}-{self.width}x{self.height}" / name

    def png(self, index: int) -> Path:
        return self.folder / f"{index:06d}.png"

    def npz(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"

    def has(self, index: int) -> bool:
        """True when the image was committed completely."""
        return self.png(index).is_file() and self.npz(index).is_file()


def make(store: Store, index: int) -> None:
    """Render one image and commit it.

    Raises:
        StorageFull: the folder cannot be written.
    """
    picture = render(store.split, index, height=store.height, width=store.width, redraw=redraw(store.factor))
    npz_part, png_part = (store.folder / (temporary_name() + suffix) for suffix in (".npz", ".png"))
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with open(npz_part, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **_packed(picture))
        Image.fromarray(picture.rgb_HW3).save(png_part, "PNG", compress_level=3)
        os.replace(npz_part, store.npz(index))
        os.replace(png_part, store.png(index))
    except OSError as error:
        raise StorageFull(
            f"{store.folder} cannot be written ({error.strerror or error}). An image takes about 0.6 MB; set "
            "SAPIENS_BENCH_CACHE to use another folder. The same command goes on where it stopped."
        ) from error
    finally:
        for part in (npz_part, png_part):
            with contextlib.suppress(OSError):
                part.unlink()


def _packed(picture: Picture) -> dict[str, NDArray[Any]]:
    mask = picture.instance_HW > 0
    camera = picture.camera
    return {
        "view": np.array(picture.view),
        "labels": picture.labels_HW,
        "instance": picture.instance_HW,
        "depth": _planes(picture.depth_HW_m[mask][:, None].view(np.int32)),
        "normal": _planes(np.rint(picture.normal_HW3[mask] * NORMAL_STEPS).astype(np.int16)),
        "keypoints": picture.keypoints_NK2_px,
        "visible": picture.visible_NK,
        "K": camera.K,
        "R": camera.R,
        "t": camera.t,
    }


def _planes(values_PC: NDArray[Any]) -> NDArray[np.uint8]:
    """Differences along P (they wrap round, nothing is lost), low bytes apart from high bytes: deflates to half."""
    little = values_PC.astype(values_PC.dtype.newbyteorder("<"))
    change = np.diff(little, axis=0, prepend=np.zeros((1, little.shape[1]), little.dtype))
    return np.ascontiguousarray(change.view(np.uint8).T)


def _values(planes: NDArray[np.uint8], dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """The inverse of ``_planes``."""
    change = np.ascontiguousarray(planes.T).view(dtype).reshape(-1, channels)
    return np.asarray(np.cumsum(change, axis=0, dtype=dtype))


def load(store: Store, index: int, parts: Collection[str] = PARTS) -> Picture:
    """A committed image.

    Args:
        parts: which of ``PARTS`` to decode; the others come back empty ([0, ...]).

    Raises:
        SampleFault: a file is missing or damaged.
        MemoryError, OSError: the machine ran out of something.
    """
    path = store.npz(index)
    try:
        rgb = read_rgb(store.png(index), expected_size=(store.width, store.height), root=store.root)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return _unpacked(archive, rgb, parts)
    except (SampleFault, OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise_if_machine(error)
        if isinstance(error, SampleFault):
            raise
        raise SampleFault(
            "label.unreadable",
            f"{path}: {type(error).__name__}: {error}. Delete the file; it is rendered again.",
            "input",
        ) from None


def _unpacked(archive: Mapping[str, NDArray[Any]], rgb: NDArray[np.uint8], parts: Collection[str]) -> Picture:
    height, width = rgb.shape[:2]
    no_pixel = np.zeros((0, width), np.uint8)
    needs_mask = not {"instance", "depth", "normal"}.isdisjoint(parts)
    instance = archive["instance"] if needs_mask else no_pixel
    depth, normal = np.zeros((0, width), np.float32), np.zeros((0, width, 3), np.float32)
    if "depth" in parts:
        depth = np.full((height, width), np.nan, np.float32)
        depth[instance > 0] = _values(archive["depth"], np.dtype("<i4"), 1).view(np.float32)[:, 0]
    if "normal" in parts:
        normal = np.full((height, width, 3), np.nan, np.float32)
        vector = _values(archive["normal"], np.dtype("<i2"), 3).astype(np.float32)
        normal[instance > 0] = vector / np.sqrt((vector**2).sum(1, keepdims=True))
    return Picture(
        view=str(archive["view"]),
        rgb_HW3=rgb,
        labels_HW=archive["labels"] if "labels" in parts else no_pixel,
        instance_HW=instance,
        depth_HW_m=depth,
        normal_HW3=normal,
        keypoints_NK2_px=archive["keypoints"],
        visible_NK=archive["visible"],
        camera=Camera(archive["K"], archive["R"], archive["t"], width, height),
    )


# many images ---------------------------------------------------------------------------------------------------------


def make_all(store: Store, indices: Sequence[int], workers: int, progress: Callable[[int, int], None]) -> None:
    """Render what is missing of ``indices``; calls ``progress(done, total)`` from this thread.

    Ctrl-C keeps every finished image; the next call goes on from there. ``workers`` below 2 stays in this process.

    Raises:
        StorageFull: the folder cannot be written.
        WorkerDied: a worker process died.
    """
    wanted = list(dict.fromkeys(indices))
    missing = [index for index in wanted if not store.has(index)]
    done, total = len(wanted) - len(missing), len(wanted)
    progress(done, total)
    if missing:
        remove_strays(store.folder)
    jobs = [{**asdict(store), "root": os.fspath(store.root.absolute()), "index": index} for index in missing]

    def on_done(job: int, result: None) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    run_all("sapiens_bench.adapters.synthetic.files:make_one", jobs, workers, on_done)
    if missing:
        remove_strays(store.folder)  # of workers that were killed; their pictures were made by others


def make_one(job: dict[str, Any]) -> None:
    """``make`` as a job of ``workers.run_all``."""
    index = job.pop("index")
    make(Store(Path(job.pop("root")), **job), index)
