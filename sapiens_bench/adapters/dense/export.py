"""Write any dense data set in the file format of Sapiens' own loaders, with a declaration of what the numbers mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.dense.frames import FILE, read_frame
from sapiens_bench.adapters.dense.layout import FOLDERS
from sapiens_bench.errors import SampleFault, StorageFull, UsageError
from sapiens_bench.pixels.codecs import read_mask
from sapiens_bench.pixels.png import encode_png
from sapiens_bench.tasks.albedo.types import AlbedoTarget
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.matting.types import MattingTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.types import IGNORE, SegTarget
from sapiens_bench.types import Adapter, Sample

DECLARED = ("seg", "depth", "normal")  # of which ``frame.json`` says what the numbers mean
TASKS = (*DECLARED, "matting", "albedo")


def export_folder(
    adapter: Adapter,
    out: Path,
    *,
    space: str = "",
    ignored: int = IGNORE,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[SampleFault]:
    """Write images, masks, truth, intrinsics and ``frame.json`` below ``out``; returns the samples that were at fault.

    images/*.png, masks/*.png, depths/*.npy (float32, metres along z, NaN outside the mask), normals/*.npy (float32,
    x right, y up, z towards the viewer, 0 outside the mask), labels/*.png, camera_intrinsics/*.txt; alphas/*.npy
    (float32), trimaps/*.png where the protocol scores their unknown region, albedos/*.npy (float32, linear RGB, NaN
    where nothing is scored).
    A stem is the sample's key with "_" for everything but letters, digits, "." and "-". Tasks of one data set may be
    exported into one folder one after the other: the declarations are joined.

    Args:
        space: name of the label set, for segmentation.
        ignored: the number that stands for "not scored" in files of that set; written for 255.

    Raises:
        UsageError: two keys give one stem, the targets are not dense, or ``space`` is missing.
        StorageFull: no room or no permission.
    """
    n = min(len(adapter), limit or len(adapter))
    stems = [re.sub(r"[^A-Za-z0-9.-]", "_", key).lstrip(".") for key in adapter.keys[:n]]
    if len(set(stems)) < n:
        raise UsageError("two samples have the same name once special characters are replaced; nothing was written")
    faults: list[SampleFault] = []
    declared: dict[str, object] = {"schema": "frame/1"}
    try:
        for index, stem in enumerate(stems):
            try:
                sample = adapter[index]
            except SampleFault as fault:
                faults.append(fault)
            else:
                declared |= _write_sample(sample, stem, out, space, ignored)
            progress(index + 1, n)
        if len(declared) > 1:
            _declare(out / FILE, declared)
    except OSError as error:
        raise StorageFull(f"{out} cannot be written: {error.strerror or error}. What is there stays.") from None
    return faults


def _write_sample(sample: Sample, stem: str, out: Path, space: str, ignored: int) -> dict[str, object]:
    """The files of one sample; what they declare."""
    target, given = sample.target, sample.input
    _write(out, "image", f"{stem}.png", encode_png(given.image_HW3))
    if given.intrinsics is not None:
        text = "\n".join(" ".join(repr(float(v)) for v in row) for row in given.intrinsics)
        _write(out, "camera", f"{stem}.txt", text.encode() + b"\n")
    if isinstance(target, SegTarget):
        if not space:
            raise UsageError("labels are exported with the name of their set")
        labels = np.where(target.labels_HW == IGNORE, ignored, target.labels_HW)
        if not 0 <= ignored <= 65535:
            raise UsageError(f"pictures cannot hold {ignored}, which label set {space} ignores")
        _write(out, "seg", f"{stem}.png", encode_png(labels.astype(np.uint8 if ignored <= 255 else np.uint16)))
        return {"labels": {"space": space}}
    if isinstance(target, MattingTarget):
        _write(out, "matting", f"{stem}.npy", _npy(target.alpha_HW.astype(np.float32)))
        if target.unknown_HW is not None:
            trimap = np.where(target.unknown_HW, 128, np.where(target.alpha_HW > 0.5, 255, 0)).astype(np.uint8)
            _write(out, "trimap", f"{stem}.png", encode_png(trimap))
        return {}
    if not isinstance(target, DepthTarget | NormalTarget | AlbedoTarget):
        raise UsageError(f"{type(target).__name__} cannot be exported: only {', '.join(TASKS)} can")
    _write(out, "mask", f"{stem}.png", encode_png(_joined_mask(out, stem, target.mask_HW).astype(np.uint8) * 255))
    if isinstance(target, DepthTarget):
        depth = np.where(target.mask_HW, target.depth_HW, np.float32(np.nan)).astype(np.float32)
        _write(out, "depth", f"{stem}.npy", _npy(depth))
        return {"depth": {"unit": "m", "along": "z"}}
    if isinstance(target, AlbedoTarget):
        albedo = np.where(target.mask_HW[..., None], target.albedo_HW3, np.float32(np.nan)).astype(np.float32)
        _write(out, "albedo", f"{stem}.npy", _npy(albedo))
        return {}
    normals = np.where(target.mask_HW[..., None], target.normals_HW3, np.float32(0)).astype(np.float32)
    _write(out, "normal", f"{stem}.npy", _npy(normals))
    return {"normals": {"frame": "viewer", "order": "xyz"}}


def _joined_mask(out: Path, stem: str, mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With the mask of a task exported before: where one of the two has no value, its own map says so."""
    path = out / FOLDERS["mask"][0] / f"{stem}.png"
    before = read_mask(path.absolute(), root=out.absolute()) if path.is_file() else mask_HW
    return mask_HW | before if before.shape == mask_HW.shape else mask_HW


def _write(out: Path, role: str, name: str, data: bytes) -> None:
    path = out / FOLDERS[role][0] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _declare(path: Path, declared: dict[str, object]) -> None:
    if path.is_file():
        before = read_frame(path.parent).model_dump(mode="json", by_alias=True, exclude_none=True)
        declared = {**before, **declared}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(declared, indent=1) + "\n", encoding="utf-8")
