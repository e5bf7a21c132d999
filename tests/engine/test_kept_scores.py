"""A complete run opened again: its scores stand as long as all that they were made of is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sapiens_bench.engine import kept_scores, scores
from sapiens_bench.engine.kept_scores import FILE, code_sha256
from sapiens_bench.store.record import RunRecord


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a name whenever scores are made from rows."""
    found: list[str] = []
    original = scores.score

    def score(*arguments: Any) -> Any:
        found.append("score")
        return original(*arguments)

    monkeypatch.setattr(scores, "score", score)
    return found


def told(record: RunRecord) -> Any:
    """What the cells say, times aside; NaN as text, so that it equals itself."""
    cells = [cell.model_dump(mode="json", exclude={"timing"}) for cell in record.cells]
    return json.dumps([cells, record.datasets["toy"].model_dump(mode="json")])


def test_a_complete_run_opened_again_makes_no_score(toy: ModuleType, tmp_path: Path, made: list[str]) -> None:
    data = {"input_faults": [3]}
    first = toy.go(tmp_path, data)
    assert len(made) == 2
    again = toy.go(tmp_path, data)
    assert len(made) == 2
    assert told(again) == told(first)
    assert again.datasets["toy"].n_excluded == 1
    assert again.cells[0].scores["grey/mae"].low < again.cells[0].scores["grey/mae"].high


def test_other_draws_make_the_intervals_anew(toy: ModuleType, tmp_path: Path, made: list[str]) -> None:
    first = toy.go(tmp_path)
    more = toy.go(tmp_path, n_boot=200)
    assert len(made) == 3  # with intervals; without, they are kept
    assert more.cells[0].scores["grey/mae"].value == first.cells[0].scores["grey/mae"].value
    assert told(toy.go(tmp_path / "new", n_boot=200)) == told(more)


def test_rows_computed_again_are_scored_again(toy: ModuleType, tmp_path: Path, made: list[str]) -> None:
    first = toy.go(tmp_path)
    next(tmp_path.glob("rows/**/shard-00001.parquet")).unlink()
    assert told(toy.go(tmp_path)) == told(first)
    assert len(made) == 2  # the rows are the same to the last bit, and so is what they were scored to
    shard, record = (next(tmp_path.glob(f"rows/**/{name}-00000.*")) for name in ("shard", "commit"))
    assert shard.is_file()
    assert record.is_file()


def test_other_code_makes_every_score_anew(
    toy: ModuleType, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = toy.go(tmp_path)
    monkeypatch.setattr(kept_scores, "code_sha256", lambda modules: "other")
    assert told(toy.go(tmp_path)) == told(first)
    assert len(made) == 4
    monkeypatch.setattr(kept_scores, "code_sha256", lambda modules: None)  # it cannot be read: nothing is kept
    toy.go(tmp_path)
    toy.go(tmp_path)
    assert len(made) == 8


@pytest.mark.parametrize("fault", ["changed", "cut", "other", "gone", "folder"])
def test_a_file_that_is_not_what_was_written_is_no_source(
    toy: ModuleType, tmp_path: Path, made: list[str], fault: str
) -> None:
    first = toy.go(tmp_path)
    path = tmp_path / FILE
    text = path.read_text()
    path.unlink()
    if fault == "folder":
        path.mkdir()
    elif fault != "gone":
        value = first.cells[0].scores["grey/mae"].value
        broken = {"changed": text.replace(repr(value), "0.5", 1), "cut": text[:-20], "other": "[1, 2]"}[fault]
        assert broken != text
        path.write_text(broken)
    assert told(toy.go(tmp_path)) == told(first)
    assert len(made) == 4


def test_the_code_of_a_metric_outside_this_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug_in_metric.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("plug_in_metric")
    code_sha256.cache_clear()
    before = code_sha256(("plug_in_metric",))
    (tmp_path / "plug_in_metric.py").write_text("x = 2\n")
    code_sha256.cache_clear()
    assert before is not None
    assert code_sha256(("plug_in_metric",)) != before
    assert code_sha256(("no_such_module",)) is None
    code_sha256.cache_clear()


def test_opening_a_complete_run_loads_no_torch_and_keeps_what_is_known_of_the_machine(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom sapiens_bench.testing import toy\n"
        "with toy.installed():\n    record = toy.go(Path(sys.argv[1]), device='auto')\n"
        "print('torch' in sys.modules, record.hardware.torch_threads, record.request['batch_size'])"
    )
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, env=os.environ
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert [line[0] for line in said] == ["True", "False"]
    assert said[0][1:] == said[1][1:]


def test_a_device_that_is_not_there_is_refused_for_a_complete_run_too(toy: ModuleType, tmp_path: Path) -> None:
    from sapiens_bench.errors import DeviceError

    toy.go(tmp_path)
    with pytest.raises(DeviceError):
        toy.go(tmp_path, device="cuda:77")
