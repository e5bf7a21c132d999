"""A run folder on an object store (``s3://``, ``gs://``, what fsspec opens), filled through a folder of this machine.

An object store has no rename, so the commit of a shard is another one there: first its bytes, under a key that names
them (``shard-00012-<sha256>.parquet``) and so is never written with other content; then the commit record, one small
object at a fixed key (``commit-00012.json``), which the store replaces whole. A record that can be read therefore names
bytes that are there; a shard without a record does not count; writers that race for a shard write the same.

The run itself works on the local folder. What is committed there is brought over when the run begins, and everything
that is written here is sent as it is written, so that any machine can go on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from sapiens_bench.errors import FolderInUse, StorageFull, StoreError, UsageError
from sapiens_bench.store.commits import commit_path
from sapiens_bench.store.files import TEMPORARY, read_file, refuse_links, watched_writes, write_atomic
from sapiens_bench.store.fingerprint import unsealed
from sapiens_bench.store.lock import FILE as LOCK_FILE
from sapiens_bench.store.lock import holder
from sapiens_bench.store.paths import QUARANTINE, cell_folders
from sapiens_bench.store.rows import shard_files, shard_path

_COMMIT, _SHARD = re.compile(r"commit-(\d{5,9})\.json"), re.compile(r"shard-(\d{5,9})(-[0-9a-f]{64})?\.parquet")
_EXTRAS = {"s3": "s3", "gs": "gcs"}  # of this package, by the scheme they open
_ALWAYS = (".json",)  # small, and replaced while a run goes on


@contextmanager
def mirrored(url: str, local: Path) -> Iterator[Path]:
    """Bring over what is committed at ``url``, send what only ``local`` has, then send every file as it is written.

    Raises:
        UsageError: no such kind of address, or the package for it is not installed.
        FolderInUse: a run of this machine fills it already. Those of others are not seen: they write the same shards.
        StorageFull: the store cannot be reached or refuses; what is committed lies in ``local``, and the same command
            sends it.
    """
    remote = Remote(url, local)
    if owner := holder(local):
        raise FolderInUse(f"{url} is in use by {owner}. Wait for it, stop it, or give another --out.")
    remote.send_missing(remote.fetch())
    with watched_writes(local, remote.send):
        yield local


def fetched(url: str, local: Path) -> Path:
    """The run at ``url``, brought to this machine to be read.

    Raises:
        UsageError: see ``mirrored``. StoreError: there is no run.
    """
    if not holder(local):  # a run of this machine has all that is there, and more
        Remote(url, local).fetch()
    if not (local / "run.json").is_file():
        raise StoreError(f"{url} holds no run.")
    return local


class Remote:
    """The objects below an address, and the local folder that they are copied from and to."""

    def __init__(self, url: str, local: Path) -> None:
        from fsspec.core import url_to_fs

        self.url, self.local = url, local
        try:
            self.fs, self.root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            extra = _EXTRAS.get(url.partition(":")[0])
            way = f" pip install 'sapiens-vision-bench[{extra}]'" if extra else " Known: s3://, gs://, file://."
            raise UsageError(f"{url}: {str(error).rstrip('. ')}.{way}") from None

    def fetch(self) -> set[str]:
        """Copy what is committed there and not here. Objects that are damaged or unfinished are passed over.

        Returns:
            Names of what is there and counts: no record that is damaged or whose shard is not there.
        """
        there = self._names()
        passed_over: set[str] = set()
        for name in there:
            path = self.local / name
            refuse_links(self.local, path)
            if _COMMIT.fullmatch(path.name):
                if not self._fetch_shard(name, there):
                    passed_over.add(name)
            elif not _SHARD.fullmatch(path.name) and (path.suffix in _ALWAYS or not path.exists()):
                write_atomic(path, self._read(name))
        return there - passed_over

    def _fetch_shard(self, name: str, there: set[str]) -> bool:
        """Whether the record counts; bytes are only looked at where this machine lacks them."""
        record, path = self._read(name), self.local / name
        try:
            told = unsealed(json.loads(record))
            number, sha256 = int(told["shard"]), str(told["sha256"])
        except (StoreError, ValueError, KeyError, TypeError):
            return False
        key = _key(PurePosixPath(name).parent, number, sha256)
        if key not in there or path != commit_path(path.parent, number):
            return False
        if path.exists() and read_file(path) == record:
            return True
        data = self._read(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
        write_atomic(shard_path(path.parent, number), data)
        write_atomic(path, record)
        return True

    def send_missing(self, there: set[str]) -> None:
        """Send what was committed here while the store could not be reached, or before it was used, or was lost there.

        Args:
            there: names that need not be sent, from ``fetch``.
        """
        for kind in ("rows", "preds"):
            for folder in cell_folders(self.local, kind):
                for number in shard_files(folder):
                    record = commit_path(folder, number)
                    if record.is_file() and record.relative_to(self.local).as_posix() not in there:
                        self.send(shard_path(folder, number))
                        self.send(record)
        for path in self.local.rglob("*") if self.local.is_dir() else ():
            if path.relative_to(self.local).as_posix() not in there and self._is_plain(path):
                self.send(path)

    def _is_plain(self, path: Path) -> bool:
        """Whether a local file is sent as it is: no shard, no record, nothing on its way or set aside."""
        aside = path.relative_to(self.local).parts[0] == QUARANTINE or path.name == LOCK_FILE
        of_shard = _COMMIT.fullmatch(path.name) or _SHARD.fullmatch(path.name)
        return path.is_file() and not path.is_symlink() and not (aside or of_shard or path.name.startswith(TEMPORARY))

    def send(self, path: Path) -> None:
        """Put one local file into the store: a shard under the key that names its bytes, any other under its own name.

        Raises:
            StorageFull: see ``mirrored``.
        """
        data, name = read_file(path), PurePosixPath(path.relative_to(self.local).as_posix())
        found = _SHARD.fullmatch(path.name)
        key = _key(name.parent, int(found[1]), hashlib.sha256(data).hexdigest()) if found else str(name)
        with self._said():
            self.fs.makedirs(f"{self.root}/{PurePosixPath(key).parent}", exist_ok=True)
            self.fs.pipe_file(f"{self.root}/{key}", data)

    def _names(self) -> set[str]:
        """What is there, below the root. Names that no run folder has are passed over."""
        with self._said():
            self.fs.invalidate_cache()
            try:
                found = self.fs.find(self.root)
            except FileNotFoundError:
                return set()
        below = [str(path)[len(str(self.root)) :].lstrip("/") for path in found]
        return {name for name in below if _is_sound(name)}

    def _read(self, name: str) -> bytes:
        with self._said():
            return bytes(self.fs.cat_file(f"{self.root}/{name}"))

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Whatever a store's library raises, in our words."""
        try:
            yield
        except Exception as error:  # every store has exceptions of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise StorageFull(
                f"{self.url} could not be used: {reason}. What is committed lies in {self.local}; the same command "
                f"sends it and goes on."
            ) from error


def _key(folder: PurePosixPath, number: int, sha256: str) -> str:
    return str(folder / f"shard-{number:05d}-{sha256}.parquet")


def _is_sound(name: str) -> bool:
    parts: list[Any] = name.split("/")
    return all(part not in ("", ".", "..") and part.isprintable() and "\\" not in part for part in parts)
