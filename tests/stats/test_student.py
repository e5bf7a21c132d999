"""Student's t against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sapiens_bench.stats.student import t_above, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 11, 29, 119, 999, 20_000])
def test_tail_and_quantile_are_those_of_scipy(degrees: int) -> None:
    t = np.concatenate([np.linspace(-8, 8, 41), [0.0, 1e-9, 30.0, 1e6, -1e6]])
    np.testing.assert_allclose(t_above(t, degrees), stats.t.sf(t, degrees), rtol=2e-9, atol=1e-300)
    for level in (0.5, 0.9, 0.975, 0.9995):
        assert t_quantile(level, degrees) == pytest.approx(stats.t.ppf(level, degrees), rel=1e-9, abs=1e-12)


def test_undefined_stays_undefined_and_infinite_is_certain() -> None:
    assert np.isnan(t_above(np.nan, 5))
    assert t_above(np.inf, 5) < 1e-300 or t_above(np.inf, 5) == 0
    assert t_above(-np.inf, 5) == 1
