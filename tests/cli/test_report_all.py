"""One command turns runs into every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sapiens_bench.cli.report_all import write_all
from sapiens_bench.errors import UsageError
from sapiens_bench.testing import toy


def test_every_form_of_each_run_and_one_page_of_all(tmp_path: Path) -> None:
    with toy.installed():
        runs = [tmp_path / name / "run" for name in ("a", "b")]
        for run in runs:
            toy.go(run, {"n": 4})
        out = tmp_path / "out"
        write_all(runs, out, cards=[], with_pictures=False, data_root=None)
    written = {f"{run}.{ending}" for run in ("a-run", "b-run") for ending in ("txt", "md", "tex", "csv", "json")}
    assert {p.name for p in out.iterdir()} == written | {"page.html"}
    assert r"\toprule" in (out / "a-run.tex").read_text()
    assert json.loads((out / "b-run.json").read_text())
    assert "<h1>" in (out / "page.html").read_text()


def test_without_a_folder_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--out FOLDER"):
        write_all([tmp_path], None, cards=[], with_pictures=False, data_root=None)
