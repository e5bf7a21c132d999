"""A package of somebody else adds a task, a data set and a model through entry points; no file of ours changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCORES = ("SAD", "MSE")


@pytest.fixture(scope="module")
def plugin(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in installed in a folder of its own, as pip does it."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["cp", "-r", f"{repository / 'tests/plugin_package'}/.", str(source)], check=True)
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return target


def call(plugin: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from sapiens_bench.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(plugin), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the new task with everything on."""
    folder = tmp_path_factory.mktemp("run")
    done = call(
        plugin, folder, "run", "--task", "saliency", "--models", "all,saliency-noisy", "--save-maps", "--out", "out",
        "--n-boot", "50",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in (*SCORES, "Threshold", "All salient", "Noisy oracle", "Soft discs"):
        assert word in done.stdout
    return folder


def test_run_scores_and_ranks_the_new_task(finished: Path) -> None:
    record = json.loads((finished / "out/run.json").read_text())
    scores = {c["model"]: c["scores"]["saliency_map/sad"]["value"] for c in record["cells"]}
    assert set(scores) == {"saliency-threshold", "saliency-dim", "saliency-all", "saliency-noisy"}
    assert 0 < scores["saliency-threshold"] < scores["saliency-dim"] < scores["saliency-all"]


def test_maps_are_kept_and_scored_again(plugin: Path, finished: Path) -> None:
    maps = finished / "out/maps/saliency/saliency-discs/plain/saliency-threshold"
    assert len(list(maps.rglob("*.png"))) == 6
    done = call(
        plugin, finished, "run", "--task", "saliency", "--models", "saliency-saved", "--option", f"maps={maps}",
        "--out", "again", "--n-boot", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((finished / f / "run.json").read_text()) for f in ("out", "again"))
    before = next(c for c in first["cells"] if c["model"] == "saliency-threshold")["scores"]["saliency_map/sad"][
        "value"
    ]
    assert again["cells"][0]["scores"]["saliency_map/sad"]["value"] == pytest.approx(before, abs=1e-9)


def test_report_verify_and_list_know_it(plugin: Path, finished: Path) -> None:
    for fmt in ("text", "md", "latex", "html", "csv", "json"):
        done = call(plugin, finished, "report", "out", "--format", fmt)
        assert done.returncode == 0, done.stderr
        assert "Threshold" in done.stdout
    assert call(plugin, finished, "verify", "run", "out").returncode == 0
    done = call(plugin, finished, "list", "--task", "saliency")
    assert done.returncode == 0, done.stderr
    for word in ("saliency-threshold", "saliency-discs", "how much every pixel draws the eye"):
        assert word in done.stdout


def test_a_mistyped_option_of_the_plugin_is_refused_with_the_nearest(plugin: Path, finished: Path) -> None:
    arguments = ("run", "--task", "saliency", "--models", "saliency-threshold", "--dry-run")
    done = call(plugin, finished, *arguments, "--option", "levle=3")
    assert done.returncode == 2
    assert "level" in done.stderr
    done = call(plugin, finished, *arguments, "--option", "level=high")
    assert done.returncode == 2
    assert "'level'" in done.stderr


def test_without_the_plugin_the_task_is_unknown(finished: Path, tmp_path: Path) -> None:
    done = call(tmp_path, finished, "run", "--task", "saliency", "--models", "all", "--dry-run")
    assert done.returncode == 2
    assert "Unknown task 'saliency'" in done.stderr
