"""Where the files of Hi4D lie.

    pairXX/ACTION/meta.npz, cameras/rgb_cameras.npz, frames/mesh-f00001.obj, images/<camera>/000001.jpg,
                  seg/img_seg_mask/<camera>/all/000001.png, seg/mesh_seg_mask/mesh-f00001.npz

Cameras and frames are matched as whole numbers, however many zeros their names have; case never matters. Archives are
delivered in parts and unpacked in many ways; all of these are found, up to three folders deep:

    pair32_1/ACTION, pair32_2/ACTION      two halves of a pair, called pair32 in keys and lists
    pair28/pair28/ACTION                  a folder doubled while unpacking
    ACTION                                without a pair folder: the number behind the action's name is the pair's
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.adapters.scans.hi4d_cameras import members, whole_member
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.render.files import listing
from sapiens_bench.render.mesh import IMAGE_SUFFIXES

PAIR = re.compile(r"pair_?(\d+)(?:[_-]\d+)?", re.IGNORECASE)
DEPTH = 3  # folders between the root and a sequence's own
EVERYBODY = "all"  # folder of the masks of both persons
_NUMBER = re.compile(r"(\d+)$")
_MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Sequence4D:
    """One action of one pair."""

    pair: int
    pair_name: str  # as in keys: ``pair32`` for both of pair32_1 and pair32_2
    action: str
    folder: Path

    @property
    def name(self) -> str:
        """``pairXX/ACTION``."""
        return f"{self.pair_name}/{self.action}"

    @property
    def cameras_file(self) -> Path:
        return self.folder / "cameras" / "rgb_cameras.npz"

    @property
    def meta_file(self) -> Path:
        return self.folder / "meta.npz"

    def span(self) -> tuple[int, int]:
        """First and last frame, from ``meta.npz``; every frame when there is no such file.

        Raises:
            DatasetRejected: the file is there and has no whole ``start`` and ``end``.
        """
        if not self.meta_file.is_file():
            return 0, 1 << 31
        return whole_member(self.meta_file, "start"), whole_member(self.meta_file, "end")

    def mono_camera(self) -> int:
        """The camera that the data set's authors use for work from one view.

        Raises:
            DataMissing, DatasetRejected: ``meta.npz`` does not say.
        """
        if "mono_cam" not in members(self.meta_file):
            raise DatasetRejected(
                str(self.meta_file), ["no 'mono_cam'"], "Name cameras by their numbers (cameras: [4])."
            )
        return whole_member(self.meta_file, "mono_cam")

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

    def masks(self, camera: int) -> dict[int, tuple[Path, ...]]:
        """Masks that together show everybody, by frame: that of both persons, else one of each person."""
        folder = _numbered_folders(self.folder / "seg" / "img_seg_mask").get(camera)
        if folder is None:
            return {}
        together = _numbered(folder / EVERYBODY, IMAGE_SUFFIXES)
        apart = [_numbered(child, IMAGE_SUFFIXES) for child in _numbered_folders(folder).values()]
        complete = set.intersection(*map(set, apart)) if len(apart) > 1 else set()
        found = {frame: tuple(person[frame] for person in apart) for frame in complete}
        return found | {frame: (path,) for frame, path in together.items()}

    def material_files(self, frame: int) -> tuple[Path, ...]:
        """Materials and textures of one frame, by name."""
        return tuple(
            f
            for f in listing(self.folder / "frames")
            if f.suffix.lower() in (".mtl", *IMAGE_SUFFIXES) and number_at_end(f.stem) == frame and f.is_file()
        )


def find_sequences(root: Path, pairs: Iterable[int] = ()) -> list[Sequence4D]:
    """Sequences below ``root``, by pair and action; all pairs when none is named.

    Raises:
        DataMissing: there is none; says which pairs are there.
        DatasetRejected: a sequence lies in two places, or has a name that no table can show.
    """
    found: dict[tuple[int, str], Sequence4D] = {}
    faults: list[str] = []
    for sequence in _own_sequence(root) or _sequences(root, None, DEPTH):
        if not sequence.name.isprintable():
            faults.append(f"the folder {sequence.name!r} has a name that is not printable UTF-8; rename it")
            continue
        key = (sequence.pair, sequence.action)
        if key in found:
            faults.append(f"{sequence.name} lies in {found[key].folder} and in {sequence.folder}")
        found[key] = sequence
    if faults:
        raise DatasetRejected(str(root), faults[:_MAX_FAULTS], "Remove one copy.")
    wanted = set(pairs)
    chosen = [found[key] for key in sorted(found) if not wanted or key[0] in wanted]
    if not chosen:
        have = (
            ", ".join(sorted({s.pair_name for s in found.values()})) or f"no pairXX/ACTION within {DEPTH} folders of it"
        )
        asked = f"pairs {', '.join(map(str, sorted(wanted)))}" if wanted else "any pair"
        raise DataMissing(f"No sequence of {asked} under {root}; there is {have}.")
    return chosen


def pair_notes(sequences: Iterable[Sequence4D], wanted: Iterable[int]) -> tuple[str, ...]:
    """One note that names the pairs which were asked for and are not there."""
    asked, have = sorted(set(wanted)), {s.pair for s in sequences}
    missing = [str(pair) for pair in asked if pair not in have]
    if not missing:
        return ()
    here = ", ".join(str(pair) for pair in asked if pair in have)
    text = f"pair {missing[0]} is" if len(missing) == 1 else f"pairs {', '.join(missing)} are"
    return (f"{text} missing; scored is {here} alone, {len(asked) - len(missing)} of the {len(asked)} pairs asked for",)


def _own_sequence(root: Path) -> list[Sequence4D]:
    """The root itself where it is the folder of an action; its pair is that of the folder above, or in its name."""
    if not _is_sequence(root):
        return []
    real = root.resolve()
    match = PAIR.fullmatch(real.parent.name)
    owner = (int(match[1]), _pair_name(real.parent.name)) if match else _pair_of_action(real.name)
    return [Sequence4D(*owner, real.name, root)] if owner else []


def _is_sequence(folder: Path) -> bool:
    return (folder / "cameras" / "rgb_cameras.npz").is_file() or (folder / "frames").is_dir()


def _sequences(folder: Path, pair: tuple[int, str] | None, depth: int) -> Iterator[Sequence4D]:
    """Sequences in a folder, which lies in the folder of a pair or not."""
    for child in listing(folder):
        if not child.is_dir():
            continue
        match = PAIR.fullmatch(child.name)
        if match and depth > -DEPTH:  # a bound, against links that lead in circles
            yield from _sequences(child, (int(match[1]), _pair_name(child.name)), depth - 1)
        if match:
            continue
        owner = pair or _pair_of_action(child.name)
        if _is_sequence(child):
            if owner:
                yield Sequence4D(*owner, child.name, child)
        elif depth > 0:
            yield from _sequences(child, pair, depth - 1)


def _pair_name(folder: str) -> str:
    """``pair32`` of ``pair32_1``; other spellings stay as they are."""
    return re.sub(r"(?<=\d)[_-]\d+$", "", folder)


def _pair_of_action(action: str) -> tuple[int, str] | None:
    """The pair of an action that lies in no pair folder, from the number behind its name."""
    number = number_at_end(action)
    return None if number is None else (number, f"pair{number:02d}")


def _numbered_folders(folder: Path) -> dict[int, Path]:
    return {int(child.name): child for child in listing(folder) if child.name.isdecimal() and child.is_dir()}


def _numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """Files by the number their name ends with; of several with one number the first by name."""
    found: dict[int, Path] = {}
    for file in listing(folder):
        number = number_at_end(file.stem) if file.suffix.lower() in suffixes and file.is_file() else None
        if number is not None:
            found.setdefault(number, file)
    return found


def number_at_end(stem: str) -> int | None:
    """The whole number that a name ends with."""
    match = _NUMBER.search(stem)
    return int(match[1]) if match else None
