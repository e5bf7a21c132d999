"""From a card's ``get`` to files in place: fetched, unpacked, verified, and only then put where they are looked for."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin

from sapiens_bench.cards.folders import downloads, weights_cache
from sapiens_bench.cards.hashes import hash_file
from sapiens_bench.cards.schema import HubFile, Variant, Weights
from sapiens_bench.errors import ChecksumMismatch, StorageFull, UsageError
from sapiens_bench.fetch import hub
from sapiens_bench.fetch.archive import extract_member
from sapiens_bench.fetch.download import Progress, download


def nothing(name: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def fetch(variant: Variant, progress: Progress = nothing, *, show: bool = False) -> str:
    """Bring every file of a variant to this machine; returns a sentence about where they came from.

    Hub files stay in the hub's cache; others go to ``weights/<variant id>/`` of ours, each by one rename.

    Raises:
        UsageError: the card names no address. WeightsMissing: it does not give the files, or not of the right size.
        ChecksumMismatch: other bytes than pinned; they were deleted. SecurityRefusal: a hostile address or archive.
        StorageFull: no room or no permission.
    """
    weights = variant.weights
    if weights is None or (weights.get.hub is None and weights.get.url is None):
        how = " ".join(weights.get.how.split()) if weights else "it needs no weights."
        raise UsageError(f"{variant.id} cannot be fetched by a program: {how}")
    try:
        if weights.get.hub is not None:
            return _from_hub(variant.id, weights, weights.get.hub, show)
        return _from_url(variant.id, weights, str(weights.get.url), progress)
    except OSError as error:
        place = error.filename or weights_cache()
        raise StorageFull(f"{place} could not be written: {error.strerror or error}.") from None


def _from_hub(variant: str, weights: Weights, source: HubFile, show: bool) -> str:
    names = None if weights.format == "hf" else (source.file or weights.file, *weights.also)
    found = hub.fetch(source, names, size=None if names is None else weights.size_bytes, show=show)
    if names is not None:
        for file, expected in zip(found.files, (weights.sha256, *weights.also.values()), strict=True):
            try:
                _verify(file, expected, variant)
            except ChecksumMismatch:
                hub.drop(file)
                raise
    return f"{source.repo}, revision {found.commit}"


def _from_url(variant: str, weights: Weights, url: str, progress: Progress) -> str:
    name = PurePosixPath(weights.file).name
    with _workbench() as bench:
        if weights.get.archive_member is None:
            download(url, bench / name, size=weights.size_bytes, progress=progress)
            for extra in weights.also:  # they lie beside the file
                _below(bench, extra)
                download(urljoin(url, extra), bench / extra, size=None, progress=progress)
        else:
            download(url, bench / ".archive", size=None, progress=progress)
            _unpack(bench, name, weights, weights.get.archive_member)
        _verify(bench / name, weights.sha256, variant)
        for extra, expected in weights.also.items():
            _verify(bench / extra, expected, variant)
        folder = weights_cache() / variant / PurePosixPath(weights.file).parent
        for file in (*weights.also, name):  # the file itself last: where it is, everything is
            _below(folder, file)
            os.replace(bench / file, folder / file)
    return url


def _unpack(bench: Path, name: str, weights: Weights, member: str) -> None:
    extract_member(bench / ".archive", member, bench / name, size=weights.size_bytes)
    for extra in weights.also:
        beside = str(PurePosixPath(member).parent / extra) if "/" in member else extra
        extract_member(bench / ".archive", beside, _below(bench, extra))


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _verify(path: Path, expected: str | None, variant: str) -> None:
    if expected is not None and (found := hash_file(path, fresh=True).sha256) != expected:
        raise ChecksumMismatch(
            f"{path.name} of {variant} came with sha256 {found}, the card expects {expected}. It was deleted."
        )


@contextmanager
def _workbench() -> Iterator[Path]:
    """A folder of our own, gone afterwards; in the cache, so that a rename brings its files into place."""
    bench = downloads() / f"work-{uuid.uuid4().hex}"
    bench.mkdir(parents=True)
    try:
        yield bench
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def is_fetchable(variant: Variant) -> bool:
    """Whether a program can get the weights."""
    weights = variant.weights
    return weights is not None and (weights.get.hub is not None or weights.get.url is not None)
