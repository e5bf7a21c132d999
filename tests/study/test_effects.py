"""A planted bias is found within its interval, a condition without effect stays silent, unlike runs are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats
from study_sides import means, side

from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.stats.bootstrap import draw_weights, generator
from sapiens_bench.stats.paired import studentised_p
from sapiens_bench.study.contrast import contrasts, document
from sapiens_bench.study.design import Trial
from sapiens_bench.study.effects import _effects, left_out, profiles
from sapiens_bench.study.stored import StoredStudy

TRIALS = [Trial(f"fog-{level}", "fog", str(level), {}) for level in (1, 2, 3)]
CONDITION = {"name": "fog", "level": 1, "seed": 0, "version": 1, "of_manifest_sha256": "m"}


def under(errors: Any, **fields: Any) -> Any:
    return side(errors, manifest_sha256="m+fog", condition=CONDITION, **fields)


def test_the_planted_change_is_the_change_found(toy: ModuleType) -> None:
    rng = np.random.default_rng(4)
    clean = rng.uniform(0.1, 0.3, 80)
    planted = [0.01, 0.02, 0.04]
    worse = [clean + bias + rng.normal(0, 0.01, 80) for bias in planted]
    (found,) = profiles("corruption", side({"m": clean}), [(t, under({"m": w})) for t, w in zip(TRIALS, worse)])
    assert [e.trial.name for e in found.effects] == ["fog-1", "fog-2", "fog-3"]
    for effect, bias in zip(found.effects, planted):
        assert effect.found.low < bias < effect.found.high
        assert effect.found.difference == pytest.approx(bias, abs=0.004)
        assert effect.p_holm < 1e-6
    assert found.worst is found.effects[2]
    assert found.kept.difference == pytest.approx(found.reference / np.mean([w.mean() for w in worse]))
    assert found.kept.low < found.kept.difference < found.kept.high < 1


def _simulated(n_studies: int, n: int, bias_T: np.ndarray[Any, Any], seed: int) -> Iterator[Any]:
    """(effects of each study): skewed errors, a reference that all conditions share, group = picture."""
    rng = generator("simulated studies", seed)
    n_trials = len(bias_T)
    difficulty = rng.gamma(2.0, 0.05, (n, n_studies, 1))
    errors = difficulty + rng.gamma(1.0, 0.03, (n, n_studies, n_trials + 1))
    errors[..., 1:] += bias_T
    trials = [Trial(str(t), "s", str(t), {}) for t in range(n_trials)]
    yield from (_effects(trials, study) for study in means(errors, 100 if n < 100 else 500, seed))


@pytest.mark.parametrize("n", [8, 20, 50, 120])
def test_conditions_without_effect_raise_an_alarm_in_at_most_one_study_of_twenty(n: int) -> None:
    alarms = sum(any(e.p_holm <= 0.05 for e in effects) for effects in _simulated(200, n, np.zeros(8), 1))
    assert alarms <= 10


@pytest.mark.parametrize("n", [8, 20, 50, 120])
def test_a_planted_bias_lies_in_its_interval_about_as_often_as_the_interval_says(n: int) -> None:
    bias = np.array([0.0, 0.01, 0.02, 0.05])
    studies = list(_simulated(200, n, bias, 2))
    inside = [e.found.low <= b <= e.found.high for effects in studies for e, b in zip(effects, bias)]
    assert np.mean(inside) >= 0.93
    assert n < 50 or np.mean([effects[3].p_holm <= 0.05 for effects in studies]) > 0.99


def test_p_of_a_mean_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 1.0, 90)
    draws = draw_weights([str(i) for i in range(90)], 20_000, 0) @ values / 90
    expected = stats.ttest_1samp(values, 0).pvalue
    assert studentised_p(values.mean(), draws, 90) == pytest.approx(expected, rel=0.1)


def test_intervals_of_few_groups_are_those_that_compare_gives(toy: ModuleType) -> None:
    """One condition is a comparison of two runs: same interval, same rule, on either side of a hundred groups."""
    from sapiens_bench.decide.pairs import Pair, differences, task_of

    rng = np.random.default_rng(2)
    for n in (12, 130):
        errors = rng.gamma(2.0, 0.1, (2, n))
        (found,) = profiles("corruption", side({"m": errors[0]}), [(TRIALS[0], under({"m": errors[1]}))], n_draws=300)
        a, b = (side({"m": e}).members[0] for e in errors)
        (same,) = differences(Pair(a, b, "a", "b"), task_of(a), ["grey/mae"], Draws(300, 0), set())
        change = found.effects[0].found
        assert (change.low, change.high) == pytest.approx((same.found.low, same.found.high))
        if n < 100:
            assert change.p_value == pytest.approx(stats.ttest_rel(*errors).pvalue)
            reach = stats.t.ppf(0.975, n - 1) * stats.sem(errors[1] - errors[0])
            assert change.high - change.difference == pytest.approx(reach)
            assert found.kept.low < found.kept.difference < found.kept.high


def test_a_contrast_of_few_groups_has_the_interval_of_the_paired_t_test(toy: ModuleType) -> None:
    rng = np.random.default_rng(5)
    a0, a1, b0, b1 = rng.gamma(2.0, 0.1, (4, 15))
    reference, changed = side({"a": a0, "b": b0}), under({"a": a1, "b": b1})
    study = StoredStudy(Path("s"), "corruption", TRIALS[0], reference, ((TRIALS[0], changed),), (), 0)
    (rivals,) = contrasts([study], n_draws=200)
    found, test = rivals.contrasts[0].found, stats.ttest_rel(b1 - b0, a1 - a0)
    ends = test.confidence_interval()
    assert (found.low, found.high, found.p_value) == pytest.approx((ends.low, ends.high, test.pvalue))


def test_a_comparison_says_which_model_does_not_see_a_condition_and_why_it_has_no_p(toy: ModuleType) -> None:
    """What one model alone sees is tested: its change is all of the difference."""
    rng = np.random.default_rng(5)
    a0, b0, b1 = rng.gamma(2.0, 0.1, (3, 15))
    reference, one, neither = side({"a": a0, "b": b0}), under({"a": a0, "b": b1}), under({"a": a0, "b": b0})
    study = StoredStudy(Path("s"), "corruption", TRIALS[0], reference, ((TRIALS[0], one), (TRIALS[1], neither)), (), 0)
    found = contrasts([study], n_draws=200)
    told = document([study], found, n_draws=200, seed=0)
    first, second = told.sheets[0].rows
    assert first[1] == "not seen"
    assert "not seen" not in first[2:]
    assert second[1:3] == ("not seen", "not seen")
    assert second[4:] == ("–",) * 3
    assert found[0].contrasts[0].p_holm == found[0].contrasts[0].found.p_value  # a family of one
    assert len([note for note in told.notes if note.startswith("Not seen: every row keeps its bits")]) == 1
    conditions = told.data["rivals"][0]["conditions"]
    assert [(c["a_unseen"], c["b_unseen"]) for c in conditions] == [(True, False), (True, True)]
    seen = contrasts([replace(study, under=((TRIALS[0], under({"a": b1, "b": a0})),))], n_draws=50)
    assert not any("Not seen" in note for note in document([study], seen, n_draws=50, seed=0).notes)


@pytest.mark.parametrize(
    ("difference", "spread", "groups", "expected"),
    [
        (0.0, 0.0, 10, 1.0),  # no difference in any draw
        (0.5, 0.0, 4, 0.125),  # all draws alike: no stronger than four signs
        (0.5, 0.1, 1, float("nan")),
        (float("nan"), 0.1, 9, float("nan")),
    ],
)
def test_p_claims_no_more_than_there_is(difference: float, spread: float, groups: int, expected: float) -> None:
    draws = difference + spread * np.linspace(-1, 1, 101)
    assert studentised_p(difference, draws, groups) == pytest.approx(expected, nan_ok=True)


def test_rounding_is_no_scatter() -> None:
    """Ten pictures that lose exactly as much: the jackknife's values differ in their last bits alone."""
    before = np.random.default_rng(0).uniform(0, 1, 10)
    after = before - 0.1
    without_G = [(values.sum() - values) / 9 for values in (before, after)]
    change_G = without_G[1] - without_G[0]
    assert np.ptp(change_G) > 0
    assert studentised_p(after.mean() - before.mean(), np.full(50, -0.1), 10, change_G) == 2.0**-9


def test_a_picture_at_fault_anywhere_leaves_every_score(toy: ModuleType) -> None:
    clean, worse = np.full(20, 0.1), np.full(20, 0.3)
    worse[7] = 1.0
    sides = [(TRIALS[0], under({"m": worse}, faults=[7])), (TRIALS[1], under({"m": worse}))]
    (found,) = profiles("corruption", side({"m": clean}), sides)
    assert found.n == 19
    assert [e.found.difference for e in found.effects] == pytest.approx([0.2, 0.2])


def test_only_models_measured_under_every_condition_are_told(toy: ModuleType) -> None:
    e = np.full(5, 0.1)
    found = profiles("corruption", side({"a": e, "b": e}), [(TRIALS[0], under({"b": e}))])
    assert [p.model for p in found] == ["b"]
    assert left_out(side({"a": e, "b": e}), [(TRIALS[0], under({"b": e}))]) == [
        "A on toy is left out: not measured under fog-1."
    ]
    with pytest.raises(UsageError, match="under every condition"):
        profiles("corruption", side({"a": e}), [(TRIALS[0], under({"b": e}))])


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("corruption", {"split": "tiny"}, "split"),
        ("corruption", {"condition": {**CONDITION, "of_manifest_sha256": "other"}}, "manifest_sha256"),
        ("corruption", {"boxes": "jitter:0.1"}, "boxes"),
        ("boxes", {}, "condition"),
        ("factor", {"condition": None, "protocol": {"scoring": {"k": 1}, "options": {}}}, "protocol"),
    ],
)
def test_conditions_differ_in_what_the_study_changes_and_in_nothing_else(
    toy: ModuleType, kind: str, fields: dict[str, Any], said: str
) -> None:
    e = np.full(5, 0.1)
    changed = side({"m": e}, **{"manifest_sha256": "m+fog", "condition": CONDITION, **fields})
    with pytest.raises(UsageError, match=said):
        profiles(kind, side({"m": e}), [(TRIALS[0], changed)])


def test_an_unknown_score_is_refused(toy: ModuleType) -> None:
    e = np.full(5, 0.1)
    with pytest.raises(UnknownName, match="grey/mae"):
        profiles("corruption", side({"m": e}), [(TRIALS[0], under({"m": e}))], score="grey/mea")
