from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.profiling.record import CountRecord, ProfileRecord, ProfileRow
from sapiens_bench.report import pareto, text
from sapiens_bench.report.pareto import Cost, Group, Point
from sapiens_bench.report.plots import draw
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord


def profile_of(**params_m: float) -> ProfileRecord:
    rows = [
        ProfileRow(
            model=name, title=name, family="f", task="pose", status="counted",
            counts=CountRecord(params_total=int(m * 1e6), macs_linear=1, macs_total=int(m * 1e9)),
        )
        for name, m in params_m.items()
    ]  # fmt: skip
    return ProfileRecord(rows=rows)


def run_of(**scores: float) -> RunRecord:
    cells = [
        CellRecord(
            task="pose", dataset="d", protocol="p", model=name, title=name, family="f", status="done", headline="m/AP",
            scores={"m/AP": ScoreRecord(value=s, low=s - 0.1, high=s + 0.1, title="AP", percent=True, decimals=1)},
        )
        for name, s in scores.items()
    ]  # fmt: skip
    return RunRecord(status="done", task="pose", cells=cells)


def test_the_frontier_by_hand() -> None:
    # a is cheapest, b better and dearer, c dearer than b and worse, d equals b, e has no cost
    costs, scores = [1, 2, 3, 2, math.nan], [0.5, 0.7, 0.6, 0.7, 0.99]
    assert pareto.frontier(costs, scores) == [True, True, False, True, False]
    assert pareto.frontier(costs, [-s for s in scores], higher_is_better=False) == [True, True, False, True, False]


def test_equal_cost_with_a_worse_score_is_beaten() -> None:
    assert pareto.frontier([1, 1], [0.5, 0.6]) == [False, True]


numbers = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(numbers)
def test_no_frontier_point_beats_another_and_every_other_point_is_beaten(pairs: list[tuple[int, int]]) -> None:
    costs, scores = [float(c) for c, _ in pairs], [float(s) for _, s in pairs]
    marks = pareto.frontier(costs, scores)
    assert any(marks)

    def beats(j: int, i: int) -> bool:
        better = costs[j] < costs[i] or scores[j] > scores[i]
        return costs[j] <= costs[i] and scores[j] >= scores[i] and better

    front = [i for i, mark in enumerate(marks) if mark]
    for i, mark in enumerate(marks):
        assert mark == (not any(beats(j, i) for j in front))


def test_runs_and_profiles_are_joined_by_model() -> None:
    groups = pareto.join([run_of(a=0.5, b=0.7, only_run=0.9)], [profile_of(a=1, b=2, only_profile=3)])
    assert len(groups) == 1
    assert [cost.key for cost in groups[0].costs] == ["flops", "params"]
    by_model = {point.model: point for point in groups[0].points}
    assert by_model["a"].costs["params"] == 1
    assert by_model["a"].score == 50
    assert by_model["only_run"].costs == {}
    shown = text.aligned(pareto.sheet(groups[0]))
    assert "70.0 [60.0, 80.0]" in shown
    assert shown.index("only_run") < shown.index("b  ") < shown.index("a  ")
    assert pareto.frontier_of(groups[0], "params") == {"a", "b"}


def test_nothing_in_common_gives_no_group() -> None:
    assert pareto.join([run_of(a=0.5)], [profile_of(b=2)]) == ()


def group_with(params: list[float], errors: list[float]) -> Group:
    points = tuple(
        Point(f"m{i}", f"m{i}", "f", 100 - e, 100 - e - 1, 100 - e + 1, {"params": p})
        for i, (p, e) in enumerate(zip(params, errors))
    )
    return Group("pose", "d", "p", "AP", "%", True, 1, False, points, (Cost("params", "Parameters", "M"),))


def test_an_exact_power_law_is_found_again() -> None:
    params = [300.0, 600, 1200, 2400]
    law = pareto.scaling(group_with(params, [50 * p**-0.2 for p in params]))[0]
    assert law.exponent == pytest.approx(-0.2)
    assert law.factor == pytest.approx(50)
    assert (law.low, law.high) == (pytest.approx(-0.2, abs=1e-6), pytest.approx(-0.2, abs=1e-6))


def test_exponent_and_interval_equal_those_of_scipy() -> None:
    from scipy import stats

    params, errors = [300.0, 660, 1160, 2160], [20.4, 18.8, 17.9, 17.8]
    law = pareto.scaling(group_with(params, errors))[0]
    reference = stats.linregress(np.log(params), np.log(errors))
    reach = stats.t.ppf(0.975, 2) * reference.stderr
    assert law.exponent == pytest.approx(reference.slope)
    assert (law.low, law.high) == (pytest.approx(reference.slope - reach), pytest.approx(reference.slope + reach))
    curve, low, high = pareto.band(law, np.array([800.0]))
    assert low[0] < curve[0] < high[0]


def test_two_sizes_or_an_unbounded_score_have_no_power_law() -> None:
    assert pareto.scaling(group_with([300.0, 600], [20, 18])) == []
    group = group_with([300.0, 600, 900], [20, 18, 17])
    unbounded = Group(**{**{f: getattr(group, f) for f in group.__slots__}, "unit": "dB"})
    assert pareto.scaling(unbounded) == []


def test_printed_scores_have_groups_of_their_own() -> None:
    catalog = Catalog.load()
    names = {f"sapiens-{size}-seg": m for size, m in (("0.3b", 340), ("0.6b", 671), ("1b", 1179), ("2b", 2176))}
    rows = [row.model_copy(update={"task": "seg", "family": "sapiens-seg"}) for row in profile_of(**names).rows]
    groups = pareto.join([], [ProfileRecord(rows=rows)], catalog)
    assert groups
    assert all(group.is_published for group in groups)
    assert [round(point.score, 1) for point in groups[0].points] == [76.7, 77.8, 79.9, 81.2]
    assert "as printed" in text.render_document(pareto.document(groups[:1]))


def test_plots_are_drawn_as_png_and_svg_and_svg_is_reproducible(tmp_path: Path) -> None:
    group = group_with([300.0, 660, 1160, 2160], [20.4, 18.8, 17.9, 17.8])
    first, second = draw([group], tmp_path / "a"), draw([group], tmp_path / "b")
    assert sorted(p.name for p in first) == [
        "pose-d-p-measured-params.png", "pose-d-p-measured-params.svg",
        "pose-d-p-measured-scaling.png", "pose-d-p-measured-scaling.svg",
    ]  # fmt: skip
    for a, b in zip(first, second):
        assert a.stat().st_size > 5000
        if a.suffix == ".svg":
            assert a.read_bytes() == b.read_bytes()


def test_every_model_is_named_once_and_names_of_near_points_do_not_touch() -> None:
    from sapiens_bench.report import plots

    group = group_with([300.0, 310, 320, 2160], [20.4, 20.3, 20.2, 17.8])
    figure = plots._scatter(group, group.costs[0])
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert sorted(text.get_text() for text in texts) == ["m0", "m1", "m2", "m3"]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(4) for j in range(i))
