"""The commit of a shard: a small file beside it that says which bytes were committed.

``commit-00012.json`` is renamed into place after ``shard-00012.parquet``. A shard without it was not finished; a shard
whose bytes have another sha256 was changed since, if only by one bit. The record carries a seal over itself, so that a
flipped bit in the record is told from a flipped bit in the shard. Nothing in it depends on time, host or process.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sapiens_bench.errors import StoreError
from sapiens_bench.store.files import read_json, write_atomic
from sapiens_bench.store.fingerprint import canonical, sealed, unsealed

SCHEMA = "commit/1"


@dataclass(frozen=True, slots=True)
class Commit:
    """What was committed under a shard's number."""

    shard: int
    rows: int
    errors: int  # rows whose status is "error": a shard with any is looked at when a run resumes
    item_key: str
    fingerprint: str
    sha256: str  # of the shard's bytes
    predictions: int | None = None  # stored beside these rows in the shard of this number; None: they were not kept

    @property
    def file(self) -> str:
        """Name of the record."""
        return f"commit-{self.shard:05d}.json"


_KNOWN = frozenset(field.name for field in fields(Commit))


def commit_path(folder: Path, number: int) -> Path:
    """Where the record of shard ``number`` lies."""
    return folder / f"commit-{number:05d}.json"


def write_commit(folder: Path, commit: Commit) -> Path:
    """Put the record into place: from now on the shard counts.

    Raises:
        StorageFull: no room or no permission; the shard does not count, and is computed again.
    """
    content = {"schema": SCHEMA, **asdict(commit)}
    return write_atomic(folder / commit.file, canonical(sealed(content)) + b"\n")


def read_commit(folder: Path, number: int) -> Commit | None:
    """The record of a shard; None when there is none.

    Raises:
        StoreError: it is damaged, or is the record of another shard.
    """
    path = commit_path(folder, number)
    try:
        content = unsealed(read_json(path))
    except FileNotFoundError:
        return None
    except StoreError as error:
        raise StoreError(f"{path} is damaged: {error}.") from None
    if content.pop("schema", None) != SCHEMA or content.keys() != _KNOWN:
        raise StoreError(f"{path} was written by another version.")
    if content["shard"] != number:
        raise StoreError(f"{path} is the record of shard {content['shard']}.")
    return Commit(**content)
