"""One flipped bit anywhere in what a cell's folder holds is found, or changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.errors import StoreError
from sapiens_bench.store.commits import Commit, commit_path
from sapiens_bench.store.predictions import prediction_row, read_predictions
from sapiens_bench.store.rows import commit_shard, committed, item_key, read_rows

FLIPS = 700


def rows(n: int = 64) -> list[dict[str, Any]]:
    """Rows like those of a pose run: texts, counts, sums and vectors of packed bits."""
    rng = np.random.default_rng(0)
    return [
        {
            "index": i, "key": f"{i:012d}", "group": f"g{i // 3}", "status": "ok", "error_code": "",
            "error_detail": "", "error_side": "", "oks/n_people": rng.integers(0, 5, 3),
            "oks/outcomes": rng.integers(0, 2**60, 4), "oks/scores": rng.random(4), "oks/sum": float(rng.random()),
        }
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = rows()
    key = item_key("f", [row["key"] for row in made])
    commit_shard(tmp_path, 0, made, {"item_key": key, "fingerprint": "f"}, predictions=0)
    return tmp_path


def flipped(path: Path, bits: Iterator[int]) -> Iterator[int]:
    """The file with each of these bits flipped in turn."""
    data = path.read_bytes()
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        yield bit
    path.write_bytes(data)


def as_committed(folder: Path, commit: Commit, table: pa.Table) -> bool:
    """Whether what is read now is exactly what was committed; False where the reader complains or reads nothing."""
    try:
        found = committed(folder, 0)
        return found == commit and bool(read_rows(folder).equals(table))
    except StoreError:
        return False


def test_a_flipped_bit_in_a_shard_is_always_found(folder: Path) -> None:
    commit, table = committed(folder, 0), read_rows(folder)
    assert commit is not None
    path = folder / "shard-00000.parquet"
    bits = np.random.default_rng(1).choice(path.stat().st_size * 8, FLIPS, replace=False)
    missed = [bit for bit in flipped(path, iter(bits.tolist())) if as_committed(folder, commit, table)]
    assert missed == []
    assert as_committed(folder, commit, table)  # the file is as it was: the check above could fail


def test_a_flipped_bit_in_a_commit_record_is_found_or_changes_nothing(folder: Path) -> None:
    commit, table = committed(folder, 0), read_rows(folder)
    assert commit is not None
    path = commit_path(folder, 0)
    harmless = [b for b in flipped(path, iter(range(path.stat().st_size * 8))) if as_committed(folder, commit, table)]
    assert all(path.read_bytes()[bit // 8 : bit // 8 + 1].isspace() for bit in harmless)  # the line's end alone
    assert len(harmless) <= 8


def test_a_flipped_bit_in_a_prediction_shard_is_always_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    made = [prediction_row(i, f"{i:012d}", {"points": rng.random((3, 17, 2), np.float32)}) for i in range(64)]
    path = commit_shard(tmp_path, 0, made, {"item_key": "k", "fingerprint": "f"})
    bits = rng.choice(path.stat().st_size * 8, 200, replace=False)
    for bit in flipped(path, iter(bits.tolist())):
        with pytest.raises(StoreError, match="makes it again"):
            list(read_predictions(tmp_path))
        assert bit >= 0
    assert len(list(read_predictions(tmp_path))) == 64
