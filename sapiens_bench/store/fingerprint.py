"""The hash that decides whether two rows may be mixed, and the file that remembers what went into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sapiens_bench.errors import FingerprintMismatch, StoreError
from sapiens_bench.store.files import read_json, write_atomic

FILE = "cell.json"
SCHEMA = "cell/2"
_FEW = 12  # entries of a list that are shown whole
UNSEALED = "cell/1"  # of versions whose shards had no commit records

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return _ENCODER.encode(value).encode()


def fingerprint(fields: Mapping[str, Any]) -> str:
    """sha256 (64 hex digits) over named fields; the values are anything JSON can hold, without NaN."""
    return hashlib.sha256(canonical(dict(fields))).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a hash over itself, so that damage is told from something else that was written on purpose."""
    return {**content, "seal": hashlib.sha256(canonical(dict(content))).hexdigest()}


def unsealed(content: Any) -> dict[str, Any]:
    """The content without its seal.

    Raises:
        StoreError: no seal, or one that does not fit.
    """
    if isinstance(content, dict):
        plain = {name: value for name, value in content.items() if name != "seal"}
        if sealed(plain) == content:
            return plain
    raise StoreError("its seal does not fit")


def differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields that differ, with both values, e.g. ``precision: 'fp32' there, 'bf16' now``."""
    found = []
    for name in sorted(set(old) | set(new)):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differing(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {_both(a, b)}")
    return found


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to stand in a cell folder's ``cell.json``, and what stands there now."""

    folder: Path
    digest: str  # fingerprint of the fields
    content: Mapping[str, Any]
    state: Literal["new", "same", "old", "damaged"]  # old: rows of an earlier version, without commit records


def check_claim(folder: Path, fields: Mapping[str, Any], shard_size: int) -> Claim:
    """May this experiment use ``folder``? Writes nothing.

    Args:
        folder: the cell's folder below ``rows/``.
        fields: what may change a row.
        shard_size: how the cell is cut. Not part of the hash, but one folder has one cut.

    Raises:
        FingerprintMismatch: the folder belongs to another experiment; names the differing fields.
    """
    digest = fingerprint(fields)
    content = {"schema": SCHEMA, "fingerprint": digest, "shard_size": shard_size, "fields": dict(fields)}
    try:
        old = read_json(folder / FILE)
        schema = old["schema"]
        old = old if schema == UNSEALED else unsealed(old)
        old_fields = {**old["fields"], "shard_size": old["shard_size"]}
    except FileNotFoundError:
        return Claim(folder, digest, content, "new")
    except (StoreError, KeyError, TypeError):
        return Claim(folder, digest, content, "damaged")
    differences = differing(old_fields, json.loads(canonical({**fields, "shard_size": shard_size})))
    if differences:
        raise FingerprintMismatch(
            f"{folder} holds rows of another experiment; they are never mixed. {'; '.join(differences[:5])}. "
            f"Give another --out, or delete that folder."
        )
    return Claim(folder, digest, content, "same" if schema == SCHEMA else "old" if schema == UNSEALED else "damaged")


def write_claim(claim: Claim) -> None:
    """Make the folder that of this experiment.

    Raises:
        StorageFull: no room or no permission.
    """
    text = json.dumps(sealed(claim.content), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomic(claim.folder / FILE, text.encode() + b"\n")


def is_sealed(folder: Path) -> bool:
    """Whether shards of a cell folder (below ``rows/`` or ``preds/``) count only with a commit record.

    Not so in folders of an earlier version: ``cell.json`` says that, or there is not one record.
    """
    try:
        schema = read_json(folder / FILE)["schema"]
    except (FileNotFoundError, StoreError, KeyError, TypeError):
        schema = None
    if schema in (SCHEMA, UNSEALED):
        return bool(schema == SCHEMA)
    return folder.is_dir() and any(path.name.startswith("commit-") for path in folder.iterdir())


def _both(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list) and max(len(old), len(new)) > _FEW:
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return f"{len(old)} there, {len(new)} now, not the same from number {at + 1} on"
    return f"{_short(old)} there, {_short(new)} now"


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
