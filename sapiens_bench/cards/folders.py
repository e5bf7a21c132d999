"""The folders of this package on this machine. None is created here."""

from __future__ import annotations

import os
from pathlib import Path

from sapiens_bench.errors import UsageError


def cache_root() -> Path:
    """``$SAPIENS_BENCH_CACHE``, or ``sapiens-bench`` in the user's cache folder.

    Raises:
        UsageError: this user has no home folder, or the variable names one that does not exist.
    """
    try:
        if explicit := os.environ.get("SAPIENS_BENCH_CACHE"):
            return Path(explicit).expanduser()
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base).expanduser() if base else Path.home() / ".cache") / "sapiens-bench"
    except RuntimeError as error:  # pathlib's word for "no such home"
        raise UsageError(f"No folder for the cache ({error}). Set SAPIENS_BENCH_CACHE to a folder.") from None


def weights_cache() -> Path:
    """Folder that ``weights get`` fills; searched after ``--weights-root``."""
    return cache_root() / "weights"


def existing_weights_root(path: Path) -> Path:
    """``--weights-root`` as it was given.

    Raises:
        UsageError: it is no folder, so nothing would ever be found in it.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is no folder on this machine. Give --weights-root the folder with the weight files.")
    return path


def existing_data_root(path: Path) -> Path:
    """``--data-root`` as it was given.

    Raises:
        UsageError: it is no folder, so no data set would ever be found in it.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is no folder on this machine. Give --data-root the folder with the data sets.")
    return path


def downloads() -> Path:
    """Where unfinished downloads lie, apart from everything that is searched."""
    return cache_root() / "downloads"


def hub_cache() -> Path:
    """Folder of the Hugging Face hub cache. The library reads ``HF_HUB_CACHE`` at import alone; here it counts now."""
    from huggingface_hub import constants

    return Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE))
