"""One file out of a zip or tar archive that somebody else made; nothing else of it is written anywhere."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from sapiens_bench.cards.schema import relative_path
from sapiens_bench.errors import SecurityRefusal, WeightsMissing
from sapiens_bench.fetch.download import MAX_BYTES, check_room

_MOST_MEMBERS = 20_000
_MOST_RATIO = 100  # weights hardly shrink at all; a bomb does by a factor of 1,000
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError,
            NotImplementedError, RuntimeError)  # fmt: skip


class _Member(NamedTuple):
    name: str  # as the archive has it, without a leading "./"
    size: int  # bytes once unpacked
    is_file: bool
    entry: zipfile.ZipInfo | tarfile.TarInfo


def extract_member(archive: Path, member: str, target: Path, *, size: int | None = None) -> None:
    """Write the member called ``member`` to ``target``.

    The name is the whole path inside the archive; a name without a folder also stands for the only member of that name.

    Args:
        size: bytes it must have; None: as many as the archive says.

    Raises:
        WeightsMissing: damaged, no such member, several, or one of another size.
        SecurityRefusal: a member's path leaves the archive or a member is a link, or it unpacks to far more than it is.
    """
    try:
        with _opened(archive) as opened:
            chosen = _chosen(opened, archive, member)
            limit = size if size is not None else min(chosen.size, MAX_BYTES)
            if chosen.size != limit:
                raise WeightsMissing(f"{member} in {archive.name} has {chosen.size:,} bytes, expected {limit:,}.")
            _check_ratio(archive, chosen)
            check_room(target.parent, limit)
            with _content(opened, chosen) as source, target.open("xb") as out:
                _copy(source, out, limit, f"{member} in {archive.name}")
            if isinstance(opened, tarfile.TarFile):
                _check_rest(opened, archive)
    except _DAMAGED as error:
        raise WeightsMissing(f"{archive.name} is damaged or of an unknown kind ({error}). Fetch it again.") from None


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield opened
    else:
        with tarfile.open(archive, "r:*") as tar:
            yield tar


def _chosen(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, wanted: str) -> _Member:
    exact, by_name, names = [], [], []
    for member in _members(opened, archive):
        names.append(member.name)
        if member.name == wanted:
            exact.append(member)
        elif "/" not in wanted and member.name.rpartition("/")[2] == wanted:
            by_name.append(member)
    found = exact or by_name
    if len(found) != 1:
        there = f"{len(found)} of that name" if found else f"it holds {', '.join(names[:5]) or 'nothing'}"
        raise WeightsMissing(f"{archive.name} has not one member {wanted!r}: {there}.")
    return found[0]


def _members(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    """Every entry, folders left out.

    Raises:
        SecurityRefusal: a path that leaves the archive; a link or device; two names that are one where case does not
            count; too many entries; a stream that unpacks without end.
    """
    by_folded: dict[str, str] = {}
    listed: Iterator[_Member] = _of_zip(opened) if isinstance(opened, zipfile.ZipFile) else _of_tar(opened)
    budget = _budget(archive)
    for count, member in enumerate(listed):
        try:
            relative_path(member.name)
        except ValueError as error:
            raise SecurityRefusal(f"{archive.name}: member {error}. Nothing was unpacked.") from None
        if not member.is_file:
            raise SecurityRefusal(f"{member.name!r} in {archive.name} is no plain file. Nothing was unpacked.")
        other = by_folded.setdefault(member.name.casefold(), member.name)
        if other != member.name:
            raise SecurityRefusal(
                f"{archive.name}: {other!r} and {member.name!r} are one name where case does not count. "
                "Nothing was unpacked."
            )
        budget -= member.size
        if count >= _MOST_MEMBERS or budget < 0:
            raise SecurityRefusal(f"{archive.name} unpacks to far more than a weight file needs. Nothing was unpacked.")
        yield member


def _of_zip(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        if not info.is_dir():
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG)
            yield _Member(info.filename.removeprefix("./"), info.file_size, plain, info)


def _of_tar(opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:  # one header after the other: an endless archive is left before it ends
        if not info.isdir():
            yield _Member(info.name.removeprefix("./"), info.size, info.isreg(), info)


def _check_ratio(archive: Path, member: _Member) -> None:
    packed = member.entry.compress_size if isinstance(member.entry, zipfile.ZipInfo) else archive.stat().st_size
    if member.size > max(packed, 10_000) * _MOST_RATIO:
        raise SecurityRefusal(
            f"{member.name!r} in {archive.name} unpacks to far more than it is. Nothing was unpacked."
        )


def _content(opened: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.entry, zipfile.ZipInfo)
        return opened.open(member.entry)  # an encrypted one raises RuntimeError
    assert isinstance(member.entry, tarfile.TarInfo)
    content = opened.extractfile(member.entry)
    assert content is not None  # it is a plain file
    return content


def _check_rest(opened: tarfile.TarFile, archive: Path) -> None:
    """Read on to the end: only there does a compressed stream say whether it is whole."""
    budget = _budget(archive)
    while block := opened.fileobj.read(_CHUNK):
        budget -= len(block)
        if budget < 0:
            raise SecurityRefusal(f"{archive.name} unpacks to far more than a weight file needs.")


def _budget(archive: Path) -> int:
    return max(archive.stat().st_size, 1_000_000) * _MOST_RATIO


def _copy(source: IO[bytes], out: IO[bytes], limit: int, what: str) -> None:
    done = 0
    while block := source.read(_CHUNK):
        done += len(block)
        if done > limit:
            raise SecurityRefusal(f"{what} holds more than the {limit:,} bytes it should have. Stopped.")
        out.write(block)
    if done != limit:
        raise WeightsMissing(f"{what} holds {done:,} of {limit:,} bytes: the archive is cut off. Fetch it again.")
