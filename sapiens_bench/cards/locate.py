"""Where data and weights lie on this machine, and what to do when they do not. Nothing here uses the network."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sapiens_bench.embedded
from sapiens_bench.cards.folders import cache_root as cache_root
from sapiens_bench.cards.folders import hub_cache as hub_cache
from sapiens_bench.cards.folders import weights_cache as weights_cache
from sapiens_bench.cards.hashes import HashedFile, confirm_file, hash_file
from sapiens_bench.cards.hashes import file_sha256 as file_sha256
from sapiens_bench.cards.hub_cache import cached, repository
from sapiens_bench.cards.onnx_data import external_files
from sapiens_bench.cards.schema import DatasetCard, Variant, Weights, relative_path
from sapiens_bench.errors import CardError, ChecksumMismatch, DataMissing, WeightsMissing

_SEARCH_DEPTH = 3
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_CARRIES_CODE = frozenset({"pth", "torchscript", "export"})  # pickles and programs


@dataclass(frozen=True)
class WeightFiles:
    """Verified files of one variant."""

    path: Path | None  # file, or folder for format "hf"; None when the variant needs no weights
    also: dict[str, Path]  # the card's further files by name
    sha256: str  # of the file, or of the sorted "path hash" lines of all its parts; "" without weights
    pinned: bool  # True when the card names the hash of every part
    trusted: bool = False  # True when the user vouched for this very file (--trust-checkpoint PATH:SHA256)
    parts: tuple[HashedFile, ...] = ()  # every file that a wrapper may read, as it was when it was hashed


def layout_faults(card: DatasetCard, root: Path) -> list[str]:
    """Globs of the card's layout that match nothing below ``root``; one entry may hold several, joined by ``|``.

    Pictures of any name ("val2017/*.jpg") may be of another kind than the publisher's: people convert them.

    Raises:
        CardError: no glob at all, or one that could leave the root.
    """
    missing: list[str] = []
    for pattern in card.layout:
        try:
            choices = [any_kind for choice in pattern.split("|") for any_kind in _any_kind(relative_path(choice))]
            # pathlib's ** does not enter folders that are links
            found = any(next(glob.iglob(choice, root_dir=root, recursive=True), None) for choice in choices)
        except (ValueError, NotImplementedError, OSError) as error:
            raise CardError(f"Card {card.id!r}, key 'layout': {error}") from None
        if not found:
            missing.append(pattern.replace("|", " or "))
    return missing


def _any_kind(pattern: str) -> list[str]:
    """The glob, and where it stands for every picture of a folder, that for pictures of the other kinds."""
    folder, _, name = pattern.rpartition("/")
    if name not in ("*.jpg", "*.png"):
        return [pattern]
    kinds = (".[jJ][pP][gG]", ".[jJ][pP][eE][gG]", ".[pP][nN][gG]", ".[wW][eE][bB][pP]", ".[bB][mM][pP]")
    return [pattern, *(f"{folder}/*{kind}" if folder else f"*{kind}" for kind in kinds)]


def checksum_faults(card: DatasetCard, root: Path) -> list[str]:
    """One sentence for every file of ``card.checksums`` that is missing or differs."""
    faults: list[str] = []
    for name, expected in card.checksums.items():
        path = root / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif (found := file_sha256(path)) != expected:
            faults.append(f"{name} has sha256 {found}, the card expects {expected}")
    return faults


def dataset_root(
    card: DatasetCard, data_root: Path | None, *, pictures: bool = True, without: Sequence[str] = ()
) -> Path:
    """Folder of a data set: ``data_root/<id>``, or ``data_root`` itself, whichever has the card's layout.

    Embedded sets live in the cache and are made there on first use.

    Args:
        pictures: False does without the pictures of the layout, for results made elsewhere.
        without: files and folders of the layout that need not be there, since others were named in their place.

    Raises:
        DataMissing: names what was not found, and how to obtain the data set.
        ChecksumMismatch: a file pinned by the card has other bytes.
    """
    if card.embedded:
        return cache_root() / "data" / card.id
    how = f"{card.get.strip()} Expected layout: {', '.join(card.layout).replace('|', ' or ') or 'see the card'}."
    if data_root is None:
        raise DataMissing(f"{card.title} ({card.id}) needs --data-root FOLDER. {how}")
    tried: list[str] = []
    for root in (data_root / card.id, data_root):
        if not root.is_dir():
            tried.append(f"{root} does not exist")
            continue
        missing = [
            pattern
            for pattern in layout_faults(card, root)
            if (pictures or not pattern.lower().endswith(_PICTURES))
            and not any(pattern == name or pattern.startswith(f"{name}/") for name in without)
        ]
        if missing:
            tried.append(f"{root} has no {', '.join(missing)}")
            from sapiens_bench.pixels.files import link_as_text  # only where something is amiss

            if link := link_as_text(root):
                tried.append(f"{link} holds a path: a link that became text; make it a link, or copy what it leads to")
            continue
        if faults := checksum_faults(card, root):
            raise ChecksumMismatch(f"{card.title} under {root}: {'; '.join(faults)}. Fetch the files again.")
        return root
    raise DataMissing(f"{card.title} ({card.id}) was not found: {'; '.join(tried)}. {how}")


def weight_files(
    variant: Variant,
    weights_root: Path | None = None,
    trust: Mapping[str, str] | None = None,
    *,
    further_root: Path | None = None,
) -> WeightFiles:
    """Find and verify the files of a variant: shipped ones, ``weights_root``, our cache, the Hugging Face cache.

    Args:
        trust: resolved path -> sha256 of files that the user vouches for; they need no hash in the card, and may differ
            from it.
        further_root: where the card's further files may lie as well.

    Raises:
        WeightsMissing: says what was looked for, where, and how to get it.
        ChecksumMismatch: the bytes found are not those that the card pins, or not those the user vouched for.
        CheckpointRejected, PathEscape: an ONNX file that cannot be parsed, or that names weights outside its folder.
    """
    weights = variant.weights
    if weights is None:
        return WeightFiles(None, {}, "", pinned=True)
    path = find_weights(variant, weights.file, weights_root)
    main = _parts(path, weights)
    vouched = (trust or {}).get(os.path.realpath(path))
    sha256 = main[0].sha256 if len(main) == 1 and path.is_file() else _joined(main, path)
    first = main[0].sha256 if path.is_file() else sha256
    if vouched is not None and vouched != first:
        raise ChecksumMismatch(f"{path} has sha256 {first}, --trust-checkpoint says {vouched}. Not opened.")
    if vouched is None:
        _check(path, first, weights.sha256, variant)
    also: dict[str, Path] = {}
    known = {part.path: part for part in main}
    for name, expected in weights.also.items():
        found = _further(variant, path, name, weights_root, further_root)
        part = known.setdefault(found, hash_file(found))
        _check(found, part.sha256, expected, variant)
        also[name] = found
    unnamed = {part.path for part in main[1:]} - set(also.values()) if path.is_file() else set()
    pinned = weights.sha256 is not None and all(weights.also.values()) and vouched is None and not unnamed
    return WeightFiles(path, also, sha256, pinned, vouched is not None, tuple(known.values()))


def confirm(files: WeightFiles) -> None:
    """Call right before the files are opened: they still are what ``weight_files`` verified.

    Raises:
        ChecksumMismatch: a file was replaced, or came or went, since. WeightsMissing: it cannot be read any more.
    """
    for part in files.parts:
        confirm_file(part)
    if files.path is not None and files.path.is_dir():
        there = set(_folder_files(files.path)) | set(files.also.values())
        if there != {part.path for part in files.parts}:
            raise ChecksumMismatch(f"{files.path} was changed after it had been checked. Not opened.")


def is_here(variant: Variant, weights_root: Path | None = None) -> bool:
    """Whether the files are on this machine; only what the card pins is hashed.

    Raises:
        ChecksumMismatch: other bytes than pinned.
    """
    weights = variant.weights
    if weights is None:
        return True
    try:
        if weights.sha256 is not None or any(weights.also.values()):
            weight_files(variant, weights_root)
        else:
            path = find_weights(variant, weights.file, weights_root)
            for name in weights.also:
                _further(variant, path, name, weights_root)
    except WeightsMissing:
        return False
    return True


def find_weights(variant: Variant, name: str, weights_root: Path | None = None) -> Path:
    """Where a file of the variant (or its folder) lies; nothing is opened.

    Raises:
        WeightsMissing: nowhere; says where was looked and how to get it.
    """
    weights = variant.weights
    found = None if weights is None else _find(variant.id, weights, name, weights_root)
    if found is None:
        raise WeightsMissing(_missing(variant, name, weights_root))
    return found


def _further(
    variant: Variant, path: Path, name: str, weights_root: Path | None, further_root: Path | None = None
) -> Path:
    """A further file: beside the first, else wherever a file of the variant may lie."""
    beside = (path if path.is_dir() else path.parent) / name
    if beside.is_file():
        return beside
    elsewhere = None if further_root is None else _search(further_root, name, "file")
    return elsewhere or find_weights(variant, name, weights_root)


def _parts(path: Path, weights: Weights) -> list[HashedFile]:
    """Every file that belongs to ``path``, hashed; the file itself first."""
    if path.is_dir():
        return [hash_file(file) for file in _folder_files(path)]
    found = [replace(hash_file(path), carries_code=weights.format in _CARRIES_CODE)]
    if weights.format == "onnx":
        for file in external_files(path):
            if not file.is_file():
                raise WeightsMissing(f"{path} keeps weights in {file.name}, which is not beside it. Fetch both.")
            found.append(hash_file(file))
    return found


def _folder_files(folder: Path) -> list[Path]:
    """Everything that a wrapper may find in a folder; links to folders are followed, loops are not."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        found += [path for name in names if not name.startswith(".") and (path := Path(place, name)).is_file()]
    return sorted(found)


def _joined(parts: list[HashedFile], path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    digest = hashlib.sha256()
    for part in sorted(parts, key=lambda part: part.path):
        digest.update(f"{part.path.relative_to(folder).as_posix()} {part.sha256}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _check(path: Path, sha256: str, expected: str | None, variant: Variant) -> None:
    if expected is None or sha256 == expected:
        return
    get = variant.weights.get if variant.weights is not None else None
    is_own = get is not None and not (get.embedded or get.hub or get.url)
    raise ChecksumMismatch(
        f"{path} has sha256 {sha256}, the card of {variant.id} expects {expected}. "
        + (
            "Restore the file; or, if it was changed on purpose, write its new sha256 into the card."
            if is_own
            else f"Delete the file and run `sapiens-bench weights get {variant.id}` again."
        )
    )


def _missing(variant: Variant, name: str, weights_root: Path | None) -> str:
    weights = variant.weights
    if weights is None:
        return f"{variant.id} has no weights."
    get = weights.get
    if get.embedded:
        return f"{name} of {variant.id} belongs to the package but is not there. Install the package again."
    places = [str(place) for place in (weights_root, weights_cache()) if place is not None]
    if get.hub is not None:
        places.append(str(repository(get.hub)))
    size = f" ({weights.size_bytes / 1e9:.2f} GB)" if weights.size_bytes and name == weights.file else ""
    return f"Weights {name}{size} of {variant.id} not found in {', '.join(places)}. {get.how.strip()}"


def _find(variant: str, weights: Weights, name: str, weights_root: Path | None) -> Path | None:
    kind = weights.format if name == weights.file else "file"
    if weights.get.embedded:
        candidate = Path(sapiens_bench.embedded.__file__).parent / name
        return candidate if _usable(candidate, kind) else None
    for root in (weights_root, weights_cache() / variant, weights_cache()):  # two cards may use one file name
        if root is not None and (found := _search(root, name, kind)) is not None:
            return found
    hub = weights.get.hub
    if hub is None:
        return None
    if kind == "hf":
        found = cached(hub, None)
    else:
        found = cached(hub, hub.file if name == weights.file and hub.file else name)
    return found if found is not None and _usable(found, kind) else None


def _usable(path: Path, kind: str) -> bool:
    """Whether this is what a format needs: a model folder, stored predictions (a file or a folder), or a file."""
    try:
        if kind == "hf":
            return (path / "config.json").is_file()
        return path.is_file() or (kind == "predictions" and path.is_dir())
    except OSError:  # a name that this file system cannot have
        return False


def _search(root: Path, name: str, kind: str) -> Path | None:
    """``root/name``, else the first entry of that name up to three folders down, nearest first; not in hidden ones."""
    if _usable(root / name, kind):
        return root / name
    for depth in range(1, _SEARCH_DEPTH + 1):
        for parent in sorted(root.glob("/".join("*" * depth))):
            hidden = any(part.startswith(".") for part in parent.relative_to(root).parts)
            if not hidden and _usable(parent / name, kind):
                return parent / name
    return None
