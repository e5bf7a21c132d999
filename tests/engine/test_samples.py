"""Samples that several models look at are read once, within a budget, and nobody can write into them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.engine import samples
from sapiens_bench.engine.samples import SharedSamples, arrays_in
from sapiens_bench.types import Adapter


@pytest.fixture
def counted(toy: ModuleType, tmp_path: Path) -> tuple[Adapter, list[int]]:
    """The toy data set, and the list of indices that were really read."""
    adapter = toy.plan(tmp_path, {"n": 6}).data[0].open.adapter
    seen: list[int] = []
    read = type(adapter).__getitem__

    class Counting(type(adapter)):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            seen.append(index)
            return read(self, index)

    adapter.__class__ = Counting
    return adapter, seen


def test_the_second_model_reads_nothing_again(counted: tuple[Adapter, list[int]]) -> None:
    adapter, seen = counted
    shared = SharedSamples(adapter, 1 << 20)
    first = [shared[i] for i in range(6)]
    assert [shared[i] for i in range(6)] == first
    assert seen == list(range(6))


def test_what_does_not_fit_is_read_again_and_the_first_ones_stay(counted: tuple[Adapter, list[int]]) -> None:
    adapter, seen = counted
    one = sum(a.nbytes for a in arrays_in(adapter[2]))
    seen.clear()
    shared = SharedSamples(adapter, 2 * one)
    for _ in range(2):
        for i in range(6):
            shared[i]
    assert seen.count(0) == 1
    assert seen.count(5) == 2


def test_a_model_that_writes_into_its_picture_scores_alike_alone_and_in_company(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = toy.ToyModel.prepare

    def scribble(self: Any, x: Any) -> Any:
        x.image_HW3[0] = 0
        return prepare(self, x)

    monkeypatch.setattr(toy.ToyModel, "prepare", scribble)
    how = {"max_errors": 1.0}
    alone = toy.go(tmp_path / "a", models=("toy-plain",), **how).cells[0]
    together = toy.go(tmp_path / "b", models=("toy-plain", "toy-biased"), **how).cells[0]
    assert alone.counts.prediction_errors == alone.counts.planned
    assert "read-only" in alone.errors[0].detail
    assert (together.fingerprint, together.scores) == (alone.fingerprint, alone.scores)


def test_arrays_are_found_wherever_they_lie() -> None:
    a, b = np.zeros(2), np.ones(3)
    assert [len(x) for x in arrays_in({"a": [a, (b, 1)], "c": "text"})] == [2, 3]


def test_two_models_score_as_if_each_had_read_for_itself(toy: ModuleType, tmp_path: Path) -> None:
    together = toy.go(tmp_path / "a", models=("toy-plain", "toy-biased"))
    alone = [toy.go(tmp_path / name, models=(name,)) for name in ("toy-plain", "toy-biased")]
    assert [c.scores for c in together.cells] == [record.cells[0].scores for record in alone]


def test_a_groups_limit_bounds_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "memory_rooms", lambda: iter((5000, 10**15)))
    assert samples.budget_bytes() == 500
