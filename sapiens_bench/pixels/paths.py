"""Paths that come out of files: relative, plain, and below their root."""

from __future__ import annotations

import os
from pathlib import Path

from sapiens_bench.errors import PathEscape


def path_fault(relative: object) -> str | None:
    """Why ``relative`` may not name a file below a root, or None when it may."""
    if not isinstance(relative, str):
        return f"is {type(relative).__name__}, not text"
    if not relative:
        return "is empty"
    if "\0" in relative:
        return "holds a NUL character"
    if "\\" in relative or "://" in relative or (relative[1:2] == ":" and relative[0].isalpha()):
        return "is a URL, has a drive letter or a backslash"
    if relative.startswith("/"):
        return "is absolute"
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' part"
    try:
        if max(len(part.encode()) for part in parts) > 255:
            return "has a part of more than 255 bytes"
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def safe_join(root: Path, relative: str) -> Path:
    """The real path of ``root/relative``, links resolved; it need not exist.

    Raises:
        PathEscape: the path is not a plain relative one, or leaves the root.
    """
    fault = path_fault(relative)
    if fault is not None:
        raise PathEscape(f"path {str(relative)[:80]!r} below {root} {fault}")
    base = Path(os.path.realpath(root))
    real = Path(os.path.realpath(base / relative))
    if not real.is_relative_to(base):
        raise PathEscape(
            f"{relative!r} leaves {root} through a link (to {real}). Give the real folder as root, or copy the file."
        )
    return real
