"""The leaderboard: only verified runs, only like beside like, and links that lead to pages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import UsageError
from sapiens_bench.publish.site import run_folders, site

HOSTILE = "<script>x</script>"


@pytest.fixture(scope="module")
def results(pose_run: Path, depth_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs in order, a copy of one under a hostile name, and one whose record lies."""
    root = tmp_path_factory.mktemp("results")
    shutil.copytree(pose_run, root / "a" / "pose")
    shutil.copytree(depth_run, root / "depth")
    shutil.copytree(depth_run, root / f"again {HOSTILE.replace('/', '')}")
    shutil.copytree(pose_run, root / "lies")
    data = json.loads((root / "lies/run.json").read_text())
    data["cells"][0]["scores"]["oks/AP"]["value"] = 0.999
    (root / "lies/run.json").write_text(json.dumps(data))
    return root


def test_the_site_has_a_table_for_each_task_and_a_page_for_each_run_in_order(results: Path) -> None:
    made = site(results, Catalog.load())
    index = made.files["index.html"]
    assert index.count("<h2>Synthetic humans</h2>") == 2
    assert made.n_runs == 3
    links = set(re.findall(r'<a href="(runs/[^"]+)"', index))
    assert links <= set(made.files)
    assert "runs/a-pose.html" in links
    assert "<script>x" not in index
    assert list(made.left_out) == ["lies"]
    assert "oks/AP" in made.left_out["lies"]
    assert "Left out" in index
    # two tables, each short and in full: a model that two runs measured alike stands in one once
    assert index.count("Noisy oracle</span>") == 4


def test_runs_on_other_samples_stand_in_other_tables(results: Path, tmp_path: Path) -> None:
    root = tmp_path / "r"
    shutil.copytree(results / "depth", root / "x")
    shutil.copytree(results / "depth", root / "y")
    for path in (root / "y").glob("rows/*/*/*/*/cell.json"):
        claim = json.loads(path.read_text())
        claim["fields"]["samples"] = {"n": 6, "sha256": "other"}
        path.write_text(json.dumps(claim))
    index = site(root, Catalog.load()).files["index.html"]
    assert index.count("<h2>Synthetic humans</h2>") == 2


def test_nothing_inside_a_run_and_no_link_is_taken_for_a_run(results: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(results / "depth", target_is_directory=True)
    shutil.copytree(results / "depth", tmp_path / "one")
    shutil.copytree(results / "depth", tmp_path / "one" / "rows" / "inner")
    assert run_folders(tmp_path) == [tmp_path / "one"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run"):
        site(tmp_path, Catalog.load())
