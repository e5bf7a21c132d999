"""Only a lead that is no noise stands out, and only where there are rows and intervals to tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.publish.best import Lead, leads_of, ranked_leads, standing_out, told_from_noise
from sapiens_bench.publish.pairwise import Contest, Remembered, adjusted
from sapiens_bench.report.table import Column, TableCell, TableRow
from sapiens_bench.report.tables import NO_EMPHASIS, Chosen
from sapiens_bench.stats.bootstrap import draw_weights
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.stats.paired import PairedDifference
from sapiens_bench.stats.sums import Aggregate, weighted_means
from sapiens_bench.store.record import RunRecord, read_run


def row(model: str, value: float, group: str = "network", n_scored: int = 5) -> TableRow:
    return TableRow(model, model, group, "done", cells={"m/s": TableCell(value)}, n_planned=5,  # type: ignore[arg-type]
                    n_scored=n_scored)  # fmt: skip


UP = Column("m/s", "S", "score")


def test_only_complete_networks_compete_and_each_column_has_two_tests() -> None:
    rows = [row("a", 0.5), row("b", 0.7), row("c", 0.6), row("oracle", 1.0, "diagnostic"), row("half", 0.9, n_scored=3)]
    assert leads_of(rows, [UP]) == [Lead("m/s", 0, "b", "c"), Lead("m/s", 1, "c", "a")]


def test_a_lower_error_leads() -> None:
    assert ranked_leads("e", {"a": 2.0, "b": 1.0, "c": float("nan")}, False) == [Lead("e", 0, "b", "a")]


def test_columns_that_the_short_table_leaves_out_and_printed_ones_are_not_tested() -> None:
    hidden = Column("m/s", "S", "score", headline=False)
    assert leads_of([row("a", 1), row("b", 2)], [hidden, Column("m/s", "S", "published")]) == []


class Planted:
    """A contest whose p values are known."""

    def __init__(self, p: dict[tuple[str, str], float]) -> None:
        self.members = [type("M", (), {"model": name}) for name in "abc"]
        self.p = p

    def draw(self, wanted: object) -> None:
        """Nothing to draw."""

    def difference(self, a: int, b: int, key: str) -> PairedDifference:
        p = self.p["abc"[b], "abc"[a]]
        return PairedDifference(0, 1, 1, 0.5, 1.5, 1.5, 0.5, p, 0.95, 10)


@pytest.mark.parametrize(
    ("p_ab", "p_bc", "best", "second"),
    [
        (0.001, 0.001, True, True),
        (0.001, 0.4, True, False),
        (0.4, 0.001, False, False),  # nobody is second to a leader who may not lead
        (0.04, 0.04, False, False),  # each alone would do; both together do not
        (0.02, 0.049, True, True),
    ],
)
def test_bold_and_underlined_hold_for_both_tests_together(p_ab: float, p_bc: float, best: bool, second: bool) -> None:
    leads = [Lead("m/s", 0, "a", "b"), Lead("m/s", 1, "b", "c")]
    contests: dict[str, Contest] = {"": Planted({("a", "b"): p_ab, ("b", "c"): p_bc})}  # type: ignore[dict-item]
    found = standing_out(leads, contests, lambda model: ("", model))
    assert found == Chosen({("a", "m/s")} if best else set(), {("b", "m/s")} if second else set())


@pytest.mark.parametrize("n_tests", [1, 8, 45, 190])
def test_there_are_draws_enough_to_tell_one_of_so_many_tests_from_noise(n_tests: int) -> None:
    """The smallest p of B draws is 2 / (B + 1); Holm asks the first of n for n times as little."""
    assert n_tests * 2 / (draws_for(n_tests, 100) + 1) <= 0.05
    assert draws_for(n_tests, 10_000) == 10_000


def test_models_of_different_contests_are_never_told_apart() -> None:
    contests: dict[str, Contest] = {"x": Planted({}), "y": Planted({})}  # type: ignore[dict-item]
    found = standing_out([Lead("m/s", 0, "a", "b")], contests, lambda model: ("x" if model == "a" else "y", model))
    assert found == Chosen(set(), set())


def test_nothing_stands_out_without_draws_or_rows(tmp_path: Path) -> None:
    assert told_from_noise(RunRecord(status="done", task="pose", request={"n_boot": 0}), tmp_path) is NO_EMPHASIS
    lost = told_from_noise(RunRecord(status="done", task="pose", request={"n_boot": 100}), tmp_path)
    assert lost.choose(("d", "p"), [row("a", 1), row("b", 2)], [UP]) == Chosen()


def test_a_real_table_has_nothing_in_bold_that_six_images_cannot_tell(pose_run: Path) -> None:
    from sapiens_bench.report.tables import build

    record = read_run(pose_run)
    block = build(record, emphasis=told_from_noise(record, pose_run)).blocks[0]
    best = [(r.model, k) for r in block.rows for k, c in r.cells.items() if c.best]
    assert ("noisy-oracle", "oks/AP") not in best
    assert not any(c.best for r in block.rows if r.group != "network" for c in r.cells.values())


def test_a_model_is_drawn_once_however_often_it_is_compared() -> None:
    values, calls = np.arange(20.0), []

    def batch(weights: np.ndarray, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
        calls.append(len(weights))
        return {"s": weighted_means(weights, values[:, None])[:, 0]}

    score = Remembered(Aggregate(("s",), 20, batch), 20)
    weights = draw_weights([str(i) for i in range(20)], 50, 0)
    first, again = score.batch(weights, ["s"]), score.batch(weights, ["s"])
    assert np.array_equal(first["s"], again["s"])
    assert calls == [50]


def test_undefined_differences_stay_undefined_and_do_not_count_in_the_family() -> None:
    sure = PairedDifference(0, 1, 1, 0.5, 1.5, 1.5, 0.5, 0.04, 0.95, 10)
    found = adjusted([None, sure])
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.04)
