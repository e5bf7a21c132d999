"""Runs of others in results/contributed: taken only when they are what results/README.md asks for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.store.record import read_run

FOLDERS = sorted((Path(__file__).parents[2] / "results/contributed").glob("*/"))
MOST_BYTES = 5_000_000


def faults(folder: Path) -> list[str]:
    """Why a contributed folder is not taken."""
    record = read_run(folder)
    found = check_run(folder, record, Catalog.load()).all_faults()
    if record.status != "done":
        found.append(f"status {record.status}")
    found += [f"holds {name}" for name in ("preds", "maps", "report.html", "quarantine") if (folder / name).exists()]
    if sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > MOST_BYTES:
        found.append("too large")
    text = json.dumps([record.request, record.command, [(c.how, c.weights_file) for c in record.cells]])
    found += [f"names {place}" for place in ('"/', " /", "~/", "\\\\") if place in text]
    return found


def test_there_is_a_contributed_run() -> None:
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_contributed_run_is_in_order(folder: Path) -> None:
    assert faults(folder) == []


def test_a_better_score_in_the_record_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FOLDERS[0], folder)
    data = json.loads((folder / "run.json").read_text())
    data["cells"][0]["scores"]["oks/AP"]["value"] += 0.01
    data["request"]["data_root"] = "/home/me/data"
    (folder / "run.json").write_text(json.dumps(data))
    found = faults(folder)
    assert any("oks/AP" in fault for fault in found)
    assert 'names "/' in found
