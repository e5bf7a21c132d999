"""Synthetic humans on disk: PNG, NPZ and JSON of an image, rendered in a process pool, resumable, committed by rename.

    <root>/v<version>.<layout>-<width>x<height>/<split>/<index>.npz    truth; written first
    <root>/v<version>.<layout>-<width>x<height>/<split>/<index>.json   what is known about the picture (render.about)
    <root>/v<version>.<layout>-<width>x<height>/<split>/<index>.png    colour; renamed into place last: it is complete
    <root>/v<version>.<layout>-<width>x<height>/<split>/<index>.surface1.npz   alpha and albedo, made when asked for

With a factor of the scene set to a level, the folder is <split>@<factor>=<level>; where the scene is none of those that
are published (split study, factors of geometry), the split's name is followed by .<edition>. A factor of appearance
leaves the truth as it is: its folder has no NPZ, that of the split as drawn is read.

Depth is float32 as rendered, normals are int16 steps of 1 / 32767, both on the pixels of people alone. Alpha is uint8
sixteenths (the weights of the renderer's filter), albedo uint16 steps of 1 / 65535 where alpha is above 0.

Axes: N people, K keypoints, P pixels of people, H, W image.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, StorageFull, raise_if_machine
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.render.about import bounded
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.factors import redraw
from sapiens_bench.render.picture import Picture
from sapiens_bench.render.scene import EDITION, VERSION, as_shipped, render, render_all
from sapiens_bench.store.files import remove_strays, temporary_name
from sapiens_bench.workers import run_all

NORMAL_STEPS = 32767
LAYOUT = 2  # raised whenever other things are stored for the same picture
SURFACE_VERSION = 1  # raised whenever a number of alpha or albedo can change
ALPHA_STEPS, ALBEDO_STEPS = 16, 65535
PARTS = ("instance", "labels", "depth", "normal")  # what ``load`` can leave out; each takes a decompression
SURFACE = "surface"  # a part that ``load`` gives only where the store has it


@dataclass(frozen=True, slots=True)
class Store:
    """Where the images of one split lie."""

    root: Path
    split: str
    height: int
    width: int
    factor: str = ""  # NAME=LEVEL: one factor of the scene set instead of drawn
    surface: bool = False  # alpha and albedo as well

    @property
    def folder(self) -> Path:
        split = self.split if as_shipped(self.split, redraw(self.factor)) else f"{self.split}.{EDITION}"
        name = f"{split}@{self.factor}" if self.factor else split
        return self.root / f"v{VERSION}.{LAYOUT}-{self.width}x{self.height}" / name

    def png(self, index: int) -> Path:
        return self.folder / f"{index:06d}.png"

    def npz(self, index: int) -> Path:
        """Of the truth, which a factor of appearance shares with the split as drawn."""
        owner = replace(self, factor="") if self.factor and redraw(self.factor).is_appearance else self
        return owner.folder / f"{index:06d}.npz"

    def json(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"

    def extra(self, index: int) -> Path:
        """Of alpha and albedo."""
        return self.folder / f"{index:06d}.{SURFACE}{SURFACE_VERSION}.npz"

    def has(self, index: int) -> bool:
        """True when the image was committed completely."""
        return self.has_picture(index) and (not self.surface or self.extra(index).is_file())

    def has_picture(self, index: int) -> bool:
        """True when all but alpha and albedo is there."""
        return all(path.is_file() for path in (self.png(index), self.npz(index), self.json(index)))


def make(store: Store, index: int) -> None:
    """Render one image and commit it.

    Raises:
        StorageFull: the folder cannot be written.
    """
    make_levels(replace(store, factor=""), index, [store.factor])


def make_levels(store: Store, index: int, factors: Sequence[str]) -> None:
    """Render one image under each factor and commit them; those of appearance, and as drawn, from one rasterisation.

    Args:
        store: of the split as drawn.
        factors: ``NAME=LEVEL``, or "" for the image as drawn.

    Raises:
        StorageFull: the folder cannot be written.
    """
    wanted = [(replace(store, factor=factor), redraw(factor)) for factor in factors]
    cheap = [(each, change) for each, change in wanted if change.is_appearance]
    size: dict[str, Any] = {"height": store.height, "width": store.width, "surface": store.surface}
    pictures = render_all(store.split, index, [change for _, change in cheap], **size) if cheap else []
    for (each, _), picture in zip(cheap, pictures, strict=True):
        _commit(each, index, picture)
    for each, change in wanted:
        if not change.is_appearance:
            _commit(each, index, render(store.split, index, redraw=change, **size))


def _commit(store: Store, index: int, picture: Picture) -> None:
    from sapiens_bench.pixels.png import encode_png  # loads OpenCV, which a plan can do without

    npz, about, png, extra = store.npz(index), store.json(index), store.png(index), store.extra(index)
    parts = {path: path.with_name(temporary_name() + path.suffix) for path in (npz, about, png, extra)}
    try:
        for path in parts:
            path.parent.mkdir(parents=True, exist_ok=True)
        if store.surface:
            _save(parts[extra], extra, _packed_surface(picture))
        if store.has_picture(index):
            return  # made before anybody asked for its surface: it keeps its files
        if not npz.is_file():
            _save(parts[npz], npz, _packed(picture))
        parts[about].write_text(json.dumps(dict(picture.about)), "utf-8")
        os.replace(parts[about], about)
        parts[png].write_bytes(encode_png(picture.rgb_HW3))
        os.replace(parts[png], png)
    except OSError as error:
        raise StorageFull(
            f"{store.folder} cannot be written ({error.strerror or error}). An image takes about 0.6 MB; set "
            "SAPIENS_BENCH_CACHE to use another folder. The same command goes on where it stopped."
        ) from error
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()


def _write_npz(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """``np.savez_compressed`` at zlib's fastest level: a twentieth larger, in half the time."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _save(part: Path, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with open(part, "wb") as file:
        _write_npz(file, arrays)
    os.replace(part, path)


def _packed_surface(picture: Picture) -> dict[str, NDArray[Any]]:
    assert picture.alpha_HW is not None
    assert picture.albedo_HW3 is not None
    alpha = np.rint(picture.alpha_HW * ALPHA_STEPS).astype(np.uint8)
    albedo = np.rint(picture.albedo_HW3[alpha > 0] * ALBEDO_STEPS).astype(np.uint16)
    return {"alpha": alpha, "albedo": _planes(albedo)}


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
        parts: which of ``PARTS`` to decode; the others come back empty ([0, ...]). ``SURFACE`` where the store has it.

    Raises:
        SampleFault: a file is missing or damaged.
        MemoryError, OSError: the machine ran out of something.
    """
    path = store.npz(index)
    try:
        rgb = read_rgb(store.png(index), expected_size=(store.width, store.height), root=store.root)
        about = json.loads(store.json(index).read_bytes())
        if "pixel_height" in about:  # of files that were made before it had a bound
            about["pixel_height"] = bounded(about["pixel_height"], store.height)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            found = replace(_unpacked(archive, rgb, parts), about=about)
        if SURFACE not in parts:
            return found
        path = store.extra(index)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return _with_surface(found, archive["alpha"], archive["albedo"])
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


def _with_surface(picture: Picture, alpha_HW: NDArray[np.uint8], planes: NDArray[np.uint8]) -> Picture:
    albedo = np.full((*picture.rgb_HW3.shape[:2], 3), np.nan, np.float32)
    albedo[alpha_HW > 0] = _values(planes, np.dtype("<u2"), 3).astype(np.float32) / np.float32(ALBEDO_STEPS)
    return replace(picture, alpha_HW=alpha_HW.astype(np.float32) / np.float32(ALPHA_STEPS), albedo_HW3=albedo)


# many images ---------------------------------------------------------------------------------------------------------


def make_all(store: Store, indices: Sequence[int], workers: int, progress: Callable[[int, int], None]) -> None:
    """Render what is missing of ``indices``; calls ``progress(done, total)`` from this thread.

    Ctrl-C keeps every finished image; the next call goes on from there. ``workers`` below 2 stays in this process.

    Raises:
        StorageFull: the folder cannot be written.
        WorkerDied: a worker process died.
    """
    make_all_levels(replace(store, factor=""), indices, [store.factor], workers, progress)


def make_all_levels(
    store: Store, indices: Sequence[int], factors: Sequence[str], workers: int, progress: Callable[[int, int], None]
) -> None:
    """``make_all`` for the split as drawn under several factors at once; a job is one index at all levels it lacks.

    Raises:
        StorageFull, WorkerDied: see ``make_all``.
    """
    wanted = list(dict.fromkeys(indices))
    stores = {factor: replace(store, factor=factor) for factor in dict.fromkeys(factors)}
    lacking = {index: [name for name, each in stores.items() if not each.has(index)] for index in wanted}
    total = len(wanted) * len(stores)
    done = total - sum(map(len, lacking.values()))
    progress(done, total)
    touched = [stores[name].folder for name in {name for names in lacking.values() for name in names}]
    for folder in touched:
        remove_strays(folder)
    plain = {**asdict(store), "root": os.fspath(store.root.absolute())}
    jobs = [{**plain, "index": index, "factors": names} for index, names in lacking.items() if names]

    def on_done(job: int, result: None) -> None:
        nonlocal done
        done += len(jobs[job]["factors"])
        progress(done, total)

    run_all("sapiens_bench.adapters.synthetic.files:make_one", jobs, workers, on_done, store.root)
    for folder in touched:
        remove_strays(folder)  # of workers that were killed; their pictures were made by others


def make_one(job: dict[str, Any]) -> None:
    """``make_levels`` as a job of ``workers.run_all``."""
    store = Store(Path(job["root"]), job["split"], job["height"], job["width"], surface=job["surface"])
    make_levels(store, job["index"], job["factors"])
