"""``verify run`` and ``errors``: what they find in a run folder that somebody or something has touched."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapiens_bench import cli
from sapiens_bench.store.record import RunRecord, read_run, write_run
from sapiens_bench.store.rows import commit_shard, item_key, read_shard

Call = Callable[..., tuple[int, str, str]]
CELL = Path("pose/coco-val2017/gt-box/noisy-oracle")


def words(data: Path, out: Path) -> list[str]:
    return ["run", "--task", "pose", "--dataset", "coco-val2017", "--data-root", str(data), "--models", "noisy-oracle",
            "--n-boot", "20", "--workers", "1", "--max-errors", "1", "--out", str(out)]  # fmt: skip


@pytest.fixture(scope="module")
def made(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample pictures and a finished run over them."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(coco, folder / "coco")
    for path in (folder / "coco").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sapiens-bench", *words(folder / "coco", folder / "run")])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert not end.value.code
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """The sample pictures, to be spoilt."""
    return Path(shutil.copytree(made / "coco", tmp_path / "coco"))


@pytest.fixture
def command(data: Path, tmp_path: Path) -> list[str]:
    return words(data, tmp_path / "run")


@pytest.fixture
def run(made: Path, command: list[str], tmp_path: Path) -> Path:
    """A finished run: what ``command`` would have written."""
    out = Path(shutil.copytree(made / "run", tmp_path / "run"))
    record = out / "run.json"
    record.write_text(record.read_text().replace(str(made), str(tmp_path)))
    return out


def edit(run: Path, change: Callable[[Any], None]) -> None:
    """Change run.json as an editor would."""
    content = json.loads((run / "run.json").read_text())
    change(content)
    (run / "run.json").write_text(json.dumps(content))


def flip(path: Path, at: int = 200) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_sound_run_is_in_order(call: Call, run: Path, tmp_path: Path) -> None:
    code, out, err = call("verify", run, "--json", tmp_path / "v.json")
    assert code == 0, err
    assert "4 rows of 1 cell(s) in order" in out
    told = json.loads((tmp_path / "v.json").read_text())
    assert (told["schema"], told["faults"], told["notes"]) == ("verify/2", [], [])


@pytest.mark.parametrize(
    ("name", "value"), [("value", 0.999), ("low", 0.9), ("unit", "m"), ("higher_is_better", False)]
)
def test_an_edited_score_is_found(call: Call, run: Path, name: str, value: Any) -> None:
    edit(run, lambda c: c["cells"][0]["scores"]["oks/AP"].update({name: value}))
    code, _, err = call("verify", run)
    assert code == 4
    assert f"oks/AP: {name} is {value!r} in run.json, the rows give" in err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c["cells"][0]["scores"].pop("oks/AR"), "run.json lacks the score oks/AR"),
        (lambda c: c["cells"][0]["counts"].update(ok=3, prediction_errors=1), "run.json counts 4 rows with 1 errors"),
        (lambda c: c["datasets"]["coco-val2017"].update(n_excluded=2), "run.json excludes 2 images, the rows 0"),
        (lambda c: c["cells"][0].update(fingerprint="0" * 64), "another experiment"),
    ],
    ids=["score", "counts", "excluded", "fingerprint"],
)
def test_other_edits_of_the_record_are_found(call: Call, run: Path, change: Any, named: str) -> None:
    edit(run, change)
    code, _, err = call("verify", run)
    assert code == 4
    assert named in err


def test_a_flipped_bit_is_named_and_the_same_command_mends_it(call: Call, run: Path, command: list[str]) -> None:
    before = read_run(run).cells[0].scores
    for place in ("rows", "preds"):
        flip(run / place / CELL / "shard-00000.parquet")
        code, _, err = call("verify", run)
        assert code == 4
        assert "shard-00000.parquet: its bytes are not those that were committed" in err
        assert call(*command)[0] == 0
        code, out, _ = call("verify", run)
        assert code == 0
        assert "set aside in quarantine/" in out
    assert read_run(run).cells[0].scores == before


def test_a_lost_prediction_shard_is_named_and_made_again(call: Call, run: Path, command: list[str]) -> None:
    (run / "preds" / CELL / "shard-00000.parquet").unlink()
    code, _, err = call("verify", run)
    assert code == 4
    assert "preds: 1 shard(s) lost" in err
    code, _, err = call("verify", "coco", run)
    assert code == 2
    assert "shard-00000.parquet is not there" in err
    assert call(*command)[0] == 0
    assert call("verify", run)[0] == 0
    assert call("verify", "coco", run)[0] == 0


@pytest.mark.parametrize("damage", ["", "{", "[" * 100_000], ids=["empty", "cut", "deep"])
def test_a_damaged_plan_is_named_and_made_again(call: Call, run: Path, command: list[str], damage: str) -> None:
    before = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(damage)
    code, _, err = call("verify", run)
    assert code == 4
    assert "plan.json" in err
    assert "the same `run` command makes it again" in err
    assert call(*command)[0] == 0
    assert call("verify", run)[0] == 0
    assert json.loads((run / "plan.json").read_text()) == before


@pytest.mark.parametrize(
    "damage", ["", "{", "[" * 100_000, '{"schema": "run/2"}'], ids=["empty", "cut", "deep", "bare"]
)
def test_a_damaged_record_is_made_again_from_the_rows(call: Call, run: Path, command: list[str], damage: str) -> None:
    before = read_run(run).cells[0]
    (run / "run.json").write_text(damage)
    for words in (("report", run), ("errors", run)):
        code, _, err = call(*words)
        assert code == 2
        assert "run.json" in err
        assert "http" not in err
    code, _, err = call("verify", run)
    assert code == 4
    assert "the same `run` command makes the record again" in err
    assert "--repair" in err
    assert call(*command)[0] == 0
    assert call("verify", run)[0] == 0
    assert read_run(run).cells[0].scores == before.scores


def test_repair_makes_the_record_again_where_the_command_is_lost(call: Call, run: Path) -> None:
    before = read_run(run).cells[0]
    (run / "run.json").write_text("{")
    code, out, err = call("verify", "run", run, "--repair")
    assert code == 0, err
    assert "run.json was made again from the rows of 1 cell(s)" in out
    after = read_run(run)
    assert {k: s.value for k, s in after.cells[0].scores.items()} == {k: s.value for k, s in before.scores.items()}
    assert (after.cells[0].title, after.cells[0].counts, after.cells[0].headline) == (
        before.title,
        before.counts,
        before.headline,
    )
    assert (run / "quarantine" / "run.json").read_text() == "{"
    code, out, _ = call("report", run)
    assert code == 0
    assert "was made again from the rows" in out


def test_without_rows_there_is_nothing_to_repair_from(call: Call, run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "rows")
    (run / "run.json").write_text("{")
    assert call("verify", "run", run, "--repair")[0] == 2
    assert (run / "run.json").read_text() == "{"


@pytest.mark.parametrize(("place", "name"), [("task", "../../escaped"), ("model", "../.."), ("dataset", "../x")])
def test_a_foreign_record_cannot_lead_out_of_the_folder(
    call: Call, run: Path, tmp_path: Path, place: str, name: str
) -> None:
    def change(content: Any) -> None:
        content["cells"][0][place] = name
        if place == "task":
            content["task"] = name

    edit(run, change)
    out = tmp_path / "a" / "b" / "out"
    before = sorted(tmp_path.rglob("*"))
    for words in (
        ("report", run), ("report", "--pareto", run, "--out", out), ("verify", run), ("errors", run),
        ("verify", "coco", run, "--out", out),
    ):  # fmt: skip
        code, _, err = call(*words)
        assert code in (2, 4)
        assert "cannot be a name" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_linked_row_folder_is_refused(call: Call, run: Path, command: list[str], tmp_path: Path) -> None:
    (run / "rows").rename(tmp_path / "elsewhere")
    (run / "rows").symlink_to(tmp_path / "elsewhere")
    code, _, err = call("errors", run)
    assert code == 5
    assert "is a link" in err
    code, _, err = call("verify", run)
    assert code == 4
    assert "is a link" in err
    code, _, err = call(*command)
    assert code == 5
    assert "is a link" in err


def test_a_pipe_in_place_of_the_record_is_refused_at_once(call: Call, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "run.json")
    for words in (("verify", tmp_path), ("report", tmp_path), ("errors", tmp_path)):
        code, _, err = call(*words)
        assert code == 2
        assert "not a plain file" in err


def test_the_suggested_command_works_for_a_folder_called_run(
    call: Call, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(*command[:-1], "run")
    assert code == 0
    assert "sapiens-bench verify run " in out
    for words in (
        ("verify", "run"),
        ("verify", "run", "run"),
        ("verify", "run", "--json", "v.json"),
        ("verify", "./run"),
    ):
        code, out, err = call(*words)
        assert code == 0, err
        assert "in order" in out
    (tmp_path / "run").rename(tmp_path / "golden")
    assert call("verify", "golden")[0] == 0
    assert "Missing argument" in call("verify", "run")[2]


def test_a_refused_second_request_leaves_the_record_as_it_was(call: Call, run: Path, command: list[str]) -> None:
    before = (run / "run.json").read_bytes()
    code, _, err = call(*command, "--limit", "2")
    assert code == 2
    assert "holds another run" in err
    assert (run / "run.json").read_bytes() == before
    assert call("verify", run)[0] == 0


def test_a_run_whose_process_is_gone_says_that_the_same_command_resumes(call: Call, run: Path) -> None:
    edit(run, lambda c: c.update(status="running"))
    code, _, err = call("verify", run)
    assert code == 4
    assert "'running'; the same `run` command resumes" in err


def test_a_picture_that_is_put_back_is_scored_by_the_same_command(
    call: Call, command: list[str], data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    picture = sorted((data / "val2017").glob("*.jpg"))[1]
    away = picture.rename(tmp_path / picture.name)
    assert call(*command)[0] == 0
    assert read_run(run).cells[0].counts.input_errors == 1
    code, out, _ = call("verify", run)
    assert code == 0
    assert "image.missing" in out
    assert "Put the file there, then run the same command again" in out
    away.rename(picture)
    assert call(*command)[0] == 0
    assert read_run(run).cells[0].counts.ok == 4
    code, out, _ = call("verify", run)
    assert (code, "image.missing" in out) == (0, False)


@pytest.fixture
def faulty(call: Call, command: list[str], data: Path, tmp_path: Path) -> Path:
    """A run with two missing pictures, a note on the boxes and a row that could not be measured."""
    for picture in sorted((data / "val2017").glob("*.jpg"))[:2]:
        picture.unlink()
    assert call(*command)[0] == 0
    run = tmp_path / "run"
    record = read_run(run)
    record.datasets["coco-val2017"].boxes_notes = ["=HYPERLINK(1): 2 boxes \x1b[31m left out"]
    absent = record.cells[0].model_copy(update={"model": "absent", "status": "weights missing", "scores": {}})
    absent.error_kind, absent.how, absent.fix = "WeightsMissing", "absent.bin not found", "Get it from X."
    record.cells.append(absent)
    write_run(run, record)
    return run


def test_errors_lists_every_image_and_every_cause(call: Call, faulty: Path) -> None:
    code, out, _ = call("errors", faulty)
    assert code == 0
    assert "image.missing (2 images, first" in out
    assert "WeightsMissing: absent.bin not found. Get it from X." in out
    assert "2 images with errors" in out
    assert out.count("image.missing") == 3
    assert "\x1b" not in out


def test_errors_as_json_and_csv_hold_the_same(call: Call, faulty: Path, tmp_path: Path) -> None:
    code, out, _ = call("errors", faulty, "--format", "json")
    told = json.loads(out)
    assert (code, told["schema"], len(told["rows"])) == (0, "errors/1", 2)
    assert [(c["kind"], c["count"]) for c in told["causes"]] == [
        ("note", 1), ("image.missing", 2), ("WeightsMissing", 1)]  # fmt: skip
    assert call("errors", faulty, "--format", "csv", "--out", tmp_path / "errors.csv")[0] == 0
    lines = list(csv.DictReader(io.StringIO((tmp_path / "errors.csv").read_text())))
    assert [line["kind"] for line in lines] == ["note", "WeightsMissing", "image.missing", "image.missing"]
    assert lines[0]["detail"].startswith("'=HYPERLINK")
    assert {line["key"] for line in lines[2:]} == {row["key"] for row in told["rows"]}


def test_errors_of_a_clean_run_says_so(call: Call, run: Path) -> None:
    code, out, _ = call("errors", run)
    assert (code, out) == (0, "No errors and no notes.\n")


def test_errors_names_rows_that_cannot_be_read(call: Call, faulty: Path) -> None:
    flip(faulty / "rows" / CELL / "shard-00000.parquet")
    code, out, _ = call("errors", faulty)
    assert code == 0
    assert "ShardDamaged" in out


def test_a_record_of_an_earlier_version_is_verified_with_a_note(call: Call, run: Path) -> None:
    def older(content: Any) -> None:
        content["schema"] = "run/1"
        for cell in content["cells"]:
            for name in ("causes", "error_kind", "fix"):
                del cell[name]
            del cell["timing"]["measured_on"]

    edit(run, older)
    claim = run / "rows" / CELL / "cell.json"
    claim.write_text(claim.read_text().replace("cell/2", "cell/1"))
    shard = read_shard(claim.parent, 0)
    assert shard is not None
    rows = [{k: np.array(v) if isinstance(v, list) else v for k, v in row.items()} for row in shard[0].to_pylist()]
    key = item_key(shard[1].fingerprint, [row["key"] for row in rows])  # it knew nothing of files
    commit_shard(claim.parent, 0, rows, {"fingerprint": shard[1].fingerprint, "item_key": key})
    for record in run.rglob("commit-*.json"):
        record.unlink()
    code, out, err = call("verify", run)
    assert code == 0, err
    assert "written by a version that kept no hashes" in out


def test_the_folder_of_a_profile_is_no_run_to_complain_about(call: Call, tmp_path: Path) -> None:
    write_run(tmp_path, RunRecord(status="done", task="profile", costs=[{"model": "m"}]))
    assert call("verify", tmp_path)[0] == 0
