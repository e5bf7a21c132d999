"""Where the files of Hi4D lie: sequences, frames, cameras, and lists of frames that a paper used.

    pairXX/ACTION/meta.npz, cameras/rgb_cameras.npz, frames/mesh-f00001.obj, images/<camera>/000001.jpg,
                  seg/img_seg_mask/<camera>/all/000001.png, seg/mesh_seg_mask/mesh-f00001.npz

Cameras and frames are matched as whole numbers, however many zeros their names have; case never matters.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.pixels.codecs import load_npz
from sapiens_bench.render.mesh import IMAGE_SUFFIXES

LIST_SOURCE = "It is the text file attached to https://github.com/facebookresearch/sapiens/issues/194"
_PAIR = re.compile(r"pair_?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)$")
_SMALL = 1 << 16  # bytes of a scalar member of meta.npz
_MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """One camera as calibrated. OpenCV axes, world to camera, metres."""

    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    distortion: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sequence4D:
    """One action of one pair."""

    pair: int
    pair_name: str
    action: str
    folder: Path

    @property
    def name(self) -> str:
        """``pairXX/ACTION``."""
        return f"{self.pair_name}/{self.action}"

    @property
    def cameras_file(self) -> Path:
        return self.folder / "cameras" / "rgb_cameras.npz"

    def span(self) -> tuple[int, int]:
        """First and last frame, from ``meta.npz``; every frame when there is no such file.

        Raises:
            DatasetRejected: the file is there and has no whole ``start`` and ``end``.
        """
        path = self.folder / "meta.npz"
        if not path.is_file():
            return 0, 1 << 31
        return _whole_member(path, "start"), _whole_member(path, "end")

    def meshes(self) -> dict[int, Path]:
        """Scans by frame."""
        return _numbered(self.folder / "frames", (".obj",))

    def person_labels(self) -> dict[int, Path]:
        """Files with the person of each face, by frame."""
        return _numbered(self.folder / "seg" / "mesh_seg_mask", (".npz",))

    def images(self, camera: int) -> dict[int, Path]:
        """Pictures of one camera by frame."""
        folder = _numbered_folders(self.folder / "images").get(camera)
        return _numbered(folder, IMAGE_SUFFIXES) if folder else {}

    def masks(self, camera: int) -> dict[int, Path]:
        """Masks of both persons together, by frame."""
        folder = _numbered_folders(self.folder / "seg" / "img_seg_mask").get(camera)
        return _numbered(folder / "all", IMAGE_SUFFIXES) if folder else {}

    def material_files(self, frame: int) -> tuple[Path, ...]:
        """Materials and textures of one frame, by name."""
        return tuple(
            f
            for f in _files(self.folder / "frames")
            if f.suffix.lower() in (".mtl", *IMAGE_SUFFIXES) and _number(f.stem) == frame
        )


def find_sequences(root: Path, pairs: Iterable[int] = ()) -> list[Sequence4D]:
    """Sequences below ``root`` or below a folder in it, by pair and action; all pairs when none is named.

    Raises:
        DataMissing: there is none; says which pairs are there.
        DatasetRejected: a sequence lies in two places.
    """
    found: dict[tuple[int, str], Sequence4D] = {}
    repeated: list[str] = []
    for pair_folder in _pair_folders(root):
        match = _PAIR.fullmatch(pair_folder.name)
        assert match is not None
        for folder in _folders(pair_folder):
            sequence = Sequence4D(int(match[1]), pair_folder.name, folder.name, folder)
            if not sequence.cameras_file.is_file() and not (folder / "frames").is_dir():
                continue
            key = (sequence.pair, sequence.action)
            if key in found:
                repeated.append(f"{sequence.name} lies in {found[key].folder} and in {folder}")
            found[key] = sequence
    if repeated:
        raise DatasetRejected(str(root), repeated[:_MAX_FAULTS], "Remove one copy.")
    wanted = set(pairs)
    chosen = [found[key] for key in sorted(found) if not wanted or key[0] in wanted]
    if not chosen:
        have = ", ".join(sorted({s.pair_name for s in found.values()})) or "no pairXX/ACTION folder at all"
        asked = f"pairs {', '.join(map(str, sorted(wanted)))}" if wanted else "any pair"
        raise DataMissing(f"No sequence of {asked} under {root}; there is {have}.")
    return chosen


def read_cameras(path: Path) -> dict[int, Calibration]:
    """Calibrated cameras by id. The key of K is spelled ``intrinsics`` or, as in the document, ``intirnsics``.

    Raises:
        DataMissing, DatasetRejected: no such file, or not the arrays of this layout.
    """
    arrays = load_npz(path)
    spelling = next((name for name in ("intrinsics", "intirnsics") if name in arrays), "intrinsics")
    needed = ("ids", spelling, "extrinsics")
    if absent := [name for name in needed if name not in arrays]:
        raise DatasetRejected(str(path), [f"no array {name!r}; it has {', '.join(sorted(arrays))}" for name in absent])
    ids = np.atleast_1d(arrays["ids"])
    n = len(ids)
    shapes = {spelling: (n, 3, 3), "extrinsics": (n, 3, 4)}
    faults = [f"{k} is {arrays[k].shape}, expected {shape}" for k, shape in shapes.items() if arrays[k].shape != shape]
    distortion = arrays.get("dist_coeffs", np.zeros((n, 5)))
    if distortion.ndim != 2 or len(distortion) != n or distortion.shape[1] not in (4, 5, 8, 12, 14):
        faults.append(f"dist_coeffs is {distortion.shape}, expected ({n}, 5)")
    if not faults:
        faults = _calibration_faults(ids, arrays[spelling], arrays["extrinsics"], distortion)
    if faults:
        raise DatasetRejected(str(path), faults[:_MAX_FAULTS], "Fetch the calibration again.")
    return {
        int(ids[i]): Calibration(
            arrays[spelling][i].astype(np.float64),
            arrays["extrinsics"][i, :, :3].astype(np.float64),
            arrays["extrinsics"][i, :, 3].astype(np.float64),
            tuple(float(c) for c in distortion[i]),
        )
        for i in range(n)
    }


def _calibration_faults(
    ids: NDArray[np.generic], K: NDArray[np.generic], Rt: NDArray[np.generic], distortion: NDArray[np.generic]
) -> list[str]:
    try:
        numbers = [int(i) for i in ids]
        values = [np.asarray(a, np.float64) for a in (K, Rt, distortion)]
    except (TypeError, ValueError):
        return ["ids, intrinsics, extrinsics and dist_coeffs must be numbers"]
    faults = [] if len(set(numbers)) == len(numbers) else ["a camera id appears twice"]
    for i, number in enumerate(numbers):
        rotation = values[1][i, :, :3]
        if not all(np.isfinite(a[i]).all() for a in values):
            faults.append(f"camera {number} has NaN or infinity")
        elif values[0][i, 0, 0] <= 0 or values[0][i, 1, 1] <= 0:
            faults.append(f"camera {number} has a focal length that is not positive")
        elif np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            faults.append(f"camera {number}: the first 3x3 of extrinsics is no rotation")
    return faults


# Lists of frames -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrameList:
    """What a list file names: whole sequences, and single pictures of (sequence, camera, frame)."""

    sequences: frozenset[str]
    pictures: frozenset[tuple[str, int, int]]

    def has(self, sequence: str, camera: int, frame: int) -> bool:
        """Whether the list names this picture, or all of its sequence."""
        return sequence in self.sequences or (sequence, camera, frame) in self.pictures


def read_list(name: str, root: Path, sequences: Sequence[Sequence4D]) -> FrameList:
    """A list file: one sequence (``pair28/dance28``) or one picture (``pair28/dance28/images/4/000012.jpg``) a line.

    Paths may start with anything, blank lines and lines that begin with # do not count.

    Raises:
        DataMissing: no such file; says where to get it.
        DatasetRejected: a line names nothing that is there; every such line is listed (first 20).
    """
    path = next((p for p in (root / name, Path(name).expanduser()) if p.is_file()), None)
    if path is None:
        raise DataMissing(
            f"The list of frames {name!r} is neither in {root} nor a path of its own. {LIST_SOURCE}; save it there. "
            "Without it, use the protocol over all frames: its name says that it is another set."
        )
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetRejected(str(path), [f"not a text file: {error}"], LIST_SOURCE) from None
    whole: set[str] = set()
    pictures: set[tuple[str, int, int]] = set()
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        named = _list_line(text.replace("\\", "/").split("/"), sequences)
        if isinstance(named, str):
            faults.append(f"line {number}, {text[:80]!r}: {named}")
        elif named[1:] == (None, None):
            whole.add(named[0])
        else:
            sequence, camera, frame = named
            assert camera is not None
            assert frame is not None
            pictures.add((sequence, camera, frame))
    if faults or not (whole or pictures):
        shown = [*faults[:_MAX_FAULTS], *([f"... {len(faults)} such lines"] if len(faults) > _MAX_FAULTS else [])]
        raise DatasetRejected(str(path), shown or ["it names no sequence and no picture"], LIST_SOURCE)
    return FrameList(frozenset(whole), frozenset(pictures))


def _list_line(parts: list[str], sequences: Sequence[Sequence4D]) -> tuple[str, int | None, int | None] | str:
    """(sequence, camera, frame) of one line, or what is wrong with it."""
    parts = [part.strip() for part in parts if part.strip() not in ("", ".")]
    at = next((i for i, part in enumerate(parts) if _PAIR.fullmatch(part)), None)
    if at is None:
        matches = [(i, s) for i, part in enumerate(parts) for s in sequences if s.action.lower() == part.lower()]
    else:
        match = _PAIR.fullmatch(parts[at])
        assert match is not None
        action = parts[at + 1].lower() if at + 1 < len(parts) else ""
        matches = [(at + 1, s) for s in sequences if s.pair == int(match[1]) and s.action.lower() == action]
    if len(matches) != 1:
        return "names no sequence that is here" if not matches else "could be several sequences"
    position, sequence = matches[0]
    rest = parts[position + 1 :]
    if not rest:
        return sequence.name, None, None
    if len(rest) == 3 and rest[0].lower() == "images":
        rest = rest[1:]
    frame = _number(Path(rest[-1]).stem)
    if len(rest) != 2 or not rest[0].isdigit() or frame is None:
        return "expected SEQUENCE/images/CAMERA/FRAME.jpg after the sequence, or nothing"
    return sequence.name, int(rest[0]), frame


# Folders -------------------------------------------------------------------------------------------------------------


def _whole_member(path: Path, name: str) -> int:
    """A whole number in an ``.npz`` whose other members may be anything; only this member is opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(f"{name}.npy").file_size > _SMALL:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as arrays:
            value = np.asarray(arrays[name]).reshape(-1)
        if len(value) != 1 or float(value[0]) != int(value[0]):
            raise ValueError(f"{name} is {value[:4]!r}")
        return int(value[0])
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from None
    except (KeyError, ValueError, TypeError, OverflowError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetRejected(str(path), [f"{name!r} is not one whole number ({error})"], "Fetch it again.") from None


def _pair_folders(root: Path) -> list[Path]:
    """pairXX folders in ``root`` and one folder down, in name order."""
    direct = _folders(root)
    below = [child for folder in direct if not _PAIR.fullmatch(folder.name) for child in _folders(folder)]
    return [folder for folder in (*direct, *below) if _PAIR.fullmatch(folder.name)]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_file())
    except OSError:
        return []


def _numbered_folders(folder: Path) -> dict[int, Path]:
    return {int(child.name): child for child in _folders(folder) if child.name.isdigit()}


def _numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """Files by the number their name ends with; of several with one number the first by name."""
    found: dict[int, Path] = {}
    for file in _files(folder):
        number = _number(file.stem) if file.suffix.lower() in suffixes else None
        if number is not None:
            found.setdefault(number, file)
    return found


def _number(stem: str) -> int | None:
    match = _NUMBER.search(stem)
    return int(match[1]) if match else None
