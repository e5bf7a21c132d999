"""What the README tells a new user must be what CI does."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner


def code_lines(repository: Path) -> list[str]:
    return re.findall(r"^```\n(python3 -m venv .+)\n```$", (repository / "README.md").read_text(), re.M)


def test_ci_runs_the_readme_test_command(repository: Path) -> None:
    run, check = code_lines(repository)
    assert check in (repository / ".ci" / "run").read_text().splitlines()
    assert check.endswith("tools/check")
    assert run.endswith("sapiens-bench run --task pose --models all")


def test_nobody_is_told_to_install_the_package_of_somebody_else(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["name"] == "sapiens-vision-bench"
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        assert not re.search(r"pip install (-\S+ )*sapiens-bench", (repository / name).read_text())


def test_links_of_the_readme_lead_somewhere(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", text) if "://" not in t]
    assert targets
    assert [t for t in targets if not (repository / t).exists()] == []


def test_constraints_name_versions_inside_the_declared_ranges(repository: Path) -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==")
        for line in (repository / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        assert pins[requirement.name] in requirement.specifier, requirement


COMMANDS = ("view", "compare", "gate", "explain-number", "export", "report", "list", "weights list", "pareto")


@pytest.mark.slow
def test_the_commands_that_need_nothing_but_a_run_do_what_they_say(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sapiens_bench.api import evaluate
    from sapiens_bench.cli import app

    monkeypatch.chdir(tmp_path)
    evaluate(task="pose", models="all", split="tiny", n_boot=50, out=tmp_path / "RUN")
    baseline = repository / "results" / "golden" / "pose_tiny_baseline.parquet"
    text = (repository / "README.md").read_text()
    lines = [line.partition(" #")[0].split()[1:] for line in re.findall(r"^sapiens-bench .*$", text, re.M)]
    ran = []
    for words in lines:
        if not " ".join(words).startswith(COMMANDS) or any(word in ("PROFILE", "RUN...") for word in words):
            continue
        known = {"RUN_A": "RUN", "RUN_B": "RUN", "results/runs/NAME": "RUN", "baseline.parquet": str(baseline)}
        given = [known.get(word, word) for word in words] + (["--no-open"] if words[0] == "view" else [])
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, f"{words}\n{done.output}"
        ran.append(words[0])
    assert {"view", "compare", "gate", "explain-number", "export", "report", "list", "weights"} <= set(ran)


def test_every_command_line_of_the_readme_is_one_that_the_parser_takes(repository: Path) -> None:
    """Those that need a network's weights, a data set or a GPU cannot be run here; their flags can be read."""
    from sapiens_bench.cli import app

    text = (repository / "README.md").read_text()
    lines = [line.partition(" #")[0] for line in re.findall(r"^sapiens-bench .*$", text, re.M)]
    lines += [line for line in re.findall(r"`(sapiens-bench [^`]*)`", text.replace("\n", " ")) if "..." not in line]
    assert len(lines) > 25
    for line in lines:
        words, command = shlex.split(line)[1:], get_command(app)
        context = command.make_context("sapiens-bench", [], resilient_parsing=True)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
            context = type(context)(command, parent=context)
        command.make_parser(context).parse_args(list(words))
