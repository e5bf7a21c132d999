"""Synthetic humans on disk: one PNG and one NPZ an image, rendered in a process pool, resumable, committed by rename.

    <root>/v<version>-<width>x<height>/<split>/<index>.npz   truth; written first
    <root>/v<version>-<width>x<height>/<split>/<index>.png   colour; renamed into place last: the image is complete

Depth is float32 as rendered, normals are int16 steps of 1 / 32767, both on the pixels of people alone.

Axes: N people, K keypoints, P pixels of people, H, W image.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import DataError, SampleFault, StorageFull
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.scene import VERSION, Picture, render
from sapiens_bench.store.files import remedy

NORMAL_STEPS = 32767
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Store:
    """Where the images of one split lie."""

    root: Path
    split: str
    height: int
    width: int

    @property
    def folder(self) -> Path:
        return self.root / f"v{VERSION}-{self.width}x{self.height}" / self.split

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
    picture = render(store.split, index, height=store.height, width=store.width)
    token = uuid.uuid4().hex
    npz_part, png_part = (store.folder / f".tmp-{token}{suffix}" for suffix in (".npz", ".png"))
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with open(npz_part, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **_packed(picture))
        Image.fromarray(picture.rgb_HW3).save(png_part, "PNG", compress_level=3)
        os.replace(npz_part, store.npz(index))
        os.replace(png_part, store.png(index))
    except OSError as error:
        raise StorageFull(
            f"{store.folder} cannot be written ({error.strerror or error}). {remedy(error)} (an image takes about "
            "0.6 MB) or set SAPIENS_BENCH_CACHE to another folder; the same command goes on where it stopped."
        ) from None
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


def load(store: Store, index: int) -> Picture:
    """A committed image.

    Raises:
        SampleFault: a file is missing or damaged.
    """
    rgb = read_rgb(store.png(index), expected_size=(store.width, store.height), root=store.root)
    path = store.npz(index)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            raw = {name: archive[name] for name in archive.files}
        return _unpacked(raw, rgb)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise SampleFault(
            "label.unreadable",
            f"{path}: {type(error).__name__}: {error}. Delete the file; it is rendered again.",
            "input",
        ) from None


def _unpacked(raw: dict[str, NDArray[Any]], rgb: NDArray[np.uint8]) -> Picture:
    height, width = rgb.shape[:2]
    mask = raw["instance"] > 0
    depth = np.full((height, width), np.nan, np.float32)
    depth[mask] = _values(raw["depth"], np.dtype("<i4"), 1).view(np.float32)[:, 0]
    normal = np.full((height, width, 3), np.nan, np.float32)
    vector = _values(raw["normal"], np.dtype("<i2"), 3).astype(np.float32)
    normal[mask] = vector / np.sqrt((vector**2).sum(1, keepdims=True))
    return Picture(
        view=str(raw["view"]),
        rgb_HW3=rgb,
        labels_HW=raw["labels"],
        instance_HW=raw["instance"],
        depth_HW_m=depth,
        normal_HW3=normal,
        keypoints_NK2_px=raw["keypoints"],
        visible_NK=raw["visible"],
        camera=Camera(raw["K"], raw["R"], raw["t"], width, height),
    )


# many images ---------------------------------------------------------------------------------------------------------


def make_all(store: Store, indices: Sequence[int], workers: int, progress: Callable[[int, int], None]) -> None:
    """Render what is missing of ``indices``; calls ``progress(done, total)`` from this thread.

    Ctrl-C keeps every finished image; the next call goes on from there. ``workers`` below 2 stays in this process.

    Raises:
        StorageFull: the folder cannot be written.
        DataError: a worker process died.
    """
    wanted = list(dict.fromkeys(indices))
    missing = [index for index in wanted if not store.has(index)]
    done, total = len(wanted) - len(missing), len(wanted)
    progress(done, total)
    if workers < 2 or len(missing) < 2:
        for index in missing:
            make(store, index)
            done += 1
            progress(done, total)
        return
    with _single_threaded_children(), _children_without_main():
        pool = ProcessPoolExecutor(min(workers, len(missing)), multiprocessing.get_context("spawn"), _ignore_interrupt)
        try:
            waiting: set[Future[None]] = {pool.submit(make, store, index) for index in missing}
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    done += 1
                progress(done, total)
        except BrokenProcessPool:
            raise DataError(
                f"A process that renders {store.folder} died (out of memory?). Finished images are kept; run the same "
                "command again, with --workers 1 if it happens again."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone decides, workers finish their image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _children_without_main() -> Iterator[None]:
    """Workers need this package only. Left alone, each would run the caller's script again, guard or not."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    if "__file__" in kept:
        del main.__file__
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


@contextlib.contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Workers inherit one BLAS thread each: many processes with many threads only wait for each other."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
