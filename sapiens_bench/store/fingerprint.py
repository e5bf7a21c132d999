"""The hash that decides whether two rows may be mixed, and the file that remembers what went into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.errors import FingerprintMismatch, StoreError
from sapiens_bench.store.files import write_atomic

FILE = "cell.json"
SCHEMA = "cell/1"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(fields: Mapping[str, Any]) -> str:
    """sha256 (64 hex digits) over named fields; the values are anything JSON can hold, without NaN."""
    return hashlib.sha256(canonical(dict(fields))).hexdigest()


def differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields that differ, with both values, e.g. ``precision: 'fp32' there, 'bf16' now``."""
    found = []
    for name in sorted(set(old) | set(new)):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differing(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {_short(a)} there, {_short(b)} now")
    return found


def claim(folder: Path, fields: Mapping[str, Any], shard_size: int) -> str:
    """Make ``folder`` the folder of this experiment, or check that it already is; returns the fingerprint.

    Args:
        folder: the cell's folder below ``rows/``.
        fields: what may change a row.
        shard_size: how the cell is cut. Not part of the hash, but one folder has one cut.

    Raises:
        FingerprintMismatch: the folder belongs to another experiment; names the differing fields.
    """
    digest = fingerprint(fields)
    path = folder / FILE
    new = {"schema": SCHEMA, "fingerprint": digest, "shard_size": shard_size, "fields": dict(fields)}
    try:
        old = json.loads(path.read_bytes())
        old_fields = {**old["fields"], "shard_size": old["shard_size"]}
    except FileNotFoundError:
        write_atomic(path, json.dumps(new, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return digest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}). Give another --out, or delete {folder}.") from None
    differences = differing(old_fields, json.loads(canonical({**fields, "shard_size": shard_size})))
    if differences:
        raise FingerprintMismatch(
            f"{folder} holds rows of another experiment; they are never mixed. {'; '.join(differences[:5])}. "
            f"Give another --out, or delete that folder."
        )
    return digest


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
