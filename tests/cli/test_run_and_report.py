"""A real run from the command line, and what can be done with its folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.cli.flags import parse_options, split_commas
from sapiens_bench.errors import UsageError
from sapiens_bench.store.record import read_run, write_run
from sapiens_bench.store.rows import read_rows

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(coco: Path, tmp_path: Path) -> list[str]:
    """A run that needs no network: the oracle on the sample pictures."""
    return ["run", "--task", "pose", "--dataset", "coco-val2017", "--data-root", str(coco), "--models",
            "oracle,noisy-oracle", "--n-boot", "20", "--workers", "1", "--out", str(tmp_path / "run")]  # fmt: skip


def test_run_prints_the_table_the_folder_and_what_to_do_next(call: Call, command: list[str], tmp_path: Path) -> None:
    code, out, err = call(*command)
    assert code == 0, err
    assert "Oracle" in out
    assert "100.0 [100.0, 100.0]" in out
    assert f"Run: {tmp_path / 'run'}" in out
    assert f"sapiens-bench report {tmp_path / 'run'}" in out
    assert "4 images" in err
    record = read_run(tmp_path / "run")
    assert record.command.startswith("sapiens-bench run --task pose")

    again_code, again_out, again_err = call(*command)
    assert again_code == 0
    assert "found on disk" in again_err
    assert "100.0 [100.0, 100.0]" in again_out


def test_dry_run_prints_the_plan_and_writes_nothing(call: Call, command: list[str], tmp_path: Path) -> None:
    code, out, _ = call(*command, "--dry-run")
    assert code == 0
    for part in ("Oracle", "will run", "Time:", "Disk:", "Output:", "Nothing was run"):
        assert part in out
    assert not (tmp_path / "run").exists()


def test_a_dry_run_predicts_time_memory_disk_and_cost_of_gpus(call: Call) -> None:
    asked = ["run", "--task", "pose", "--models", "movenet-thunder", "--dataset", "synthetic-humans", "--dry-run"]
    code, out, _ = call(*asked, "--gpus", "8", "--price-per-hour", "2")
    assert code == 0
    for part in ("on 8 GPU(s)", "Cost:", "at 2 per hour", "Memory:", "Disk:"):
        assert part in out
    plan = json.loads(call(*asked, "--gpus", "8", "--price-per-hour", "2", "--format", "json")[1])
    assert plan["cost"] == pytest.approx(8 * plan["seconds"] / 3600 * 2)


def test_gpus_and_prices_without_a_dry_run_are_refused(call: Call) -> None:
    code, _, err = call("run", "--task", "pose", "--gpus", "8")
    assert code == 2
    assert "--dry-run" in err


@pytest.mark.parametrize("name", ["text", "md", "latex", "html", "csv", "json"])
def test_report_writes_every_format(call: Call, command: list[str], tmp_path: Path, name: str) -> None:
    call(*command)
    code, out, _ = call("report", tmp_path / "run", "--format", name)
    assert code == 0
    assert "Oracle" in out
    target = tmp_path / "table"
    assert call("report", tmp_path / "run", "--format", name, "--out", target)[0] == 0
    assert target.read_text(encoding="utf-8") == out


def test_json_on_stdout_is_json_alone(call: Call, command: list[str]) -> None:
    _, out, _ = call(*command, "--format", "json")
    assert json.loads(out)["schema"] == "table/1"


def test_report_of_an_incomplete_run_is_headed_so_and_exits_4(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    record = read_run(tmp_path / "run")
    record.cells[0].counts.planned = 9
    write_run(tmp_path / "run", record)
    code, out, err = call("report", tmp_path / "run")
    assert code == 4
    assert out.startswith("INCOMPLETE")
    assert "INCOMPLETE" in err


@pytest.mark.parametrize("form", [["verify"], ["verify", "run"]])
def test_verify_accepts_a_sound_run(call: Call, command: list[str], tmp_path: Path, form: list[str]) -> None:
    call(*command)
    code, out, _ = call(*form, tmp_path / "run", "--json", tmp_path / "v.json")
    assert code == 0
    assert "in order" in out
    cells = json.loads((tmp_path / "v.json").read_text())["cells"]
    assert [(c["planned"], c["found"], c["duplicate"], c["corrupt"], c["error"]) for c in cells] == [
        (4, 4, 0, 0, 0)
    ] * 2


def _shard(run: Path, model: str) -> Path:
    return run / "rows" / "pose" / "coco-val2017" / "gt-box" / model / "shard-00000.parquet"


def test_verify_finds_a_flipped_byte(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    path = _shard(tmp_path / "run", "oracle")
    data = bytearray(path.read_bytes())
    data[-8] ^= 0xFF
    path.write_bytes(data)
    code, _, err = call("verify", tmp_path / "run")
    assert code == 4
    assert "shard-00000.parquet" in err


def test_verify_finds_a_missing_shard(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    _shard(tmp_path / "run", "oracle").unlink()
    code, _, err = call("verify", tmp_path / "run")
    assert code == 4
    assert "0 of 4 planned rows" in err


def test_verify_finds_rows_of_another_model(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    foreign = _shard(tmp_path / "run", "noisy-oracle").read_bytes()
    _shard(tmp_path / "run", "oracle").write_bytes(foreign)
    code, _, err = call("verify", tmp_path / "run")
    assert code == 4
    assert "another experiment" in err


def test_verify_finds_a_doubled_shard(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    path = _shard(tmp_path / "run", "oracle")
    path.with_name("shard-00001.parquet").write_bytes(path.read_bytes())
    code, _, err = call("verify", tmp_path / "run")
    assert code == 4
    assert "4 rows are there twice" in err


def test_too_many_errors_exit_3_after_the_table(call: Call, command: list[str], coco: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "coco"
    shutil.copytree(coco, copy)
    picture = sorted((copy / "val2017").glob("*.jpg"))[0]
    picture.chmod(0o644)
    picture.write_bytes(b"not a picture")
    arguments = [str(copy) if part == str(coco) else part for part in command]
    code, out, err = call(*arguments)
    assert code == 3
    assert "3 images scored, 1 excluded" in out
    assert "image." in err
    assert call(*arguments, "--max-errors", "0.5")[0] == 0
    assert call("report", tmp_path / "run", "--strict")[0] == 3


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_word_on_resuming(
    command: list[str], tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    code = (
        "import signal, sys, time; sys.argv[0] = 'sapiens-bench'\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in a shell's background
        "from sapiens_bench.models.oracle import Oracle\n"
        "before = Oracle.prepare\n"
        "def slow(self, x):\n    print('RUNNING', flush=True); time.sleep(3); return before(self, x)\n"
        "Oracle.prepare = slow\n"
        "from sapiens_bench.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "RUNNING" in line:
            break
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == expected, err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert read_run(tmp_path / "run").status == "interrupted"


def test_rows_do_not_depend_on_how_often_the_command_ran(call: Call, command: list[str], tmp_path: Path) -> None:
    call(*command)
    before = read_rows(_shard(tmp_path / "run", "oracle").parent)
    _shard(tmp_path / "run", "oracle").unlink()
    call(*command)
    assert read_rows(_shard(tmp_path / "run", "oracle").parent).equals(before)


def test_comma_lists_and_repeated_options_are_one_list() -> None:
    assert split_commas(["a,b", "c", " b , "]) == ("a", "b", "c")


def test_options_are_json_where_they_parse() -> None:
    assert parse_options(["a=true", "b=3", "c=text", "d=x=y"]) == {"a": True, "b": 3, "c": "text", "d": "x=y"}
    with pytest.raises(UsageError, match="name=value"):
        parse_options(["=3"])
    assert parse_options(["a=1", "a=1"]) == {"a": 1}
    with pytest.raises(UsageError, match="--data-option a is given twice, as 1 and as true"):
        parse_options(["a=1", "b=2", "a=true"], "--data-option")
    with pytest.raises(UsageError, match=r"--scoring a is given twice, as 1 and as 1\.0"):
        parse_options(["a=1", "b=2", "a=1.0"], "--scoring")


@pytest.mark.parametrize("words", [["--out", ""], ["--out="], ["--data-root", "", "--limit", "1"]])
def test_a_place_that_is_nothing_is_not_the_current_folder(call: Call, words: list[str]) -> None:
    code, _, err = call("run", "--task", "pose", "--models", "oracle", "--dry-run", *words)
    assert code == 2
    assert f"{words[0].rstrip('=')} is empty" in err


def test_pycocotools_agrees_on_the_exported_files(call: Call, command: list[str], tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "coco"
    index = command.index("oracle,noisy-oracle")
    command[index] = "noisy-oracle,movenet-lightning"
    assert call(*command)[0] == 0
    code, text, err = call("verify", "coco", run, "--out", out)
    assert code == 0, err
    assert "All ten statistics of 2 cell(s) equal pycocotools exactly" in text
    files = sorted(p.name for p in (out / "coco-val2017" / "gt-box").iterdir())
    assert files == ["movenet-lightning.json", "noisy-oracle.json", "truth.json"]

    record = read_run(run)
    record.cells[0].scores["oks/AP"].value += 1e-12
    write_run(run, record)
    code, _, err = call("verify", "coco", run)
    assert code == 1
    assert "1 of 2 cells differ" in err


def test_without_stored_predictions_the_comparison_says_what_to_do(
    call: Call, command: list[str], tmp_path: Path
) -> None:
    assert call(*command, "--no-save-preds")[0] == 0
    code, _, err = call("verify", "coco", tmp_path / "run")
    assert code == 2
    assert "--no-save-preds" in err


def test_report_prints_the_tables_of_a_profile_folder(call: Call, repository: Path) -> None:
    folder = repository / "results" / "profiles" / "sapiens"
    code, out, err = call("report", folder)
    assert code == 0, err
    assert out.splitlines()[0].startswith("Sapiens, Table 2")
    line = next(line for line in out.splitlines() if line.startswith("Sapiens-2B"))
    assert line.split() == ["Sapiens-2B", "2.163", "2.163", "8.709", "8.709", "11.799", "23.599", "2.71x"]
