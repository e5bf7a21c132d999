"""Hostile files through the commands that a user types: refused by name, or one image's fault; nothing of them runs.

Of the annotation files every fifth here and all under ``-m soak``; ``tests/test_bad_inputs.py`` opens all of them below
the command line.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from fault_suite.hostile.corpus import KINDS, judged
from fault_suite.hostile.payload import Payload
from fault_suite.hostile.place import SECRET, Call, Place

COUNTS = {
    "pictures": 44,
    "annotations": 44,
    "results": 14,
    "arrays": 23,
    "checkpoints": 23,
    "cards": 20,
    "archives": 11,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "annotations"])
def test_each_has_its_outcome_by_name(tmp_path: Path, kind: str) -> None:
    verdict = judged(tmp_path / "files", [kind])
    figures = verdict.figures()
    assert figures["injected"] == COUNTS[kind]
    assert verdict.wrong == []
    assert verdict.tracebacks == []
    assert (figures["canary_executions"], verdict.place.escapes()) == (0, [])
    assert figures["slowest_s"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_annotation_files_have_their_outcome_by_name(tmp_path: Path, every: int) -> None:
    verdict = judged(tmp_path / "files", ["annotations"], every)
    assert len(verdict.place.cases) == -(-COUNTS["annotations"] // every)
    assert verdict.wrong == []
    assert verdict.tracebacks == []
    assert verdict.place.escapes() == []


def test_the_watch_sees_a_payload_that_runs_and_a_secret_that_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path / "files")
    assert not place.canary.exists()
    pickle.loads(pickle.dumps(Payload(place.canary))).close()
    assert place.canary.exists()
    place.calls.append(Call(("run", "x"), 0, SECRET, "", 0.0))
    (place.outside / "new.txt").touch()
    assert place.escapes() == ["run x tells the secret", "new.txt was written outside"]
