"""Folders of files that belong together by their stem, and what a dense sample is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import DatasetCard, EvalProtocol
from sapiens_bench.errors import CardError, DataError, DataMissing, DatasetRejected, SampleFault, UsageError
from sapiens_bench.pixels.codecs import load_npy, load_npz, path_fault
from sapiens_bench.types import ModelInput

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
HASHED_BYTES = 1 << 28  # ground truth up to this size goes into the manifest by content, more by name and size


def where(card: DatasetCard, protocol: EvalProtocol) -> str:
    """How messages name a protocol."""
    return f"data set {card.id}, protocol {protocol.title!r}"


def checked_options(card: DatasetCard, protocol: EvalProtocol, known: dict[str, type]) -> dict[str, Any]:
    """The protocol's options.

    Raises:
        CardError: an unknown key, or a value of another type.
    """
    for name, value in protocol.options.items():
        if name not in known:
            raise CardError(f"{where(card, protocol)}: unknown option {name!r}; this adapter knows {sorted(known)}")
        if not isinstance(value, known[name]) or (known[name] is int and isinstance(value, bool)):
            raise CardError(f"{where(card, protocol)}: options.{name} must be {known[name].__name__}, not {value!r}")
    return dict(protocol.options)


def checked_folder(name: str, about: str) -> str:
    """A folder below the root; "." is the root itself.

    Raises:
        CardError: it could leave the root.
    """
    if name != "." and (fault := path_fault(name)) is not None:
        raise CardError(f"{about}: folder {name!r} {fault}")
    return name


def refuse_split(card: DatasetCard, split: str) -> None:
    """Raises UsageError for a data set without splits."""
    if split:
        raise UsageError(f"data set {card.id} has no splits; leave --split {split!r} out")


def by_stem(folder: Path, suffixes: Sequence[str], keep: Callable[[str], str | None]) -> dict[str, Path]:
    """Files of a folder by ``keep(stem)``; None leaves a file out.

    Raises:
        DataMissing: no such folder, or it cannot be read.
        DatasetRejected: two files have the same stem.
    """
    found: dict[str, Path] = {}
    repeated: list[str] = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataMissing(f"{folder} cannot be read: {error.strerror or error}") from None
    for path in paths:
        stem = keep(path.stem) if path.suffix.lower() in suffixes else None
        if stem is None:
            continue
        if stem in found:
            repeated.append(f"{found[stem].name} and {path.name} have the same name but for their ending")
        found.setdefault(stem, path)
    if repeated:
        raise DatasetRejected(str(folder), repeated[:20], "Keep one file per sample.")
    return found


def manifest(parts: Iterable[str], root: Path, images: Sequence[Path], truth: Sequence[Path]) -> str:
    """SHA-256 over ``parts``, names and sizes of the pictures, and the ground truth.

    Ground truth counts by content up to 256 MiB in all, beyond that by name and size, so that a large set opens fast.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode())
    try:
        small = sum(path.stat().st_size for path in truth) <= HASHED_BYTES
        for path in (*images, *truth):
            digest.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode())
        for path in truth if small else ():
            if not path.is_symlink():  # a link may leave the root; reading the sample refuses it then
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise DataMissing(f"{error.filename} cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def whole_image(key: str, image_HW3: NDArray[np.uint8], intrinsics: NDArray[np.float64] | None = None) -> ModelInput:
    """The input of a dense task: one box around everything."""
    height, width = image_HW3.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    return ModelInput(key, image_HW3, box, np.ones(1, np.float32), intrinsics)


def read_array(path: Path, member: str = "") -> NDArray[Any]:
    """The array of a ``.npy`` file, or one member of a ``.npz`` (the only one, when ``member`` is not there).

    Raises:
        SampleFault: ``label.array``; unreadable, or several arrays and none of that name.
    """
    try:
        if path.suffix.lower() == ".npy":
            return load_npy(path)
        arrays = load_npz(path)
    except DataError as error:
        raise SampleFault("label.array", str(error)) from None
    if member in arrays:
        return arrays[member]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise SampleFault("label.array", f"{path}: no array {member!r}, the file has {sorted(arrays)}")


def check_shape(array: NDArray[Any], shape: tuple[int, ...], path: Path) -> None:
    """Raises SampleFault ``label.shape`` when the truth does not fit its picture."""
    if array.shape != shape:
        raise SampleFault("label.shape", f"{path}: shape {array.shape}, the picture needs {shape}")


def read_matrix(path: Path) -> NDArray[np.float64]:
    """Intrinsics [3, 3] in pixels from a text file of nine numbers.

    Raises:
        SampleFault: ``label.camera``.
    """
    try:
        text = path.read_bytes()[:4096].decode("ascii").replace(",", " ")
        values = np.array([float(word) for word in text.split()])
    except (OSError, ValueError) as error:
        raise SampleFault("label.camera", f"{path}: {error}") from None
    if values.size != 9 or not np.isfinite(values).all():
        raise SampleFault("label.camera", f"{path}: {values.size} numbers; a camera matrix has nine finite ones")
    K = values.reshape(3, 3)
    if K[0, 0] <= 0 or K[1, 1] <= 0 or tuple(K[2]) != (0.0, 0.0, 1.0):
        raise SampleFault("label.camera", f"{path}: not a camera matrix (fx {K[0, 0]:g}, fy {K[1, 1]:g})")
    return K
