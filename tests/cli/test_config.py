"""--config: a file of options, refused where a typed option would be, overridden by what is typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sapiens_bench.cli import app
from sapiens_bench.cli.flags import _runs_inside


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def config(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


MEASURED = re.compile(r"\"(free_bytes|seconds|image_s)\": [\d.e-]+")  # of a machine that others use
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
    assert MEASURED.sub("", said) == MEASURED.sub("", typed)


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
        ("- a\n", "options of a command are a mapping"),
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("card init gone.onnx --task pos", "Did you mean 'pose'"),
        ("run --task pose --split tny --dry-run", "Did you mean 'tiny'"),
        ("run --task pose --models movenet-lightning --scoring score=instnce --dry-run", "Did you mean 'instance'"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(words: str, message: str) -> None:
    code, said = call(*words.split())
    assert code == 2, said
    assert message in said
    assert "on this machine" not in said


def test_the_folder_of_all_tasks_stands_for_the_runs_in_it(tmp_path: Path) -> None:
    for name in ("depth", "pose"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "run.json").write_text("{}")
    assert _runs_inside([tmp_path / "all"]) == [tmp_path / "all" / "depth", tmp_path / "all" / "pose"]
    assert _runs_inside([tmp_path / "all" / "pose", tmp_path / "gone"]) == [
        tmp_path / "all" / "pose",
        tmp_path / "gone",
    ]
