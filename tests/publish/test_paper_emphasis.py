"""In the paper's tables a lead across runs counts only where both scored the same samples in the same way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.publish import paper as emphasis
from sapiens_bench.report.formats import render
from sapiens_bench.report.paper import paper_table
from sapiens_bench.store.record import read_run


@pytest.fixture(scope="module")
def two_runs(pose_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same run under two names."""
    other = tmp_path_factory.mktemp("second") / "again"
    shutil.copytree(pose_run, other)
    return [pose_run, other]


def test_the_same_model_in_two_runs_leads_by_nothing(two_runs: list[Path]) -> None:
    runs = [(root.name, root, read_run(root)) for root in two_runs]
    document = paper_table("paper-pose", [(n, r) for n, _, r in runs], Catalog.load(), emphasis.telling(runs))
    assert not any(sheet.bold for sheet in document.sheets)


def test_a_run_without_intervals_has_nothing_that_stands_out(pose_run: Path) -> None:
    record = read_run(pose_run)
    record.request["n_boot"] = 0
    document = paper_table("paper-pose", [("r", record)], Catalog.load(), emphasis.telling([("r", pose_run, record)]))
    assert not any(sheet.bold or sheet.underlined for sheet in document.sheets)


def test_what_stands_out_agrees_with_the_test_of_that_pair(pose_run: Path) -> None:
    from sapiens_bench.decide.compare import compare
    from sapiens_bench.decide.sides import read_side

    record = read_run(pose_run)
    document = paper_table("paper-pose", [("r", record)], Catalog.load(), emphasis.telling([("r", pose_run, record)]))
    sheet = next(s for s in document.sheets if s.title.startswith("synthetic-humans"))
    found = compare([read_side(pose_run)], models=["movenet-lightning", "blazepose-lite"], scores=["oks/AP", "oks/AR"],
                    n_draws=100)  # fmt: skip
    surely = {("oks/AP", "oks/AR")[i]: p <= 0.05 for i, p in enumerate(found.p_adjusted)}
    assert {sheet.heads[j].split()[0] for _, j in sheet.bold} == {k[4:] for k, is_sure in surely.items() if is_sure}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this machine")
def test_the_paper_table_of_a_real_run_compiles(pose_run: Path, tmp_path: Path) -> None:
    record = read_run(pose_run)
    document = paper_table("paper-pose", [("r", record)], Catalog.load(), emphasis.telling([("r", pose_run, record)]))
    packages = r"\usepackage[textwidth=496pt]{geometry}\usepackage{booktabs}\usepackage{xcolor}"
    head = rf"\documentclass[10pt]{{article}}{packages}\begin{{document}}"
    (tmp_path / "t.tex").write_text(head + render(document, "latex") + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
