"""--config: a file of options, refused where a typed option would be, overridden by what is typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sapiens_bench.cli import app


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def config(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


FREE = re.compile(r"\"free_bytes\": \d+")  # of the disk, which others use
GOOD = "task: pose\nmodels: [movenet-lightning, blazepose-lite]\nsplit: tiny\nlimit: 4\noption: {padding: 1.5}\n"


def test_a_file_says_what_could_be_typed(tmp_path: Path) -> None:
    code, said = call("run", "--config", config(tmp_path, GOOD), "--dry-run", "--format", "json")
    assert code == 0, said
    assert "movenet-lightning" in said
    assert "blazepose-lite" in said
    code, typed = call(
        "run", "--task", "pose", "--models", "movenet-lightning,blazepose-lite", "--split", "tiny", "--limit", 4,
        "--option", "padding=1.5", "--dry-run", "--format", "json",
    )  # fmt: skip
    assert FREE.sub("", said) == FREE.sub("", typed)


def test_what_is_typed_wins(tmp_path: Path) -> None:
    path = config(tmp_path, GOOD)
    _, said = call("run", "--config", path, "--models", "movenet-thunder", "--dry-run", "--format", "json")
    assert "movenet-thunder" in said
    assert "blazepose-lite" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: pose\nmodel: [all]\n", "Did you mean 'models'"),
        ("task: [pose, seg]\n", "one value, found a list"),
        ("task: {a: 1}\n", "cannot be a mapping"),
        ("task: pose\nlimit: many\n", "--limit"),
        ("task: pose\ntask: seg\n", "task"),
        ("- a\n", "run.yaml"),
        ("config: other.yaml\n", "Unknown option 'config'"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    code, said = call("run", "--config", config(tmp_path, text), "--dry-run")
    assert code == 2, said
    assert message in said


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code, said = call("run", "--config", tmp_path / "gone.yaml")
    assert code == 2
    assert "No such file" in said
