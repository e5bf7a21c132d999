"""Addresses of run folders on object stores, as they come through the command line's paths."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")  # pathlib makes one slash of two


def url_of(path: Path | str) -> str:
    """The address that a path stands for; "" for one of this machine."""
    found = _URL.fullmatch(str(path).replace("\\", "/"))
    if found is None:
        return ""
    return f"{found[1]}://{'/' if found[1] == 'file' else ''}{found[2].rstrip('/')}"


def staging(url: str, cache: Path) -> Path:
    """The folder of this machine through which the run at ``url`` is filled."""
    return cache / "remote" / hashlib.sha256(url.encode()).hexdigest()[:16]
