"""Where output goes, and what is said when it cannot: full disks, missing homes, folders that are gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import typer

from sapiens_bench.cli import output
from sapiens_bench.errors import StorageFull, StoreError, UsageError
from sapiens_bench.store.record import RunRecord, write_run

Call = Callable[..., tuple[int, str, str]]
CODE = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
posix = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder that ``report`` reads."""
    write_run(tmp_path / "run", RunRecord(status="done", task="pose"))
    return tmp_path / "run"


@posix
@pytest.mark.parametrize("command", [["list", "tasks"], ["list", "tasks", "--json"], ["--help"], ["--version"]])
def test_a_full_stdout_is_one_message_and_exit_4(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", CODE, *command], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@posix
def test_when_stderr_is_full_as_well_the_exit_code_still_tells() -> None:
    with open("/dev/full", "w") as full:
        assert subprocess.run([sys.executable, "-c", CODE, "list", "tasks"], stdout=full, stderr=full).returncode == 4


@pytest.mark.skipif(os.name != "posix", reason="a folder in use cannot be deleted elsewhere")
def test_a_folder_that_is_gone_is_named_and_help_still_works(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for command, code, part in ((["list", "tasks"], 2, "does not exist any more"), (["--help"], 0, "Usage")):
        gone.mkdir()
        shell = f'cd {gone} && rmdir {gone} && exec {sys.executable} -c "$0" {" ".join(command)}'
        done = subprocess.run(["sh", "-c", shell, CODE], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert part in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--task", "pose", "--dry-run", "--out", "~nosuchuser/x"],
        ["run", "--task", "pose", "--dry-run", "--data-root", "~nosuchuser"],
        ["list", "--weights-root", "~nosuchuser/w"],
        ["list", "--cards", "~nosuchuser/c"],
        ["report", "~nosuchuser/run"],
        ["verify", "run", "~nosuchuser/run", "--json", "x.json"],
    ],
)
def test_an_unknown_user_is_named(call: Call, command: list[str]) -> None:
    code, _, err = call(*command)
    assert (code, "there is no user 'nosuchuser'" in err) == (2, True)


def test_a_home_folder_is_expanded_where_the_shell_does_not(
    call: Call, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(finished.parent))
    assert call("report", "~/run", "--out=~/table.txt")[0] == 0
    assert (finished.parent / "table.txt").is_file()


def test_without_a_home_folder_the_variable_to_set_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAPIENS_BENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what Python does for a user without an entry
    for command in (["data", "path"], ["list", "models"], ["run", "--task", "pose", "--dry-run"]):
        code, _, err = call(*command)
        assert (code, "SAPIENS_BENCH_CACHE" in err) == (2, True), err


def test_a_weights_folder_that_is_not_there_is_refused(call: Call) -> None:
    for command in (["run", "--task", "pose", "--dry-run"], ["list"], ["weights", "list"]):
        code, _, err = call(*command, "--weights-root", "/no/such")
        assert (code, "/no/such is no folder" in err) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--task", "pose", "--split", "tiny", "--dry-run"],
        ["list"],
        ["data", "path"],
        ["data", "show", "hi4d"],
        ["data", "prepare", "synthetic-humans"],
    ],
)
def test_a_data_folder_that_is_not_there_is_refused_likewise(call: Call, command: list[str]) -> None:
    code, _, err = call(*command, "--data-root", "/no/such")
    assert (code, "/no/such is no folder on this machine. Give --data-root" in err) == (2, True), err


def test_python_is_held_to_the_same() -> None:
    import sapiens_bench

    with pytest.raises(UsageError, match="/no/such is no folder"):
        sapiens_bench.evaluate(task="pose", models="movenet-thunder", split="tiny", data_root="/no/such")


def test_a_file_as_run_folder_is_refused_and_stays(call: Call, tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("mine")
    code, _, err = call("run", "--task", "pose", "--models", "movenet-thunder", "--split", "tiny", "--limit", "1",
                        "--out", tmp_path / "b.py")  # fmt: skip
    assert code == 2
    assert "b.py is a file, and a run needs a folder" in err
    assert "delete" not in err
    assert (tmp_path / "b.py").read_text() == "mine"


def test_a_pipeline_for_models_without_one_is_told_by_its_flag(call: Call) -> None:
    code, _, err = call("run", "--task", "pose", "--models", "movenet-thunder", "--pipeline", "lite", "--dry-run")
    assert code == 2
    assert "--pipeline lite: only Sapiens v1 has pipelines" in err


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    call: Call, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = finished.parent / "table.txt"
    target.write_text("as before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = call("report", finished, "--out", target)
    assert code == 4
    assert "No space left on device. Free some space, or give a place on another disk." in err
    assert target.read_text() == "as before"
    assert sorted(p.name for p in finished.parent.iterdir()) == ["run", "table.txt"]


@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.ENOSPC, StorageFull, "Free some space"),
        (errno.EACCES, StorageFull, "Give a place where you may write"),
        (errno.EROFS, StorageFull, "Give a place where you may write"),
        (errno.EIO, StoreError, "could not be written: Input/output error."),
    ],
)
def test_the_advice_fits_the_fault(
    number: int, kind: type[Exception], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(kind, match=advice):
        output.save(tmp_path / "x", "text")


@posix
def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    output.save(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(StorageFull):
        output.save(Path("/dev/full"), "text" * 100_000)
    with pytest.raises(StoreError, match="Is a directory"):
        output.save(tmp_path, "text")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    output.save(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_folders_are_read_as_they_are_given() -> None:
    from sapiens_bench.cli.flags import expanded

    option = cast("typer.CallbackParam", SimpleNamespace(param_type_name="option"))
    assert expanded(option, None) is None
    assert expanded(option, [Path("a"), Path("/b")]) == [Path("a"), Path("/b")]
    with pytest.raises(UsageError, match="no user 'nosuchuser'"):
        expanded(option, [Path("~nosuchuser/a")])
