"""The gate in other people's repositories: as a pytest fixture, and as a workflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ToyRun = Callable[..., Path]
GOLDEN = "results/golden/pose_tiny_baseline.parquet"
PLUGIN = "sapiens_bench.testing.pytest_plugin"


def pytest_run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(body)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, "."],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_fixture_passes_fails_and_refuses_as_the_command_does(
    toy_run: ToyRun, tmp_path: Path, repository: Path
) -> None:
    base, cand = toy_run("base", bias=0.1), toy_run("cand", bias=0.2)
    (tmp_path / "tests").mkdir()
    done = pytest_run(
        tmp_path / "tests",
        f"""
import pytest
from sapiens_bench.testing import toy

@pytest.fixture(autouse=True)
def _toy():
    with toy.installed():
        yield

def test_open(sapiens_bench_gate):
    assert sapiens_bench_gate({str(base)!r}, {str(base)!r}).verdict == "pass"

def test_closed(sapiens_bench_gate):
    sapiens_bench_gate({str(base)!r}, {str(cand)!r})

def test_refused(sapiens_bench_gate):
    sapiens_bench_gate({str(base)!r}, {str(repository / GOLDEN)!r})

def test_no_loss_ruled_out(sapiens_bench_gate):
    sapiens_bench_gate({str(base)!r}, {str(cand)!r}, require_equal="10%", models=["toy-plain"])
""",
    )
    assert "3 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "The gate is closed: 1 of 1 failed" in done.stdout
    assert "CAND has no rows of toy-plain on toy/plain" in done.stdout
    assert "must be ruled out" in done.stdout


def test_loading_the_plugin_imports_nothing_of_weight() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import sapiens_bench.testing.pytest_plugin; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) == {
        "sapiens_bench", "sapiens_bench.testing", "sapiens_bench.testing.pytest_plugin",
    }  # fmt: skip


def test_the_plugin_is_declared_for_pytest_to_find(repository: Path) -> None:
    import importlib.metadata
    import tomllib

    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert set(declared.values()) == {"sapiens_bench.testing.pytest_plugin"}
    installed = importlib.metadata.entry_points(group="pytest11", name="sapiens_bench.testing.pytest_plugin")
    assert installed, "install the package again: pip install -e ."


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_the_workflow_runs_as_it_stands(repository: Path, tmp_path: Path) -> None:
    workflow = yaml.safe_load((repository / "docs/gate_workflow.yml").read_text())
    steps: list[dict[str, Any]] = workflow["jobs"]["gate"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "run" in step}
    assert list(scripts) == ["Install", "Run", "Judge", "Show"]
    assert scripts.pop("Install") == "pip install sapiens-vision-bench"
    (tmp_path / "baseline.parquet").write_bytes((repository / GOLDEN).read_bytes())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **workflow["env"], "PATH": path, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    for name, script in scripts.items():
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    assert "sapiens-bench gate: passed" in (tmp_path / "summary.md").read_text()
