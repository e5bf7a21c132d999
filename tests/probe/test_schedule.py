"""Learning rates at the points that the formulas fix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapiens_bench.probe.schedule import Decay, factor

DECAYS = st.sampled_from(["cosine", "linear", "poly", "constant"])


@given(DECAYS, st.integers(2, 500), st.integers(0, 100), st.data())
def test_rates_grow_over_the_warm_up_and_never_after_it(
    decay: Decay, n: int, warm_up: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, n - 1))
    here, there = factor(step, n, warm_up, decay), factor(step + 1, n, warm_up, decay)
    assert 0 <= here <= 1
    assert there > here if step + 1 <= warm_up and step < warm_up else there <= here + 1e-12


def test_the_middle_of_each_decay_is_where_its_formula_says() -> None:
    assert factor(0, 100, 10, "cosine") == pytest.approx(1e-3)
    assert factor(10, 100, 10, "linear") == 1
    assert factor(55, 100, 10, "cosine") == pytest.approx(0.5)
    assert factor(55, 100, 10, "linear") == pytest.approx(0.5)
    assert factor(55, 100, 10, "poly") == pytest.approx(0.5**0.9)
    assert factor(99, 100, 10, "constant") == 1
