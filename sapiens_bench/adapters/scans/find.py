"""Finding the scans of a data set below a folder, and telling them from what lies beside them.

A folder named by an id is a **scan** when it holds a mesh that is no body-model fit, or materials whose mesh is missing
(then its samples are error rows). Left out are fits (``smpl`` in the name of the mesh, or in that of a folder above
while there are no materials), folders of pictures (renders, masks, previews), and what ``pixels.files`` calls junk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.pixels.files import is_junk
from sapiens_bench.render.files import listing
from sapiens_bench.render.mesh import IMAGE_SUFFIXES, MESH_SUFFIXES

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set names its folders and meshes."""

    folder: re.Pattern[str]  # group 1 is the scan's name
    what: str  # as messages show it
    suffixes: tuple[str, ...] = (".obj",)
    takes_all: bool = False  # each mesh of a folder is a scan of its own
    has_copies: bool = False  # a folder holds reduced copies too: the mesh with most bytes is the scan
    depth: int = 3  # folders between the root and the scans


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan."""

    name: str
    mesh: Path  # may be missing: the scan's samples are error rows then
    sources: tuple[Path, ...]  # mesh, materials and pictures of the folder, by name


@dataclass(slots=True)
class Found:
    """What lies below a root."""

    scans: list[Scan] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)  # names of folders with body-model fits alone
    empty: list[str] = field(default_factory=list)  # names of folders with neither mesh nor picture
    strange: list[str] = field(default_factory=list)  # names of folders with meshes that the layout does not name
    text_links: list[str] = field(default_factory=list)  # files in the place of folders: links that were stored as text

    def notes(self, layout: Layout, n_expected: int, n_chosen: int) -> tuple[str, ...]:
        """What a reader of the table should know."""
        notes = []
        if n_expected and n_chosen != n_expected:
            notes.append(f"{n_chosen} scans were found, the protocol expects {n_expected}: scores are of another set")
        have = {scan.name for scan in self.scans}
        for names, what in (
            (self.fits, "hold body-model fits alone"),
            (self.empty, "hold no scan"),
            (self.strange, f"hold meshes under other names than {layout.what}"),
        ):
            if left := sorted(set(names) - have):
                more = ", ..." if len(left) > _SHOWN else ""
                notes.append(f"{len(left)} folders {what} and were left out: {', '.join(left[:_SHOWN])}{more}")
        return tuple(notes)

    def why_none(self, root: Path, what: str, ids: tuple[int, int], advice: str) -> DataMissing:
        """The exception for a root without scans that were asked for."""
        start = f"No scan {what} under {root}"
        if self.scans:
            have = f"{self.scans[0].name} to {self.scans[-1].name}"
            return DataMissing(f"{start} has an id from {ids[0]} to {ids[1]}; it has {len(self.scans)}, {have}.")
        if self.fits:
            return DataMissing(
                f"{start}: {len(self.fits)} folders hold body-model fits (SMPL, SMPL-X) alone, such as {self.fits[0]}. "
                f"Fits are a separate download and are not needed; the scans are. {advice}"
            )
        if self.text_links:
            return DataMissing(
                f"{start}: {self.text_links[0]} is a small text file in the place of a folder, which is what a link "
                "becomes where links are switched off (git: core.symlinks). Make it a link, or copy the folder."
            )
        return DataMissing(f"{start} (searched three folders deep). {advice}")


def find_scans(root: Path, layout: Layout) -> Found:
    """Scans below ``root``, by name.

    Raises:
        DatasetRejected: one scan lies in two places, or a name is no text that a table can show.
    """
    found = Found()
    by_name: dict[str, list[Scan]] = {}
    faults: list[str] = []
    for folder, name in _named_folders(root, layout, layout.depth, found):
        if not name.isprintable():
            faults.append(f"the folder {name!r} has a name that is not printable UTF-8; rename it")
            continue
        for scan in _scans_of(folder, name, root, layout, found):
            by_name.setdefault(scan.name, []).append(scan)
    for name, scans in by_name.items():
        scans[:] = _distinct(scans)
        if len(scans) > 1:
            faults.append(f"scan {name} lies in " + " and in ".join(str(scan.mesh.parent) for scan in scans[:3]))
    if faults:
        raise DatasetRejected(str(root), faults[:20], "Give the folder of one release, or remove one copy.")
    found.scans = [by_name[name][0] for name in sorted(by_name, key=_order)]
    return found


def _distinct(scans: list[Scan]) -> list[Scan]:
    """Scans without those that a link leads to a second time."""
    return list({os.path.realpath(scan.mesh): scan for scan in reversed(scans)}.values())[::-1]


def number_of(name: str) -> int:
    """The id of a scan; -1 where its name has none."""
    digits = re.match(r"\d+", name)
    return int(digits[0]) if digits else -1


def is_fit(path: Path) -> bool:
    """Whether a mesh is the fit of a body model, by its name: mesh_smplx.obj, mesh-f00101_smpl.obj."""
    return "smpl" in path.stem.casefold()


def _order(name: str) -> tuple[int, str]:
    return number_of(name), name


def _named_folders(folder: Path, layout: Layout, depth: int, found: Found) -> Iterator[tuple[Path, str]]:
    """Folders that the layout knows, by name, and their scan's name; what is below them is not searched."""
    for child in listing(folder):
        match = layout.folder.fullmatch(child.name)
        if not child.is_dir():
            if match and child.is_file() and child.suffix == "" and child.stat().st_size < 4096:
                found.text_links.append(str(child))
        elif match:
            yield _unpacked_twice(child, layout), match[1]
        elif depth:
            if _has_strange_mesh(child):
                found.strange.append(child.name)
            yield from _named_folders(child, layout, depth - 1, found)


def _unpacked_twice(folder: Path, layout: Layout) -> Path:
    """The folder of the same name in one that holds nothing else of a scan: doubled while it was unpacked."""
    inner = folder / folder.name
    own = any(f.suffix.lower() in (*layout.suffixes, ".mtl") for f in listing(folder) if f.is_file())
    return inner if not own and inner.is_dir() else folder


def _has_strange_mesh(folder: Path) -> bool:
    """Whether a folder that the layout does not name holds something that could be a scan."""
    if "smpl" in folder.name.casefold():
        return False
    return any(f.suffix.lower() in MESH_SUFFIXES and not is_fit(f) and f.is_file() for f in listing(folder))


def _scans_of(folder: Path, name: str, root: Path, layout: Layout, found: Found) -> list[Scan]:
    files = _files(folder)
    meshes = [f for f in files if f.suffix.lower() in MESH_SUFFIXES and f.parent == folder]
    scans = [f for f in meshes if f.suffix.lower() in layout.suffixes and not is_fit(f)]
    materials = [f for f in files if f.suffix.lower() == ".mtl" or f.stem.casefold().startswith("material")]
    pictures = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES]
    among_fits = any("smpl" in part.casefold() for part in folder.relative_to(root).parts[:-1])
    if among_fits and not materials and not pictures:
        scans = []
    sources = tuple(f for f in files if f not in meshes or f in scans)
    if layout.takes_all and len(scans) > 1:
        return [Scan(f"{name}-{mesh.stem}", mesh, (mesh, *_without(sources, scans))) for mesh in scans]
    if scans or materials:
        mesh = _chosen(scans, folder.name, layout) or folder / f"{name}{layout.suffixes[0]}"
        return [Scan(name, mesh, sources)]
    has_fit = bool(meshes) or among_fits or any("smpl" in f.name.casefold() for f in listing(folder))
    if has_fit:
        found.fits.append(name)
    elif not pictures:
        found.empty.append(name)
    return []


def _without(files: tuple[Path, ...], meshes: list[Path]) -> tuple[Path, ...]:
    return tuple(f for f in files if f not in meshes)


def _chosen(meshes: list[Path], folder: str, layout: Layout) -> Path | None:
    """The mesh named as its folder, else the only one; of reduced copies the largest."""
    named = [f for f in meshes if f.stem == folder]
    candidates = sorted(named or meshes, key=lambda f: layout.suffixes.index(f.suffix.lower()))
    if layout.has_copies:
        candidates.sort(key=lambda f: (-f.stat().st_size, f.name))
    return candidates[0] if named or len(candidates) == 1 or (candidates and layout.has_copies) else None


def _files(folder: Path) -> list[Path]:
    """Meshes, materials and pictures of a folder and of the folders in it, by name."""
    wanted = (*MESH_SUFFIXES, ".mtl", *IMAGE_SUFFIXES)
    own = listing(folder)
    below = [f for child in own if child.is_dir() and not is_junk(child.name) for f in listing(child)]
    return sorted(f for f in (*own, *below) if f.suffix.lower() in wanted and f.is_file())
