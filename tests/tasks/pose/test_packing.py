"""Lists of numbers become the array that numpy makes of them, bit for bit, or are left to numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.tasks.pose import packing
from sapiens_bench.tasks.pose.oks import keypoint_area
from sapiens_bench.tasks.pose.packing import packed

NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.booleans())


@settings(deadline=None)
@given(
    data=st.data(), n=st.integers(1, 40), size=st.sampled_from([1, 2, 15, 16, 51]), block=st.sampled_from([1, 60, 4096])
)
def test_numbers_are_those_of_numpy(data: st.DataObject, n: int, size: int, block: int) -> None:
    kind = data.draw(st.sampled_from([st.floats(), NUMBERS]))
    seed = data.draw(st.lists(kind, min_size=1, max_size=20))
    values = [[seed[(i * size + k) % len(seed)] for k in range(size)] for i in range(n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK_VALUES", block)
        found = packed(values, size)
    assert found is not None
    np.testing.assert_array_equal(found.view(np.int64), np.asarray(values, np.float64).view(np.int64))


@pytest.mark.parametrize("n", [1, 15, 16, 70_000])
def test_every_length_of_a_header_is_read(n: int) -> None:
    for values in ([[float(i)] for i in range(n)], [[float(i) for i in range(n)]]):
        found = packed(values, len(values[0]))
        assert found is not None
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "values",
    [[], [[]], [[1.0, 2.0], [1.0]], [(1.0, 2.0)], [[1.0, None]], [["1.0", 2.0]], [[1.0, [2.0]]], [[1.0, {}]], [None],
     [[0.5, 10**400]]],
)  # fmt: skip
def test_anything_else_is_left_to_numpy(values: list[Any]) -> None:
    assert packed(values, 2) is None


def test_scalars_of_numpy_are_numbers() -> None:
    found = packed([[np.float64(0.1), np.float32(0.5)], [np.int64(3), 2]], 2)
    assert found is not None
    np.testing.assert_array_equal(found, [[0.1, 0.5], [3, 2]])


@settings(deadline=None)
@given(n=st.integers(0, 80), k=st.sampled_from([0, 1, 3, 17]), seed=st.integers(0, 2**32 - 1))
def test_the_area_is_the_same_of_many_and_of_few(n: int, k: int, seed: int) -> None:
    """Many short rows are gone through column by column."""
    rng = np.random.default_rng(seed)
    x, y = rng.choice([0.1, 5.0, -3.0, 1e300, np.inf, math.nan], (2, n, k))
    with np.errstate(all="ignore"):
        together, alone = keypoint_area(x, y), [keypoint_area(x[i : i + 1], y[i : i + 1])[0] for i in range(n)]
    np.testing.assert_array_equal(together, alone)
