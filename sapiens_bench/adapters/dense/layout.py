"""Where the files of a plain dense folder lie: role folders, scenes, and the names that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sapiens_bench.adapters.folders import (
    IMAGE_SUFFIXES,
    Listing,
    list_files,
    no_partners,
    partners,
)
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, UsageError, raise_if_machine
from sapiens_bench.pixels.dense_maps import ARRAYS, DEPTH_SUFFIXES, LABEL_SUFFIXES, NORMAL_SUFFIXES
from sapiens_bench.pixels.exr import require
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.listing import subfolders
from sapiens_bench.pixels.paths import path_fault
from sapiens_bench.tasks.stored_options import SHARE_SUFFIXES

FOLDERS: dict[str, tuple[str, ...]] = {  # role -> spellings, in any case; the first is written on export
    "image": ("images", "image", "rgb", "img", "imgs"),
    "mask": ("masks", "mask"),
    "depth": ("depths", "depth"),
    "normal": ("normals", "normal"),
    "seg": ("labels", "label"),
    "matting": ("alphas", "alpha", "mattes", "matte", "pha"),
    "trimap": ("trimaps", "trimap"),
    "albedo": ("albedos", "albedo"),
    "camera": ("camera_intrinsics", "intrinsics"),
}
SUFFIXES: dict[str, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES,
    "mask": (*IMAGE_SUFFIXES, *ARRAYS),
    "depth": DEPTH_SUFFIXES,
    "normal": NORMAL_SUFFIXES,
    "seg": LABEL_SUFFIXES,
    "matting": SHARE_SUFFIXES,
    "trimap": LABEL_SUFFIXES,
    "albedo": SHARE_SUFFIXES,
    "camera": (".txt",),
}
OPTION = {  # the option that names a role's folder
    "image": "images", "mask": "masks", "depth": "depths", "normal": "normals", "seg": "labels", "camera": "cameras",
    "matting": "alphas", "trimap": "trimaps", "albedo": "albedos",
}  # fmt: skip


class Layout:
    """The names that every needed role has, sorted, with each role's file.

    Files of a role lie in its folder (``images/``), in sub-folders of it (``images/<scene>/``), or in a folder of that
    name in each scene (``<scene>/images/``).

    Args:
        needed: roles without which there is no sample.
        wanted: roles that are used where they are there.
        named: role -> folder, where it is not called as usual; "." is the root itself.
        loose: role whose files may lie in the root itself when there is no folder of its name.

    Raises:
        DataMissing: a needed folder is absent, no name is in all of them, or the package for EXR files is missing.
        DatasetRejected: two files or two folders for the same thing.
    """

    def __init__(
        self,
        root: Path,
        needed: Sequence[str],
        wanted: Sequence[str] = (),
        named: Mapping[str, str] | None = None,
        loose: str = "",
    ) -> None:
        self.root, self._named, self._loose = root, dict(named or {}), loose
        found = {role: self._list(role) for role in needed}
        absent = [role for role, listing in found.items() if listing is None]
        if absent:
            raise DataMissing(self._absent(absent[0]))
        listings = {role: listing for role, listing in found.items() if listing is not None}
        self.stems, self.notes = partners(listings)
        if not self.stems:
            raise DataMissing(f"{shown(root)}: no name is in all folders. {no_partners(listings, SUFFIXES)}.")
        listings |= {role: listing for role in wanted if (listing := self._list(role)) is not None}
        self._paths = {role: [listing.files.get(s) for s in self.stems] for role, listing in listings.items()}
        self.notes += _link_notes(listings, root)
        self._check_package()

    def has_role(self, role: str) -> bool:
        """Is there any file of this role?"""
        return any(path is not None for path in self._paths.get(role, ()))

    def path(self, role: str, index: int) -> Path | None:
        """The file of a sample, or None."""
        return self._paths[role][index] if role in self._paths else None

    def paths(self, *, pictures: bool) -> list[Path]:
        """The pictures, or everything that is not one."""
        roles = [role for role in sorted(self._paths) if (role == "image") == pictures]
        return [path for role in roles for path in self._paths[role] if path is not None]

    def of(self, index: int) -> list[Path | None]:
        """Every file of a sample, in a fixed order."""
        return [self._paths[role][index] for role in sorted(self._paths)]

    def _check_package(self) -> None:
        """A missing package must show now, not in every row."""
        first = next((p for p in self.paths(pictures=False) if p.suffix.lower() == ".exr"), None)
        try:
            if first is not None:
                require(first)
        except UsageError as error:
            raise DataMissing(str(error)) from None

    def _list(self, role: str) -> Listing | None:
        """The files of a role; None where there is no folder for it."""
        places = self._places(role)
        if not places:
            return None
        joined = Listing(places[0][1])
        for prefix, folder in places:
            part = list_files(folder, SUFFIXES[role], lambda name, p=prefix: p + name, self.root)  # type: ignore[misc]
            joined.files |= part.files
            joined.endings += part.endings
            joined.n_links_out += part.n_links_out
        return joined

    def _places(self, role: str) -> list[tuple[str, Path]]:
        """(prefix of the names, folder) of a role."""
        if given := self._named.get(role):
            if given != "." and (fault := path_fault(given)) is not None:
                raise CardError(f"option {OPTION[role]}: folder {given!r} {fault}")
            return [("", self.root if given == "." else self.root / given)]
        if own := _role_folder(self.root, role):
            return [("", own)]
        scenes = [(f"{scene.name}/", inside) for scene in _folders(self.root) if (inside := _role_folder(scene, role))]
        return scenes or ([("", self.root)] if role == self._loose else [])

    def _absent(self, role: str) -> str:
        names = " or ".join(FOLDERS[role][:3])
        if unpacked := next((n for n in FOLDERS[role] if (self.root / n).is_file()), ""):
            return (
                f"{shown(self.root / unpacked)} is a file, not a folder. A link that was copied or unpacked as text "
                "looks like that: make the link again, or copy the folder it leads to."
            )
        there = ", ".join(folder.name for folder in _folders(self.root)[:8]) or "no folder at all"
        return f"{shown(self.root)} has no folder {names} (it has {shown(there)}); option {OPTION[role]} names another."


def _role_folder(parent: Path, role: str) -> Path | None:
    found = [folder for folder in _folders(parent) if folder.name.lower() in FOLDERS[role]]
    if len(found) > 1:
        names = " and ".join(folder.name for folder in found)
        raise DatasetRejected(
            shown(parent), [f"{names} may both hold the {role} files"], f"Name one with the option {OPTION[role]}."
        )
    return found[0] if found else None


def _folders(parent: Path) -> list[Path]:
    try:
        return subfolders(parent)
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{shown(parent)} cannot be read: {error.strerror or error}") from None


def _link_notes(listings: dict[str, Listing], root: Path) -> list[str]:
    folders = [role for role, found in listings.items() if found.folder.is_symlink()]
    n_files = sum(found.n_links_out for found in listings.values())
    parts = [f"the folders for {', '.join(folders)}"] if folders else []
    parts += [f"{n_files} files"] if n_files else []
    return [f"{' and '.join(parts)} are links that lead out of {shown(root)} and were followed"] if parts else []
