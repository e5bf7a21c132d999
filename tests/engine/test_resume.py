"""What a second run of the same folder keeps, computes again, and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.engine.events import Note, ShardDone
from sapiens_bench.engine.run import run
from sapiens_bench.errors import FingerprintMismatch, SampleFault, TooManyErrors
from sapiens_bench.store.causes import run_causes
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import RunRecord, read_run
from sapiens_bench.store.rows import item_key, read_rows, read_shard

CELL = Path("toy/toy/plain/toy-plain")
N = 20  # four shards of five


def go(
    toy: ModuleType, out: Path, *, read: Any = None, identity: Any = None, **fields: Any
) -> tuple[RunRecord, list[int], list[str]]:
    """Run the toy: the record, the shards computed, the notes. ``read(index)`` may raise instead of the adapter."""
    planned = toy.plan(out, {"n": N}, **fields)
    adapter = planned.data[0].open.adapter
    if read is not None:
        kind = type(adapter)

        class Reader(kind):  # type: ignore[misc, valid-type]
            def __getitem__(self, index: int) -> Any:
                read(index)
                return super().__getitem__(index)

        adapter.__class__ = Reader
    if identity is not None:
        adapter.identity = identity
    events: list[Any] = []
    record = run(planned, events.append)
    shards = [e.number for e in events if isinstance(e, ShardDone)]
    return record, shards, [e.text for e in events if isinstance(e, Note)]


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def shard_bytes(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / "rows" / CELL).glob("shard-*"))}


@pytest.mark.parametrize("place", ["rows", "preds"])
def test_a_flipped_bit_is_found_set_aside_and_made_again(toy: ModuleType, tmp_path: Path, place: str) -> None:
    first, _, _ = go(toy, tmp_path)
    before, predictions = shard_bytes(tmp_path), len(list(read_predictions(tmp_path / "preds" / CELL)))
    path = tmp_path / place / CELL / "shard-00002.parquet"
    for bit in np.random.default_rng(0).choice(path.stat().st_size * 8, 6, replace=False).tolist():
        data = bytearray(path.read_bytes())
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        second, computed, notes = go(toy, tmp_path)
        assert computed == [2]
        assert any("shard-00002.parquet" in note and "quarantine/" in note for note in notes)
        assert second.cells[0].scores == first.cells[0].scores
        assert shard_bytes(tmp_path) == before
    assert len(list((tmp_path / "quarantine" / place / CELL).glob("shard-00002*"))) == 6
    assert len(list(read_predictions(tmp_path / "preds" / CELL))) == predictions


def test_lost_predictions_are_made_again(toy: ModuleType, tmp_path: Path) -> None:
    go(toy, tmp_path)
    rows, kept = shard_bytes(tmp_path), dict(read_predictions(tmp_path / "preds" / CELL))
    (tmp_path / "preds" / CELL / "shard-00001.parquet").unlink()
    _, computed, notes = go(toy, tmp_path)
    assert computed == [1]
    assert any("predictions of 1 shard(s)" in note for note in notes)
    assert dict(read_predictions(tmp_path / "preds" / CELL)).keys() == kept.keys()
    assert shard_bytes(tmp_path) == rows


def test_predictions_that_were_not_kept_are_made_when_asked_for(toy: ModuleType, tmp_path: Path) -> None:
    go(toy, tmp_path, save_preds=False)
    assert not (tmp_path / "preds").exists()
    assert go(toy, tmp_path, save_preds=False)[1] == []
    assert go(toy, tmp_path)[1] == [0, 1, 2, 3]
    assert len(list(read_predictions(tmp_path / "preds" / CELL))) == N


def missing(*indices: int) -> Any:
    def read(index: int) -> None:
        if index in indices:
            raise SampleFault("image.missing", f"{index}.jpg not found")

    return read


def test_a_picture_that_was_put_back_is_scored_by_the_same_command(toy: ModuleType, tmp_path: Path) -> None:
    whole, _, _ = go(toy, tmp_path / "whole")
    first, _, _ = go(toy, tmp_path / "run", read=missing(7, 16))
    assert (first.cells[0].counts.ok, first.cells[0].counts.input_errors) == (18, 2)
    assert [(c.kind, c.count, c.first_key) for c in first.cells[0].causes] == [("image.missing", 2, "toy/00007")]

    same, computed, notes = go(toy, tmp_path / "run", read=missing(7, 16))
    assert (computed, notes) == ([], [])  # still missing: looked for, and nothing computed
    assert same.cells[0].counts == first.cells[0].counts

    one, computed, notes = go(toy, tmp_path / "run", read=missing(16))
    assert computed == [1]
    assert any("tried again" in note for note in notes)
    assert one.cells[0].counts.input_errors == 1

    both, computed, _ = go(toy, tmp_path / "run")
    assert computed == [3]
    assert both.cells[0].counts.ok == N
    assert both.cells[0].scores == whole.cells[0].scores
    assert shard_bytes(tmp_path / "run") == shard_bytes(tmp_path / "whole")


def test_an_error_that_changed_its_kind_is_told_anew(toy: ModuleType, tmp_path: Path) -> None:
    go(toy, tmp_path, read=missing(7))

    def cut(index: int) -> None:
        if index == 7:
            raise SampleFault("image.truncated", "cut off")

    record, computed, _ = go(toy, tmp_path, read=cut)
    assert computed == [1]
    assert [c.kind for c in record.cells[0].causes] == ["image.truncated"]


def test_a_fault_of_the_model_is_not_computed_for_ever(toy: ModuleType, tmp_path: Path) -> None:
    options = {"finish_faults": (7,), "say": {"8": "nan"}}
    go(toy, tmp_path, options=options)
    assert go(toy, tmp_path, options=options)[1] == []


def test_a_replaced_picture_is_scored_again_where_the_data_set_knows_its_files(toy: ModuleType, tmp_path: Path) -> None:
    stamps = {i: f"{100 + i}:1" for i in range(N)}
    go(toy, tmp_path, identity=stamps.__getitem__)
    assert go(toy, tmp_path, identity=stamps.__getitem__)[1] == []
    stamps[12] = "7:2"
    _, computed, notes = go(toy, tmp_path, identity=stamps.__getitem__)
    assert computed == [2]
    assert any("the pictures or samples of 1 shard(s) changed since" in note for note in notes)
    assert go(toy, tmp_path, identity=stamps.__getitem__)[1] == []


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_the_one_scored(toy: ModuleType, tmp_path: Path) -> None:
    stamps = dict.fromkeys(range(N), "1")

    def touch(index: int) -> None:
        stamps[index] = "2" if index == 0 else "1"

    go(toy, tmp_path, read=touch, identity=stamps.__getitem__)
    assert go(toy, tmp_path, identity=stamps.__getitem__)[1] == [0]


def test_an_identity_that_cannot_be_had_is_unknown(toy: ModuleType, tmp_path: Path) -> None:
    def gone(index: int) -> str:
        raise FileNotFoundError(str(index))

    go(toy, tmp_path, identity=gone)
    planned = toy.plan(tmp_path, {"n": N})
    shard = read_shard(tmp_path / "rows" / CELL, 0)
    assert shard is not None
    assert shard[1].item_key == item_key(planned.cells[0].cell.fingerprint, [f"toy/{i:05d}" for i in range(5)])


@pytest.mark.parametrize("other", [{"options": {"bias": 0.5}}, {"limit": 10}, {"shard_size": 7}], ids=str)
def test_a_refused_second_request_leaves_every_file_of_the_first_as_it_was(
    toy: ModuleType, tmp_path: Path, other: dict[str, Any]
) -> None:
    go(toy, tmp_path)
    before = files(tmp_path)
    with pytest.raises(FingerprintMismatch):
        go(toy, tmp_path, **other)
    assert files(tmp_path) == before


def test_a_rerun_keeps_the_measured_throughput(toy: ModuleType, tmp_path: Path) -> None:
    first, _, _ = go(toy, tmp_path)
    timing = first.cells[0].timing
    assert timing.images == N
    second, _, _ = go(toy, tmp_path)
    assert second.cells[0].timing == timing == read_run(tmp_path).cells[0].timing
    (tmp_path / "rows" / CELL / "shard-00003.parquet").unlink()
    third, _, _ = go(toy, tmp_path)
    assert third.cells[0].timing.images == N + 5
    assert third.cells[0].timing.wall_s > timing.wall_s


@pytest.mark.parametrize("name", ["run.json", "plan.json", f"rows/{CELL}/cell.json"])
def test_a_damaged_file_is_made_again_from_the_rows(toy: ModuleType, tmp_path: Path, name: str) -> None:
    first, _, _ = go(toy, tmp_path)
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(before[: len(before) // 2])
    second, computed, notes = go(toy, tmp_path)
    assert computed == []
    assert second.cells[0].scores == first.cells[0].scores
    assert any(name in note and "quarantine/" in note for note in notes)
    if name != "run.json":
        assert json.loads((tmp_path / name).read_bytes()) == json.loads(before)


def test_a_doubled_shard_does_not_stop_the_run(toy: ModuleType, tmp_path: Path) -> None:
    first, _, _ = go(toy, tmp_path)
    folder = tmp_path / "rows" / CELL
    (folder / "shard-00004.parquet").write_bytes((folder / "shard-00000.parquet").read_bytes())
    second, computed, notes = go(toy, tmp_path)
    assert computed == []
    assert second.cells[0].scores == first.cells[0].scores
    assert any("shard-00004.parquet" in note for note in notes)
    assert read_rows(folder).num_rows == N


def test_every_kind_of_error_is_in_the_record_with_its_count(toy: ModuleType, tmp_path: Path) -> None:
    def read(index: int) -> None:
        missing(1, 2, 3)(index)
        if index == 4:
            raise RuntimeError("label reader failed")

    with pytest.raises(TooManyErrors):
        go(toy, tmp_path, read=read, options={"finish_faults": (9,)}, max_errors=0.1)
    found = [(f.model, f.cause.kind, f.cause.side, f.cause.count) for f in run_causes(read_run(tmp_path))]
    assert found == [
        ("toy-plain", "image.missing", "input", 3),
        ("toy-plain", "input.exception", "input", 1),
        ("toy-plain", "model.exception", "prediction", 1),
    ]


def test_images_of_a_record_are_a_table_with_scores(toy: ModuleType, tmp_path: Path) -> None:
    record, _, _ = go(toy, tmp_path, read=missing(3), options={"bias": 0.25})
    frame = record.rows(record.cells[0])
    assert frame["grey/mae"].dropna().round(4).tolist() == [0.25] * (N - 1)
    assert np.isnan(frame["grey/mae"][3])
    assert record.to_pandas(images=True)["model"].unique().tolist() == ["toy-plain"]
