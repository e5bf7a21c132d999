"""Where data and weights lie on this machine, and what to do when they do not. Nothing here uses the network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sapiens_bench.embedded
from sapiens_bench.cards.schema import DatasetCard, HubFile, Variant, Weights, relative_path
from sapiens_bench.errors import CardError, ChecksumMismatch, DataMissing, WeightsMissing

_CHUNK = 1 << 20
_SEARCH_DEPTH = 3
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class WeightFiles:
    """Verified files of one variant."""

    path: Path | None  # file, or folder for format "hf"; None when the variant needs no weights
    also: dict[str, Path]  # the card's further files by name
    sha256: str  # of the file, or of a folder's sorted "path hash" lines; "" without weights
    pinned: bool  # True when the card names this hash
    trusted: bool = False  # True when the user vouched for this very file (--trust-checkpoint PATH:SHA256)


def cache_root() -> Path:
    """``$SAPIENS_BENCH_CACHE``, or ``sapiens-bench`` in the user's cache folder; not created here."""
    if explicit := os.environ.get("SAPIENS_BENCH_CACHE"):
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sapiens-bench"


def weights_cache() -> Path:
    """Folder that ``weights get`` fills; searched after ``--weights-root``."""
    return cache_root() / "weights"


def hub_cache() -> Path:
    """Folder of the Hugging Face hub cache, by that library's documented variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(value).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface" / "hub"


def layout_faults(card: DatasetCard, root: Path) -> list[str]:
    """Globs of the card's layout that match nothing below ``root``.

    Raises:
        CardError: a glob that could leave the root.
    """
    missing: list[str] = []
    for pattern in card.layout:
        try:
            relative_path(pattern)
            found = next(root.glob(pattern), None)
        except (ValueError, NotImplementedError, OSError) as error:
            raise CardError(f"Card {card.id!r}, key 'layout': {error}") from None
        if found is None:
            missing.append(pattern)
    return missing


def checksum_faults(card: DatasetCard, root: Path) -> list[str]:
    """One sentence for every file of ``card.checksums`` that is missing or differs."""
    faults: list[str] = []
    for name, expected in card.checksums.items():
        path = root / relative_path(name)
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif (found := file_sha256(path)) != expected:
            faults.append(f"{name} has sha256 {found}, the card expects {expected}")
    return faults


def dataset_root(card: DatasetCard, data_root: Path | None, *, pictures: bool = True) -> Path:
    """Folder of a data set: ``data_root/<id>``, or ``data_root`` itself, whichever has the card's layout.

    ``pictures`` False does without the pictures of the layout, for results made elsewhere.

    Embedded sets live in the cache and are made there on first use.

    Raises:
        DataMissing: names what was not found, and how to obtain the data set.
        ChecksumMismatch: a file pinned by the card has other bytes.
    """
    if card.embedded:
        return cache_root() / "data" / card.id
    how = f"{card.get.strip()} Expected layout: {', '.join(card.layout) or 'see the card'}."
    if data_root is None:
        raise DataMissing(f"{card.title} ({card.id}) needs --data-root FOLDER. {how}")
    tried: list[str] = []
    for root in (data_root / card.id, data_root):
        if not root.is_dir():
            tried.append(f"{root} does not exist")
            continue
        missing = [glob for glob in layout_faults(card, root) if pictures or not glob.lower().endswith(_PICTURES)]
        if missing:
            tried.append(f"{root} has no {', '.join(missing)}")
            continue
        if faults := checksum_faults(card, root):
            raise ChecksumMismatch(f"{card.title} under {root}: {'; '.join(faults)}. Fetch the files again.")
        return root
    raise DataMissing(f"{card.title} ({card.id}) was not found: {'; '.join(tried)}. {how}")


def weight_files(
    variant: Variant, weights_root: Path | None = None, trust: Mapping[str, str] | None = None
) -> WeightFiles:
    """Find and verify the files of a variant: shipped ones, ``weights_root``, our cache, the Hugging Face cache.

    Args:
        trust: resolved path -> sha256 of files that the user vouches for; they need no hash in the card, and may differ
            from it.

    Raises:
        WeightsMissing: says what was looked for, where, and how to get it.
        ChecksumMismatch: the bytes found are not those that the card pins, or not those the user vouched for.
    """
    weights = variant.weights
    if weights is None:
        return WeightFiles(None, {}, "", pinned=True)
    path = _find(weights, weights.file, weights_root)
    if path is None:
        raise WeightsMissing(_missing(variant, weights, weights.file, weights_root))
    vouched = (trust or {}).get(str(path.resolve()))
    sha256 = _verified(path, weights.sha256 if vouched is None else None, variant.id)
    if vouched is not None and vouched != sha256:
        raise ChecksumMismatch(f"{path} has sha256 {sha256}, --trust-checkpoint says {vouched}. Not opened.")
    also: dict[str, Path] = {}
    for name, expected in weights.also.items():
        beside = (path if path.is_dir() else path.parent) / relative_path(name)
        found = beside if beside.is_file() else _find(weights, name, weights_root)
        if found is None:
            raise WeightsMissing(_missing(variant, weights, name, weights_root))
        _verified(found, expected, variant.id)
        also[name] = found
    return WeightFiles(path, also, sha256, weights.sha256 is not None and vouched is None, vouched is not None)


def _verified(path: Path, expected: str | None, variant: str) -> str:
    sha256 = file_sha256(path) if path.is_file() else _folder_sha256(path)
    if expected is not None and sha256 != expected:
        raise ChecksumMismatch(
            f"{path} has sha256 {sha256}, the card of {variant} expects {expected}. "
            f"Delete the file and run `sapiens-bench weights get {variant}` again."
        )
    return sha256


def _missing(variant: Variant, weights: Weights, name: str, weights_root: Path | None) -> str:
    get = weights.get
    if get.embedded:
        return f"{name} of {variant.id} belongs to the package but is not there. Install the package again."
    places = [str(place) for place in (weights_root, weights_cache()) if place is not None]
    if get.hub is not None:
        places.append(str(_repository(get.hub)))
    size = f" ({weights.size_bytes / 1e9:.2f} GB)" if weights.size_bytes else ""
    return f"Weights {name}{size} of {variant.id} not found in {', '.join(places)}. {get.how.strip()}"


def _find(weights: Weights, name: str, weights_root: Path | None) -> Path | None:
    kind = weights.format if name == weights.file else "file"
    if weights.get.embedded:
        candidate = Path(sapiens_bench.embedded.__file__).parent / name
        return candidate if _usable(candidate, kind) else None
    for root in (weights_root, weights_cache()):
        if root is not None and (found := _search(root, name, kind)) is not None:
            return found
    if weights.get.hub is not None:
        for snapshot in _snapshots(weights.get.hub):
            inside = weights.get.hub.file if name == weights.file else name
            candidate = snapshot / relative_path(inside) if inside else snapshot
            if _usable(candidate, kind):
                return candidate
    return None


def _usable(path: Path, kind: str) -> bool:
    """Whether this is what a format needs: a model folder, stored predictions (a file or a folder), or a file."""
    if kind == "hf":
        return (path / "config.json").is_file()
    return path.is_file() or (kind == "predictions" and path.is_dir())


def _search(root: Path, name: str, kind: str) -> Path | None:
    """``root/name``, else the first entry of that name at most three folders down, nearest first."""
    if _usable(root / name, kind):
        return root / name
    for depth in range(1, _SEARCH_DEPTH + 1):
        for parent in sorted(root.glob("/".join("*" * depth))):
            if _usable(parent / name, kind):
                return parent / name
    return None


def _repository(hub: HubFile) -> Path:
    return hub_cache() / ("models--" + hub.repo.replace("/", "--"))


def _snapshots(hub: HubFile) -> Iterator[Path]:
    """The cached snapshot of the revision; for ``main`` without a ref also the only snapshot there is."""
    repository = _repository(hub)
    commit = hub.revision
    reference = repository / "refs" / hub.revision
    if not _COMMIT.fullmatch(commit) and reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace").strip()
    if _COMMIT.fullmatch(commit) and (repository / "snapshots" / commit).is_dir():
        yield repository / "snapshots" / commit
    elif hub.revision == "main" and not reference.is_file():
        snapshots = sorted((repository / "snapshots").glob("*"))
        yield from snapshots if len(snapshots) == 1 else ()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered under the cache by path, size and time of change.

    Raises:
        WeightsMissing: the file cannot be read.
    """
    try:
        real = path.resolve(strict=True)
        before = real.stat()
        note = cache_root() / "hashes" / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.json"
        key: list[str | int] = [str(real), before.st_size, before.st_mtime_ns]
        if (known := _read_note(note, key)) is not None:
            return known
        digest = hashlib.sha256()
        with real.open("rb") as f:
            while block := f.read(_CHUNK):
                digest.update(block)
        sha256 = digest.hexdigest()
        after = real.stat()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read: {error.strerror}.") from None
    if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
        _write_note(note, key, sha256)
    return sha256


def _read_note(note: Path, key: list[str | int]) -> str | None:
    try:
        stored = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if (
        isinstance(stored, dict)
        and stored.get("key") == key
        and re.fullmatch(r"[0-9a-f]{64}", str(stored.get("sha256")))
    ):
        return str(stored["sha256"])
    return None


def _write_note(note: Path, key: list[str | int], sha256: str) -> None:
    temporary = note.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"key": key, "sha256": sha256}), encoding="utf-8")
        os.replace(temporary, note)
    except OSError:
        return  # a read-only cache costs time, nothing else


def _folder_sha256(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
