"""One file from an https address: resumed after a cut, never larger than it may be, complete or not there at all.

What has come so far lies in the cache's ``downloads`` folder, which nothing searches for weights. It is continued only
where the server names the same version by a strong ETag, and the whole is hashed by the caller all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
from filelock import FileLock, Timeout

from sapiens_bench.cards.folders import downloads
from sapiens_bench.errors import StorageFull, UsageError, WeightsMissing
from sapiens_bench.fetch.transport import client

MAX_BYTES = 100_000_000_000  # of a file whose size no card names; the largest checkpoint known has 21 GB
WAITS_S = (1.0, 4.0, 15.0)  # before a cut download is continued
_MOST_TRIES = 50
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_ROOM = 200_000_000  # bytes that stay free on the disk
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
Progress = Callable[[str, int, int], None]  # name, bytes that are here, bytes in all


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is known of a part that lies on disk."""

    url: str
    etag: str
    total: int


class _Cut(Exception):
    """The connection ended before the file did; worth another try."""


def download(url: str, target: Path, *, size: int | None, progress: Progress = lambda name, done, total: None) -> None:
    """Put the bytes behind ``url`` at ``target``, which lies in the same file system as the cache.

    Args:
        size: bytes that the file must have; None: unknown, then as many as the server announces.

    Raises:
        WeightsMissing: the server does not give the file, or not with the size it must have.
        SecurityRefusal: a redirect leaves https. StorageFull: no room. UsageError: another process fetches it now.
    """
    name = hashlib.sha256(url.encode()).hexdigest()[:32]
    part = downloads() / f"{name}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(part.with_suffix(".lock"), timeout=0):
            _with_patience(url, part, size, progress)
            os.replace(part, target)
            part.with_suffix(".json").unlink(missing_ok=True)
    except Timeout:
        raise UsageError(f"Another process is fetching {url} now. Wait for it.") from None


def _with_patience(url: str, part: Path, size: int | None, progress: Progress) -> None:
    """Go on after a cut: as long as bytes come, and else after the waits above."""
    waits = list(WAITS_S)
    for _ in range(_MOST_TRIES):
        before = _size(part)
        try:
            return _attempt(url, part, size, progress)
        except _Cut as cut:
            reason = str(cut)
            if _size(part) > before > 0:
                waits = list(WAITS_S)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise WeightsMissing(f"{url} could not be fetched: {_words(error)}.") from None
        if not waits:
            break
        time.sleep(waits.pop(0))
    kept = f" {_size(part):,} bytes are kept; the same command goes on from there." if _begun(url, part) else ""
    raise WeightsMissing(f"{url} could not be fetched: {reason}.{kept}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _attempt(url: str, part: Path, size: int | None, progress: Progress) -> None:
    begun = _begun(url, part)
    here = _size(part) if begun else 0
    headers = {"Accept-Encoding": "identity"}
    if begun:
        headers |= {"Range": f"bytes={here}-", "If-Range": begun.etag}
    with client() as http:
        try:
            with http.stream("GET", url, headers=headers) as answer:
                here = _continued(answer, begun, here, part)
                total = _announced(answer, url, here, size)
                _note(part, _Begun(url, _strong_etag(answer), total))
                _receive(answer, part, here, total, url, progress)
        except (httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError) as error:
            raise _Cut(f"the connection broke ({_words(error)})") from None


def _begun(url: str, part: Path) -> _Begun | None:
    """What lies on disk, if it can be continued."""
    try:
        facts = _Begun(**json.loads(part.with_suffix(".json").read_text(encoding="utf-8")))
        fits = facts.url == url and facts.etag and 0 < part.stat().st_size < facts.total
    except (OSError, ValueError, TypeError):
        return None
    return facts if fits else None


def _note(part: Path, facts: _Begun) -> None:
    part.with_suffix(".json").write_text(json.dumps(asdict(facts)), encoding="utf-8")


def _strong_etag(answer: httpx2.Response) -> str:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""


def _continued(answer: httpx2.Response, begun: _Begun | None, here: int, part: Path) -> int:
    """Bytes to keep of those on disk: all of them when the server goes on from there, none when it starts again.

    Raises:
        _Cut: it does neither; what is on disk was dropped, so the next try asks for everything.
    """
    if answer.status_code not in (206, 416):
        return 0
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if begun is None or found is None or (int(found[1]), int(found[3])) != (here, begun.total):
        part.unlink(missing_ok=True)
        raise _Cut("the server would not go on with the part that was here")
    return here


def _announced(answer: httpx2.Response, url: str, here: int, size: int | None) -> int:
    """Bytes the whole file will have.

    Raises:
        WeightsMissing: an error status, a web page, no length, or another length than it must have.
        StorageFull: they do not fit on the disk. _Cut: the server is busy.
    """
    if answer.status_code not in (200, 206):
        says = f"the server answered {answer.status_code} {answer.reason_phrase}".rstrip()
        if answer.status_code in _BUSY:
            raise _Cut(says)
        raise WeightsMissing(f"{url} could not be fetched: {says}.")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise WeightsMissing(f"{url} gave a web page, not a file (a page that asks to sign in or to agree?).")
    length = answer.headers.get("Content-Length", "")
    if not length.isdecimal() or answer.headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsMissing(f"{url}: the server does not say how long the file is, so a cut could not be noticed.")
    total = here + int(length)
    if size is not None and total != size:
        raise WeightsMissing(f"{url} has {total:,} bytes, the card expects {size:,}. Nothing was fetched.")
    if total > MAX_BYTES:
        raise WeightsMissing(f"{url} has {total:,} bytes, more than any weight file should have ({MAX_BYTES:,}).")
    check_room(downloads(), total - here)
    return total


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise StorageFull where a disk has no room for ``n_bytes`` more."""
    free = shutil.disk_usage(folder).free
    if n_bytes + _ROOM > free:
        raise StorageFull(f"{n_bytes:,} bytes do not fit below {folder}: {free:,} are free.")


def _receive(answer: httpx2.Response, part: Path, here: int, total: int, url: str, progress: Progress) -> None:
    name = Path(httpx2.URL(url).path).name
    with part.open("r+b" if here else "wb") as file:
        file.seek(here)
        file.truncate()
        for chunk in answer.iter_raw():  # as they come: what a chunk size would buffer is lost with a cut
            here += len(chunk)
            if here > total:
                raise WeightsMissing(f"{url} sends more than the {total:,} bytes it announced. Stopped.")
            file.write(chunk)
            progress(name, here, total)
        file.flush()
        os.fsync(file.fileno())
    if here != total:
        raise _Cut(f"it ended after {here:,} of {total:,} bytes")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
