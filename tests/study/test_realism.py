"""Ranks on rendered people beside ranks on photographs: the correlation, its exact p, and plain words without a run."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats
from study_sides import side

from sapiens_bench.errors import UsageError
from sapiens_bench.report.formats import render
from sapiens_bench.study.design import Trial
from sapiens_bench.study.document import document
from sapiens_bench.study.effects import profiles
from sapiens_bench.study.realism import UNCHECKED, agreement, exact_p, require_shared, spearman
from sapiens_bench.types import Cell


def named(errors: dict[str, float], dataset: str) -> Any:
    made = side({model: np.full(6, e) for model, e in errors.items()})
    members = tuple(type(m)(**{**{f: getattr(m, f) for f in m.__slots__}, "dataset": dataset}) for m in made.members)
    return type(made)(made.path, made.status, members)


def test_the_rank_correlation_is_spearmans_and_its_p_counts_orders() -> None:
    rng = np.random.default_rng(3)
    for n in (3, 5, 6):
        a, b = rng.normal(size=n), rng.integers(0, 3, n).astype(float)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, nan_ok=True)
    assert exact_p([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(1 / 24)
    assert exact_p([1, 2, 3], [3, 2, 1]) == 1.0
    assert np.isnan(exact_p([1, 2, 3], [1, 1, 1]))
    assert np.isnan(exact_p(range(9), range(9)))


def test_a_study_on_rendered_people_says_what_it_cannot_show_and_how_models_rank_on_photographs(
    toy: ModuleType,
) -> None:
    errors = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    rendered = named(errors, "synthetic-humans")
    found = profiles("corruption", rendered, [(Trial("t", "t", "1", {}), rendered)])
    plain = render(document("corruption", found, n_draws=10, seed=0, facts={}), "text")
    assert UNCHECKED in " ".join(plain.split())
    real = named({"a": 0.15, "b": 0.12, "c": 0.5, "d": 0.9, "e": 0.1}, "photographs")
    (agreed,) = agreement(found, real)
    assert agreed.rho == pytest.approx(0.8)
    page = document("corruption", found, n_draws=10, seed=0, facts={}, beside=[agreed])
    assert "rank correlation 0.80 over 4 models" in render(page, "text")
    assert page.data["realism"][0]["rho"] == pytest.approx(0.8)
    cells = [Cell("toy", "synthetic-humans", "plain", model, 6, 6, "") for model in errors]
    require_shared(cells, real)
    with pytest.raises(UsageError, match="Of this study's 4 it has none"):
        require_shared(cells, rendered)  # the same pictures tell nothing of others
    with pytest.raises(UsageError, match="it has a, b"):
        require_shared(cells, named({"a": 0.1, "b": 0.2}, "photographs"))
    with pytest.raises(UsageError, match="fewer than three"):
        agreement(found, named({"a": 0.1, "b": 0.2}, "photographs"))
