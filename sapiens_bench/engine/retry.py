"""Error rows whose cause may have gone: is it worth computing their shard again?

The rule. An image whose picture or label could not be read is read once more whenever its run resumes; when the answer
differs (it can be read, or fails in another way) its shard is computed again. So is a shard that ended its workers,
once its file below ``failed/`` is gone (``crashed``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.store.commits import Commit
from sapiens_bench.store.rows import read_shard
from sapiens_bench.types import Adapter

_BY_SCORING = ("label.empty", "label.exception")  # found after the image was read, so reading it again tells nothing
_UNEXPECTED = "input.exception"
CRASHED = "worker.crash"


def failed_path(out: Path, cell_folder: str, shard: int) -> Path:
    """The file that says why a shard of the run ``out`` was written off."""
    return out / "failed" / cell_folder / f"shard-{shard:05d}.json"


def worth_another_try(out: Path, cell_folder: str, done: Mapping[int, Commit], adapter: Adapter) -> set[int]:
    """Numbers of the shards with an error row whose cause has gone, or cannot be told to be there still.

    Args:
        out: the run folder.
        cell_folder: of the cell in it.
        done: its sound shards.
        adapter: the data set.
    """
    return {
        number
        for number, commit in done.items()
        if commit.errors
        and any(
            _is_gone(row, adapter, failed_path(out, cell_folder, number))
            for row in _error_rows(out / "rows" / cell_folder, number)
        )
    }


def _error_rows(folder: Path, number: int) -> list[dict[str, Any]]:
    shard = read_shard(folder, number)
    names = ["index", "status", "error_code", "error_side"]
    return [] if shard is None else [r for r in shard[0].select(names).to_pylist() if r["status"] == "error"]


def _is_gone(row: Mapping[str, Any], adapter: Adapter, written_off: Path) -> bool:
    code = row["error_code"]
    if code == CRASHED:
        return not written_off.is_file()
    if row["error_side"] != "input" or code in _BY_SCORING:
        return False
    try:
        adapter[row["index"]]
    except SampleFault as fault:
        raise_if_machine(fault)
        return bool(fault.code != code)
    except Exception as error:  # whatever the adapter raises now, it raised something unexpected then, or it did not
        raise_if_machine(error)
        return bool(code != _UNEXPECTED)
    return True
