"""Numbers that stand for no depth are told from depths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.adapters.dense.holes import find_holes

MASK = np.ones((20, 30), np.bool_)


def person(scale: float = 1.0) -> np.ndarray:
    return (scale * (2 + 0.3 * np.random.default_rng(0).random((20, 30)))).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1000.0])  # metres, centimetres, millimetres
@pytest.mark.parametrize("code", [65504.0, 1e10, 65535.0])
def test_usual_codes_are_found_in_any_unit_even_alone(scale: float, code: float) -> None:
    values = person(scale)
    values[3, 4] = code
    found = find_holes(values, MASK)
    assert found.counts == {float(np.float32(code)): 1}
    assert found.pixels_HW is not None
    assert np.argwhere(found.pixels_HW).tolist() == [[3, 4]]


def test_a_far_number_that_repeats_is_a_code_and_one_that_does_not_is_a_depth() -> None:
    values = person()
    values[0, :2] = 99.0
    assert find_holes(values, MASK).counts == {99.0: 2}
    values[0, 0] = 14.0  # one pixel of the wall behind
    values[0, 1] = 2.0
    assert find_holes(values, MASK).pixels_HW is None


def test_outside_of_the_mask_nothing_matters() -> None:
    values = person()
    values[0] = 1e10
    mask = MASK.copy()
    mask[0] = False
    assert find_holes(values, mask).pixels_HW is None
    assert find_holes(values, np.zeros_like(MASK)).pixels_HW is None


def test_depths_of_arbitrary_scale_lose_the_usual_codes_only() -> None:
    values = (person() - 2).clip(1e-4)
    values[0, :5], values[1, :5] = 65504, 3.0
    assert find_holes(values, MASK, is_relative=True).counts == {65504.0: 5}


def test_a_majority_of_codes_is_a_matter_of_units() -> None:
    values = person()
    values[:15] = 65504
    assert find_holes(values, MASK).pixels_HW is None


@settings(deadline=None, max_examples=60)
@given(st.floats(0.3, 10.0), st.floats(0.01, 3.9), st.integers(0, 1000))
def test_no_depth_of_a_person_is_ever_taken_for_a_code(near: float, spread: float, seed: int) -> None:
    values = (near * (1 + spread * np.random.default_rng(seed).random((20, 30)))).astype(np.float32)
    assert find_holes(values, MASK).pixels_HW is None
