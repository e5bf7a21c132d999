"""Shards: whole or not there; readable back; the disk may be full."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import FingerprintMismatch, ShapeError, ShardDamaged, StorageFull, StoreError
from sapiens_bench.store.commits import Commit, commit_path, write_commit
from sapiens_bench.store.files import remove_strays, write_atomic
from sapiens_bench.store.fingerprint import check_claim, differing, fingerprint, write_claim
from sapiens_bench.store.predictions import prediction_row, read_predictions
from sapiens_bench.store.rows import (
    commit_shard,
    committed,
    item_key,
    read_rows,
    read_shard,
    read_shards,
    remove_shard,
    rows_table,
    shard_path,
    shards_of,
)

META = {"item_key": "k", "fingerprint": "f"}


def row(index: int, **values: Any) -> dict[str, Any]:
    base = {"index": index, "key": f"s{index}", "group": "g", "status": "ok"}
    return base | {"error_code": "", "error_detail": "", "error_side": ""} | values


def test_rows_come_back_in_index_order_whatever_the_order_of_commits(tmp_path: Path) -> None:
    commit_shard(tmp_path, 1, [row(2, **{"m/n": 5}), row(3, **{"m/n": 6})], META)
    commit_shard(tmp_path, 0, [row(0, **{"m/n": 1}), row(1, **{"m/n": 2})], META)
    table = read_rows(tmp_path)
    assert table["index"].to_pylist() == [0, 1, 2, 3]
    assert table["m/n"].to_pylist() == [1, 2, 5, 6]


def test_a_shard_of_errors_alone_has_nulls_for_the_metrics(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0, status="error")], META)
    commit_shard(tmp_path, 1, [row(1, **{"m/sum": 0.5, "m/a": np.array([1, 2])})], META)
    table = read_rows(tmp_path)
    assert table["m/sum"].to_pylist() == [None, 0.5]
    assert table["m/a"].to_pylist() == [None, [1, 2]]


def test_whole_numbers_in_one_shard_and_fractions_in_the_next_become_fractions(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0, **{"m/s": 1, "m/a": np.array([1])})], META)
    commit_shard(tmp_path, 1, [row(1, **{"m/s": 0.5, "m/a": np.array([0.5])})], META)
    assert read_rows(tmp_path)["m/s"].to_pylist() == [1.0, 0.5]
    assert read_rows(tmp_path)["m/a"].to_pylist() == [[1.0], [0.5]]


def test_nan_and_null_stay_apart(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0, **{"m/s": float("nan")}), row(1)], META)
    first, second = read_rows(tmp_path)["m/s"].to_pylist()
    assert first != first
    assert second is None


def test_only_wanted_columns_are_read_and_damage_in_the_others_is_seen_all_the_same(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0, **{"m/n": 1, "m/beside": np.arange(5)})], META)
    commit_shard(tmp_path, 1, [row(1, **{"m/more": 3.5, "m/n": 2})], META)  # other columns than the first
    table = read_rows(tmp_path, lambda name: name in ("m/n", "m/more"))
    assert table.to_pydict() == {"index": [0, 1], "status": ["ok", "ok"], "m/n": [1, 2], "m/more": [None, 3.5]}
    whole = read_rows(tmp_path)
    assert table.equals(whole.select(table.column_names))
    path = shard_path(tmp_path, 0)
    group = pq.ParquetFile(path).metadata.row_group(0)
    beside = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith("m/beside"))
    data = bytearray(path.read_bytes())
    data[beside.data_page_offset + beside.total_compressed_size - 1] ^= 1  # its last byte
    path.write_bytes(data)
    with pytest.raises(ShardDamaged, match="sha256"):
        read_rows(tmp_path, lambda name: name == "m/n")


def test_more_shards_than_are_read_at_once_come_back_whole(tmp_path: Path) -> None:
    for number in reversed(range(70)):
        commit_shard(tmp_path, number, [row(2 * number + i, **{"m/n": number}) for i in range(2)], META)
    table = read_rows(tmp_path)
    assert table["index"].to_pylist() == list(range(140))
    assert table["m/n"].to_pylist() == [i // 2 for i in range(140)]


def test_shards_in_the_encoding_of_earlier_versions_are_read_beside_new_ones(tmp_path: Path) -> None:
    columns = [{"m/s": i / 7, "m/a": np.arange(i, dtype=np.int32), "attr/word": "word"[:i]} for i in range(6)]
    rows = [row(i, **each) for i, each in enumerate(columns)]
    new = tmp_path / "new"
    for number in range(2):
        commit_shard(new, number, rows[3 * number : 3 * number + 3], META)
    old = shutil.copytree(new, tmp_path / "old")
    footer = {"fingerprint": "f", "item_key": "k", "rows": "3", "schema": "rows/1"}
    pq.write_table(rows_table(rows[:3]).replace_schema_metadata(footer), shard_path(old, 0), compression="zstd")
    seal = hashlib.sha256(shard_path(old, 0).read_bytes()).hexdigest()
    write_commit(old, Commit(shard=0, rows=3, errors=0, item_key="k", fingerprint="f", sha256=seal))
    assert read_rows(old).equals(read_rows(new))
    assert read_rows(new)["m/a"].type.value_type == pa.int32()


def test_the_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    rows = [row(i, **{"m/s": i / 7}) for i in range(9)]
    a = commit_shard(tmp_path / "a", 0, rows, META).read_bytes()
    time.sleep(0.01)
    b = commit_shard(tmp_path / "b", 0, [dict(reversed(r.items())) for r in rows], dict(reversed(META.items())))
    assert a == b.read_bytes()


@pytest.mark.parametrize("value", [np.zeros((2, 2)), "text", [1, 2]], ids=["matrix", "text", "list"])
def test_a_value_that_is_no_number_and_no_vector_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ShapeError, match="m/x"):
        commit_shard(tmp_path, 0, [row(0, **{"m/x": value})], META)
    assert not list(tmp_path.iterdir())


def test_a_shard_counts_only_with_its_commit(tmp_path: Path) -> None:
    path = commit_shard(tmp_path, 0, [row(0), row(1, status="error")], META, predictions=1)
    commit = committed(tmp_path, 0)
    assert commit is not None
    assert (commit.rows, commit.errors, commit.item_key, commit.fingerprint) == (2, 1, "k", "f")
    assert (commit.predictions, commit.sha256) == (1, hashlib.sha256(path.read_bytes()).hexdigest())
    assert committed(tmp_path, 1) is None
    commit_shard(tmp_path, 1, [row(2)], META)
    commit_path(tmp_path, 1).unlink()  # as after a crash between the shard and its record
    assert committed(tmp_path, 1) is None
    assert read_rows(tmp_path)["index"].to_pylist() == [0, 1]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ShardDamaged, match="its bytes are not those that were committed"):
        committed(tmp_path, 0)
    with pytest.raises(StoreError, match=r"shard-00000\.parquet.*`run` command of this folder.*computes it again"):
        read_rows(tmp_path)


def test_a_folder_in_which_nothing_is_committed_has_no_rows(tmp_path: Path) -> None:
    for number in range(2):
        commit_shard(tmp_path, number, [row(number)], META)
        commit_path(tmp_path, number).unlink()
    assert not list(read_shards(tmp_path, [0, 1, 7], sealed=True))
    assert read_shard(tmp_path, 0, sealed=True) is None
    assert [commit.errors for _, commit in read_shards(tmp_path, [0, 1], sealed=False)] == [0, 0]


def test_a_shard_of_another_number_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = commit_shard(tmp_path, 0, [row(0)], META)
    shutil.copy(path, shard_path(tmp_path, 3))
    shutil.copy(commit_path(tmp_path, 0), commit_path(tmp_path, 3))
    with pytest.raises(ShardDamaged, match="record of shard 0"):
        committed(tmp_path, 3)


def test_a_removed_shard_leaves_nothing(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0)], META)
    remove_shard(tmp_path, 0)
    remove_shard(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_shards_of_an_earlier_version_are_read_without_records(tmp_path: Path) -> None:
    path = commit_shard(tmp_path, 0, [row(0, **{"m/s": 1.5})], META)
    commit_path(tmp_path, 0).unlink()
    assert read_rows(tmp_path)["m/s"].to_pylist() == [1.5]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="cannot be read"):
        read_rows(tmp_path)


def test_item_keys_tell_samples_and_files_apart() -> None:
    plain = item_key("f", ["a", "b"])
    assert plain == item_key("f", ["a", "b"], ["", ""])  # nothing known of the files: as before they were asked for
    assert len({plain, item_key("f", ["b", "a"]), item_key("g", ["a", "b"]), item_key("f", ["a", "b"], ["1", ""])}) == 4
    assert item_key("f", ["a", "b"], ["1", ""]) != item_key("f", ["a", "b"], ["", "1"])


def test_readers_pass_over_files_that_are_no_shards(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0)], META)
    for name in (".tmp-1", "shard-00001.parquet.bak", "shard-1.parquet", "shard-0000001.parquet", "other.json"):
        (tmp_path / name).write_bytes(b"not parquet")
    assert read_rows(tmp_path).num_rows == 1


def test_a_sample_with_two_rows_is_an_error(tmp_path: Path) -> None:
    commit_shard(tmp_path, 0, [row(0)], META)
    commit_shard(tmp_path, 1, [row(0)], META)
    with pytest.raises(StoreError, match="sample 0 has more than one row"):
        read_rows(tmp_path)


@given(n=st.integers(0, 500), size=st.integers(1, 80))
@settings(deadline=None, max_examples=40)
def test_shards_cover_every_sample_once(n: int, size: int) -> None:
    assert [i for shard in shards_of(n, size) for i in shard.indices] == list(range(n))


def test_predictions_keep_dtype_and_shape(tmp_path: Path) -> None:
    points = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    nobody = np.zeros((0, 2, 2), np.float32)
    commit_shard(tmp_path, 0, [prediction_row(0, "a", {"p": points}), prediction_row(1, "b", {"p": nobody})], META)
    found = dict(read_predictions(tmp_path))
    np.testing.assert_array_equal(found["a"]["p"], points)
    assert (found["a"]["p"].dtype, found["b"]["p"].shape) == (np.float32, (0, 2, 2))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_full_disk_keeps_what_is_committed_and_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    commit_shard(tmp_path, 0, [row(0)], META)

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StorageFull, match=r"MB free there.*run the same command again") as caught:
            commit_shard(tmp_path, 1, [row(1)], META)
    assert caught.value.exit_code == 4
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["commit-00000.json", "shard-00000.parquet"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


def test_on_a_real_full_disk_every_acknowledged_row_survives(small_disk: Path) -> None:
    rng = np.random.default_rng(0)
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        for number in range(100):
            commit_shard(small_disk, number, [row(number, **{"m/a": rng.random(2000)})], META)
            acknowledged += 1

    with pytest.raises(StorageFull, match="No space left"):
        fill()
    assert 3 < acknowledged < 100
    assert read_rows(small_disk).num_rows == acknowledged
    assert not list(small_disk.glob(".tmp-*"))


def test_writers_that_race_for_one_shard_leave_one_sound_shard(tmp_path: Path) -> None:
    rows = [row(i, **{"m/s": i / 3}) for i in range(50)]
    threads = [
        threading.Thread(target=lambda: [commit_shard(tmp_path, 0, rows, META) for _ in range(5)]) for _ in "123"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["commit-00000.json", "shard-00000.parquet"]
    assert read_rows(tmp_path).num_rows == 50


def test_stray_temporary_files_go_when_older_than_an_hour(tmp_path: Path) -> None:
    folder = tmp_path / "rows" / "a"
    folder.mkdir(parents=True)
    old, young = folder / ".tmp-old", folder / ".tmp-young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    assert remove_strays(tmp_path) == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomic(tmp_path / "a.json", b"old")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_claimed_once_and_a_mismatch_names_the_field(tmp_path: Path) -> None:
    fields = {"precision": "fp32", "metrics": {"oks": 1}, "map": [1, 2]}
    first = check_claim(tmp_path, fields, 64)
    assert (first.state, first.digest) == ("new", fingerprint(dict(reversed(fields.items()))))
    assert not list(tmp_path.iterdir())  # looking writes nothing
    write_claim(first)
    assert check_claim(tmp_path, fields, 64).state == "same"
    with pytest.raises(FingerprintMismatch, match=r"metrics.oks: 1 there, 2 now.*precision: 'fp32' there, 'bf16' now"):
        check_claim(tmp_path, {**fields, "precision": "bf16", "metrics": {"oks": 2}}, 64)
    with pytest.raises(FingerprintMismatch, match="shard_size: 64 there, 32 now"):
        check_claim(tmp_path, fields, 32)
    text = (tmp_path / "cell.json").read_text()
    (tmp_path / "cell.json").write_text(text.replace("cell/2", "cell/1"))
    assert check_claim(tmp_path, fields, 64).state == "old"
    (tmp_path / "cell.json").write_bytes(b"{")
    assert check_claim(tmp_path, fields, 64).state == "damaged"


def test_fields_that_appear_or_vanish_are_named_too() -> None:
    assert differing({"a": 1}, {"b": 2}) == ["a: 1 there, nothing now", "b: nothing there, 2 now"]
