"""What of a cell may stay when a run resumes: damaged shards are set aside, lost predictions are noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapiens_bench.store.commits import commit_path
from sapiens_bench.store.paths import cell_folders, set_aside
from sapiens_bench.store.predictions import prediction_row
from sapiens_bench.store.rows import commit_shard, item_key, shard_path
from sapiens_bench.store.stock import Expected, take_stock

CELL = "pose/set/plain/model"
KEYS = {number: [f"s{2 * number}", f"s{2 * number + 1}"] for number in range(3)}
EXPECTED = {number: Expected(2, item_key("f", keys)) for number, keys in KEYS.items()}


def rows_of(number: int, side: str = "") -> list[dict[str, Any]]:
    status = "error" if side else "ok"
    base = {"group": "g", "status": status, "error_code": "", "error_detail": "", "error_side": side}
    return [{"index": 2 * number + i, "key": key, **base} for i, key in enumerate(KEYS[number])]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three shards of two rows, each with its predictions."""
    for number, keys in KEYS.items():
        meta = {"fingerprint": "f", "item_key": item_key("f", keys)}
        kept = [prediction_row(2 * number + i, key, {"p": np.zeros((1, 2))}) for i, key in enumerate(keys)]
        commit_shard(tmp_path / "preds" / CELL, number, kept, meta)
        commit_shard(tmp_path / "rows" / CELL, number, rows_of(number), meta, predictions=2)
    return tmp_path


def flip(path: Path, at: int = 100) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_all_is_in_order(root: Path) -> None:
    assert set(take_stock(root, CELL, EXPECTED, True).done) == {0, 1, 2}
    assert take_stock(root, CELL, EXPECTED, True).notes == []
    assert not (root / "quarantine").exists()


def test_a_damaged_shard_goes_to_quarantine_and_does_not_count(root: Path) -> None:
    path = shard_path(root / "rows" / CELL, 1)
    flip(path)
    damaged = path.read_bytes()
    stock = take_stock(root, CELL, EXPECTED, True)
    assert set(stock.done) == {0, 2}
    assert len(stock.notes) == 1
    assert "shard-00001.parquet" in stock.notes[0]
    assert "quarantine/" in stock.notes[0]
    assert (root / "quarantine" / "rows" / CELL / path.name).read_bytes() == damaged
    assert not path.exists()
    assert not commit_path(path.parent, 1).exists()


def test_what_is_set_aside_twice_is_kept_twice(root: Path) -> None:
    path = shard_path(root / "rows" / CELL, 1)
    places = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        places.append(set_aside(root, path))
    assert [place.read_bytes() for place in places] == [b"one", b"two"]


def test_a_shard_without_its_record_is_computed_again(root: Path) -> None:
    commit_path(root / "rows" / CELL, 2).unlink()
    stock = take_stock(root, CELL, EXPECTED, True)
    assert set(stock.done) == {0, 1}
    assert stock.notes == []  # a crash, nothing that anybody must hear of


@pytest.mark.parametrize("both", [True, False], ids=["with its record", "alone"])
def test_a_shard_too_many_is_set_aside(root: Path, both: bool) -> None:
    folder = root / "rows" / CELL
    shutil.copy(shard_path(folder, 0), shard_path(folder, 3))
    if both:
        shutil.copy(commit_path(folder, 0), commit_path(folder, 3))
    stock = take_stock(root, CELL, EXPECTED, True)
    assert set(stock.done) == {0, 1, 2}
    assert "shard-00003.parquet" in stock.notes[0]
    assert not shard_path(folder, 3).exists()


def test_shards_of_other_pictures_do_not_count_and_that_is_said(root: Path) -> None:
    changed = {**EXPECTED, 1: Expected(2, item_key("f", KEYS[1], ["size 10", ""]))}
    stock = take_stock(root, CELL, changed, True)
    assert set(stock.done) == {0, 2}
    assert "the pictures or samples of 1 shard(s) changed" in stock.notes[0]
    assert shard_path(root / "rows" / CELL, 1).is_file()  # sound rows, only not of these pictures: overwritten later


@pytest.mark.parametrize("how", ["lost", "record lost", "damaged", "of other rows"])
def test_lost_predictions_are_made_again_with_their_rows(root: Path, how: str) -> None:
    folder = root / "preds" / CELL
    if how == "lost":
        shard_path(folder, 1).unlink()
    elif how == "record lost":
        commit_path(folder, 1).unlink()
    elif how == "damaged":
        flip(shard_path(folder, 1))
    else:
        commit_shard(folder, 1, [prediction_row(2, "s2", {"p": np.zeros(1)})], {"fingerprint": "f", "item_key": "x"})
    assert set(take_stock(root, CELL, EXPECTED, False).done) == {0, 1, 2}  # nobody asked for predictions
    stock = take_stock(root, CELL, EXPECTED, True)
    assert set(stock.done) == {0, 2}
    assert "predictions of 1 shard(s)" in stock.notes[-1]


def test_rows_that_have_no_predictions_need_none(root: Path) -> None:
    meta = {"fingerprint": "f", "item_key": EXPECTED[1].item_key}
    shard_path(root / "preds" / CELL, 1).unlink()
    commit_shard(root / "rows" / CELL, 1, rows_of(1, "input"), meta, predictions=0)
    assert set(take_stock(root, CELL, EXPECTED, True).done) == {0, 1, 2}
    commit_shard(root / "rows" / CELL, 1, rows_of(1), meta)  # of a run that did not keep them
    assert set(take_stock(root, CELL, EXPECTED, True).done) == {0, 2}


def test_taking_stock_reads_every_file_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume stays linear: whole shards are hashed once, and decoded not at all."""
    read: list[str] = []

    def counted(path: Path) -> bytes:
        read.append(str(path.relative_to(root)))
        return path.read_bytes()

    def decoded(*_: Any) -> None:
        raise AssertionError("a shard was decoded")

    monkeypatch.setattr("sapiens_bench.store.rows.read_file", counted)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", decoded)
    assert len(take_stock(root, CELL, EXPECTED, True).done) == 3
    assert sorted(read) == sorted(
        f"{kind}/{CELL}/shard-{n:05d}.parquet" for kind in ("preds", "rows") for n in range(3)
    )


def test_cell_folders_are_those_four_levels_down(root: Path) -> None:
    (root / "rows" / "pose" / ".hidden").mkdir()
    (root / "rows" / "loop").symlink_to(root / "rows")
    assert cell_folders(root, "rows") == [root / "rows" / CELL]
    assert cell_folders(root, "maps") == []
