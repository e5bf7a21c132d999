"""Runs made of runs: a model that joins, a run done once more, parts that are merged. Scores are those of one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sapiens_bench.api import evaluate
from sapiens_bench.cli import app
from sapiens_bench.engine.again import NO_PART, parse_part, request_of, with_added
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import FingerprintMismatch, UsageError
from sapiens_bench.store.merge import merge_folders
from sapiens_bench.store.record import RunRecord, read_run

ASK: dict[str, Any] = {"task": "normal", "split": "tiny", "limit": 6, "shard_size": 2, "n_boot": 50}


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def scores(record: RunRecord) -> dict[str, Any]:
    return {cell.model: {key: (s.value, s.low, s.high) for key, s in cell.scores.items()} for cell in record.cells}


@pytest.fixture(scope="module")
def floors() -> list[str]:
    from sapiens_bench.cards.catalog import Catalog

    found = [e.id for e in Catalog.load().select("normal", ["floor*"]) if e.card.kind == "floor"]
    assert len(found) >= 2
    return found[:2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, floors: list[str]) -> RunRecord:
    torch.set_num_threads(1)
    return evaluate(**ASK, models=floors, out=tmp_path_factory.mktemp("again") / "whole")


def test_a_model_joins_a_finished_run(tmp_path: Path, floors: list[str], whole: RunRecord) -> None:
    out = tmp_path / "run"
    first = evaluate(**ASK, models=[floors[0]], out=out)
    before = {path: path.read_bytes() for path in (out / "rows").rglob("shard-*")}
    grown = evaluate(task="normal", models=f"+{floors[1]}", out=out)
    assert scores(grown) == scores(whole)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert first.cells[0].timing.images == grown.cells[0].timing.images == 6
    assert read_run(out).request["limit"] == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": ("+a",)}, "name its folder with --out"),
        ({"models": ("+a", "b"), "out": Path("x")}, "before every name"),
        ({"models": ("+",), "out": Path("x")}, "before every name"),
    ],
)
def test_a_plus_needs_a_run(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_added(Request(task="normal", **fields))


def test_a_plus_keeps_to_the_task(whole: RunRecord) -> None:
    with pytest.raises(UsageError, match="a run of normal, not of pose"):
        with_added(Request(task="pose", models=("+a",), out=Path(whole.request["out"])))


def test_parts_are_merged_to_the_run(tmp_path: Path, floors: list[str], whole: RunRecord) -> None:
    parts = [tmp_path / "1", tmp_path / "2"]
    for number, out in enumerate(parts, 1):
        code, said = call(
            "run", "--task", "normal", "--split", "tiny", "--limit", 6, "--shard-size", 2, "--n-boot", 50,
            "--models", ",".join(floors), "--shard", f"{number}/2", "--out", out,
        )  # fmt: skip
        assert code == 0, said
        assert read_run(out).status == "incomplete"
    code, said = call("merge", *parts, "--out", tmp_path / "merged")
    assert code == 0, said
    merged = read_run(tmp_path / "merged")
    assert scores(merged) == scores(whole)
    assert {cell.timing.images for cell in merged.cells} == {6}
    assert call("verify", "run", tmp_path / "merged")[0] == 0
    grown = evaluate(task="normal", models="+oracle-normal", out=tmp_path / "merged")  # it merged, but may grow
    assert {cell.counts.done for cell in grown.cells} == {6}
    assert len(grown.cells) == 3


def test_a_missing_part_is_not_made_up(tmp_path: Path, floors: list[str], whole: RunRecord) -> None:
    root = Path(whole.request["out"])
    one = evaluate(**ASK, models=[floors[0]], out=tmp_path / "one")
    assert one.status == "done"
    part = tmp_path / "part"
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.plan import resolve
    from sapiens_bench.engine.run import run

    run(resolve(Request(**ASK, models=(floors[1],), out=part, part=(1, 2)), Catalog.load()))
    code, said = call("merge", tmp_path / "one", part, "--out", tmp_path / "merged")
    assert code == 4, said
    assert "INCOMPLETE" in said
    counts = {cell.model: cell.counts.done for cell in read_run(tmp_path / "merged").cells}
    assert counts == {floors[0]: 6, floors[1]: 4}
    assert root.is_dir()


def test_runs_of_other_data_are_not_merged(tmp_path: Path, floors: list[str], whole: RunRecord) -> None:
    other = evaluate(**{**ASK, "limit": 4}, models=[floors[0]], out=tmp_path / "other")
    with pytest.raises(FingerprintMismatch, match="cannot be merged"):
        merge_folders([Path(whole.request["out"]), Path(other.request["out"])], tmp_path / "merged")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        merge_folders([tmp_path, tmp_path], tmp_path / "full")
    with pytest.raises(UsageError, match="two run folders"):
        merge_folders([tmp_path], tmp_path / "new")


def test_a_record_is_run_again(tmp_path: Path, whole: RunRecord) -> None:
    root = Path(whole.request["out"])
    code, said = call("rerun", root, "--out", tmp_path / "again")
    assert code == 0, said
    assert scores(read_run(tmp_path / "again")) == scores(whole)
    assert call("rerun", root, "--out", root)[0] == 2


def test_the_request_of_a_record_is_the_request(whole: RunRecord) -> None:
    request = request_of(whole)
    assert (request.task, request.limit, request.shard_size, request.split) == ("normal", 6, 2, "tiny")
    assert request_of(whole, part=NO_PART).part == (0, 0)
    assert json.loads(json.dumps(request.as_json())) == request.as_json()


@pytest.mark.parametrize(("text", "part"), [("", None), ("1/1", (1, 1)), ("2/8", (2, 8))])
def test_parts_are_counted_from_one(text: str, part: Any) -> None:
    assert parse_part(text) == part


@pytest.mark.parametrize("text", ["2", "0/2", "3/2", "a/b", "1/", "-1/2"])
def test_other_parts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_part(text)
