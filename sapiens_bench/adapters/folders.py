"""Folders of files that belong together by their name, and what a dense sample is made of.

A sample is called by the path of its files below their folder, without the ending; the rules for names, junk and links
are those of pixels/listing.py. Two files of one folder with the same name are refused.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault, raise_if_machine
from sapiens_bench.pixels.files import read_regular, shown
from sapiens_bench.pixels.listing import composed, listed
from sapiens_bench.types import ModelInput

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".ppm")
HASHED_BYTES = 1 << 28  # ground truth up to this size goes into the manifest by content, more by name and size
_SHOWN = 20


@dataclass(slots=True)
class Listing:
    """The files of one folder."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)  # by name; see the rules above
    endings: Counter[str] = field(default_factory=Counter)  # of files that were not wanted
    n_links_out: int = 0  # files and folders that are links out of the data set's root

    def __len__(self) -> int:
        return len(self.files)


def list_files(
    folder: Path,
    suffixes: Sequence[str],
    keep: Callable[[str], str | None] = lambda name: name,
    root: Path | None = None,
) -> Listing:
    """Files of a folder and its sub-folders by ``keep(name)``; None leaves a file out. What is in a file's place but
    cannot be read (a pipe, a broken link) is among them: its sample will say so.

    Args:
        suffixes: endings that are wanted, in lower case.
        root: of the data set; links out of it are counted.

    Raises:
        DataMissing: no such folder, or it cannot be read.
        DatasetRejected: two files have the same name.
    """
    found = Listing(folder)
    repeated: list[str] = []
    home = os.path.normpath(root or folder)
    try:
        entries = listed(folder)
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{shown(folder)} cannot be read: {_reason(error, folder)}") from None
    for path, inside, is_link in entries:
        found.n_links_out += is_link and _leads_out(path, home)
        stem, ending = os.path.splitext(inside)
        if ending.lower() not in suffixes:
            found.endings[ending.lower()] += 1
            continue
        name = keep(composed(stem))
        if name is None:
            continue
        first = found.files.setdefault(name, Path(path))
        if os.fspath(first) != path:
            both = f"{shown(os.path.relpath(first, folder))} and {shown(inside)}"
            repeated.append(f"{both} have the same name but for their ending")
    if repeated:
        raise DatasetRejected(shown(folder), repeated[:_SHOWN], "Keep one file per sample.")
    return found


def _reason(error: OSError, folder: Path) -> str:
    if isinstance(error, NotADirectoryError):
        return "it is a file, not a folder (a link that was unpacked as text?)"
    return str(error.strerror or error)


def _leads_out(path: str, home: str) -> bool:
    """Does a link name something outside ``home``? By its text alone: asking the disk for every file takes too long."""
    try:
        target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    except OSError:
        return False
    return target != home and not target.startswith(home.rstrip(os.sep) + os.sep)


def partners(listings: Mapping[str, Listing]) -> tuple[list[str], list[str]]:
    """Names that every folder has, sorted, and one note for each folder whose files have no partner elsewhere."""
    names = sorted(set.intersection(*(set(found.files) for found in listings.values())))
    notes = []
    for role, found in listings.items():
        alone = sorted(found.files.keys() - set(names))
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            notes.append(f"{role}: {alone[0]}{more} left out, since another folder has no file of that name")
    return names, notes


def no_partners(listings: Mapping[str, Listing], suffixes: Mapping[str, Sequence[str]]) -> str:
    """Why no name is in all folders: counts, an example of each, and the endings that are not read."""
    lines = []
    for role, found in listings.items():
        example = f", e.g. {min(found.files)!r}" if found.files else ""
        others = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in found.endings.most_common(3))
        unread = f"; not read: {others}; read: {', '.join(suffixes[role])}" if others and not found.files else ""
        lines.append(f"{role}: {len(found)} files in {shown(found.folder)}{example}{unread}")
    return "; ".join(lines)


def manifest(parts: Iterable[str], root: Path, images: Sequence[Path], truth: Sequence[Path]) -> str:
    """SHA-256 over ``parts``, names and sizes of the pictures, and the ground truth.

    Ground truth counts by content up to 256 MiB in all, beyond that by name and size, so that a large set opens fast.
    What cannot be read counts by name: its sample will say so.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode())
    sizes = {os.fspath(path): _size(path) for path in (*images, *truth)}
    start = len(os.fspath(root)) + 1
    for name, size in sizes.items():
        digest.update(os.fsencode(f"{name[start:]} {size}\n"))
    if sum(sizes[os.fspath(path)] for path in truth) <= HASHED_BYTES:
        for path in truth:
            digest.update(_content(path))
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise_if_machine(error)
        return -1


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(read_regular(path)).digest()
    except (OSError, ValueError) as error:
        raise_if_machine(error)
        return b"unreadable"


def whole_image(key: str, image_HW3: NDArray[np.uint8], intrinsics: NDArray[np.float64] | None = None) -> ModelInput:
    """The input of a dense task: one box around everything."""
    height, width = image_HW3.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    return ModelInput(key, image_HW3, box, np.ones(1, np.float32), intrinsics)


def read_matrix(path: Path) -> NDArray[np.float64]:
    """Intrinsics [3, 3] in pixels from a text file of nine numbers.

    Raises:
        SampleFault: ``label.camera``.
    """
    try:
        text = read_regular(path, most=4096).decode("ascii").replace(",", " ")
        values = np.array([float(word) for word in text.split()])
    except UnicodeDecodeError:
        raise SampleFault("label.camera", f"{shown(path)}: not plain text") from None
    except (OSError, ValueError) as error:
        raise_if_machine(error)
        reason = getattr(error, "strerror", None) or "not nine numbers"
        raise SampleFault("label.camera", f"{shown(path)}: {reason}") from None
    if values.size != 9 or not np.isfinite(values).all():
        raise SampleFault("label.camera", f"{shown(path)}: {values.size} numbers; a camera matrix has nine finite ones")
    K = values.reshape(3, 3)
    if K[0, 0] <= 0 or K[1, 1] <= 0 or tuple(K[2]) != (0.0, 0.0, 1.0):
        raise SampleFault("label.camera", f"{shown(path)}: not a camera matrix (fx {K[0, 0]:g}, fy {K[1, 1]:g})")
    return K
