"""Plans, profiles and studies come in every format a table comes in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.profiling.record import CountRecord, ProfileRecord, ProfileRow
from sapiens_bench.report.formats import FORMATS
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord, write_run

Call = Callable[..., tuple[int, str, str]]
SHOWS = {"text": "Model", "md": "| Model", "latex": r"\begin{table", "html": "<!doctype html>", "csv": "table,",
         "json": '"schema"'}  # fmt: skip


@pytest.fixture
def run_and_profile(tmp_path: Path) -> tuple[Path, Path]:
    """Two models that were run and profiled, one of them with a name that is no formula."""
    names = {"a": r"Model $\badcmd$", "b": "Model B"}
    cells = [
        CellRecord(
            task="pose", dataset="d", protocol="p", model=name, title=title, family=name, status="done",
            headline="m/AP", scores={"m/AP": ScoreRecord(value=0.5, title="AP", percent=True, decimals=1)},
        )
        for name, title in names.items()
    ]  # fmt: skip
    write_run(tmp_path / "run", RunRecord(status="done", task="pose", cells=cells))
    rows = [
        ProfileRow(
            model=name, title=title, family=name, task="pose", status="counted",
            counts=CountRecord(params_total=n * 10**6, macs_linear=1, macs_total=n * 10**6),
        )
        for n, (name, title) in enumerate(names.items(), start=1)
    ]  # fmt: skip
    (tmp_path / "profile").mkdir()
    text = ProfileRecord(rows=rows).model_dump_json(by_alias=True)
    (tmp_path / "profile/profile.json").write_text(text)
    return tmp_path / "run", tmp_path / "profile"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_pareto_writes_the_file_it_is_given(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    target = tmp_path / "out" / "x.txt"
    code, out, err = call("pareto", *run_and_profile, "--format", name, "--out", target)
    assert code == 0, err
    assert f"Written: {target}" in out
    assert SHOWS[name] in target.read_text(encoding="utf-8")
    plots = sorted(p.name for p in (tmp_path / "out" / "x-plots").iterdir())
    assert "pose-d-p-measured-params.png" in plots


def test_the_name_that_pareto_had_before_still_does_the_same_and_says_the_new_one(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path
) -> None:
    now, before = tmp_path / "now" / "x.csv", tmp_path / "before" / "x.csv"
    assert call("pareto", *run_and_profile, "--format", "csv", "--out", now)[0] == 0
    code, _, hint = call("report", *run_and_profile, "--pareto", "--format", "csv", "--out", before)
    assert code == 0
    assert "sapiens-bench pareto RUN PROFILE" in hint
    assert before.read_bytes() == now.read_bytes()


def test_pareto_without_an_ending_fills_a_folder(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path
) -> None:
    assert call("pareto", *run_and_profile, "--format", "md", "--out", tmp_path / "folder")[0] == 0
    assert (tmp_path / "folder" / "pareto.md").is_file()
    assert (tmp_path / "folder" / "pose-d-p-measured-params.svg").is_file()


def test_pareto_writes_no_table_under_the_name_of_a_picture(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, error = call("pareto", *run_and_profile, "--out", tmp_path / "plot.png")
    assert code == 2
    assert f"--plots {tmp_path}" in error
    assert not (tmp_path / "plot.png").exists()


def test_pareto_as_json_holds_numbers(call: Call, run_and_profile: tuple[Path, Path]) -> None:
    code, out, err = call("pareto", *run_and_profile, "--format", "json")
    assert code == 0
    assert "Plots:" in err
    group = json.loads(out)["groups"][0]
    assert group["points"][0]["costs"]["params"] == 1.0
    assert group["frontier"]["params"] == ["a"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_profile_is_reported_in_every_format(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    code, out, err = call("report", run_and_profile[1], "--format", name)
    assert code == 0, err
    assert SHOWS[name] in out
    assert call("report", run_and_profile[1], "--format", name, "--out", tmp_path / "t")[0] == 0
    assert (tmp_path / "t").read_text(encoding="utf-8") == out


PLAN = ["run", "--task", "pose", "--models", "movenet-thunder,sapiens-1b", "--split", "tiny", "--dry-run"]


def test_a_dry_run_as_json_is_json_alone(call: Call) -> None:
    code, out, err = call(*PLAN, "--format", "json")
    assert code == 0
    plan = json.loads(out)
    assert (plan["schema"], plan["task"], plan["images"]) == ("dry-run/1", "pose", 12)
    cells = {cell["model"]: cell for cell in plan["cells"]}
    assert (cells["movenet-thunder"]["status"], cells["movenet-thunder"]["images"]) == ("will run", 12)
    assert cells["sapiens-1b"]["status"] == "weights missing"
    assert "weights get sapiens-1b" in cells["sapiens-1b"]["how"]
    assert "Nothing was run" in err


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_dry_run_comes_in_every_format(call: Call, name: str) -> None:
    code, out, _ = call(*PLAN, "--format", name)
    assert code == 0
    assert SHOWS[name] in out
    assert "will run" in out


def test_a_dry_run_as_csv_has_one_line_per_model(call: Call) -> None:
    lines = list(csv.reader(io.StringIO(call(*PLAN, "--format", "csv")[1])))
    assert lines[0] == ["table", "Data set", "Protocol", "Model", "Images", "Weights", ""]
    assert [line[3] for line in lines[1:]] == ["MoveNet Thunder", "Sapiens 1B"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--dataset", "cihp", "--task", "pose"], "cihp has no pose; it has seg."),
        (["run", "--dataset", "synthetic-humans,hi4d", "--task", "seg"], "hi4d has no seg; it has depth, normal."),
        (["data", "export", "cihp", "--task", "depth", "--out", "x"], "cihp has no depth; it has seg."),
        (
            ["data", "export", "coco-val2017", "--task", "pose", "--out", "x"],
            "--task pose: a folder of seg, depth, normal, matting, albedo can be written, and of nothing else.",
        ),
        (["run", "--dataset", "cipp", "--task", "pose"], "Did you mean 'cihp'"),
    ],
)
def test_a_data_set_without_the_task_says_which_it_has(call: Call, arguments: list[str], said: str) -> None:
    code, _, err = call(*arguments)
    assert (code, said in err) == (2, True), err


def test_a_table_of_the_paper_joins_several_runs(
    call: Call, run_and_profile: tuple[Path, Path], tmp_path: Path
) -> None:
    run, profile = run_and_profile
    write_run(tmp_path / "second", RunRecord(status="interrupted", task="pose"))
    code, out, err = call("report", run, run, "--table", "paper-pose")
    assert (code, err) == (0, "")
    assert "d, p: not in the paper" in out
    code, out, err = call("report", run, tmp_path / "second", "--table", "paper-pose", "--format", "md")
    assert (code, "INCOMPLETE: second" in err) == (4, True)
    assert "measured run" in out
    code, out, err = call("report", run, profile, "--table", "costs")
    assert (code, err) == (0, "")
    assert "AP % ↑ (d/p)" in out
    assert call("report", run, "--table", "paper-seg")[0] == 2
    assert call("report", run, "--table", "paper-nose")[0] == 2
