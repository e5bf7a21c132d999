"""Differences whose truth is known by arithmetic, and everything that must not be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.decide import choose, wording
from sapiens_bench.decide.compare import Comparison, compare, document
from sapiens_bench.decide.sides import Member, Side, read_side
from sapiens_bench.decide.wording import digits, effect, shown, smallest_seen
from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.stats.paired import PairedDifference
from sapiens_bench.store.record import RunRecord, write_run
from sapiens_bench.tasks import task_for
from sapiens_bench.types import ScoreInfo

ToyRun = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]
AP = ScoreInfo("AP", "", True, 0.0, 1.0, 1, "", percent=True)


def two(a: Path, b: Path, **options: Any) -> Comparison:
    return compare([read_side(a), read_side(b)], **options)


def changed(side: Side, change: Callable[[Member], Member]) -> Side:
    return replace(side, members=tuple(map(change, side.members)))


def with_column(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at = rows.column_names.index(name)
    return rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))


def test_identical_runs_differ_by_nothing_with_p_one(toy_run: ToyRun) -> None:
    found = two(toy_run("a", bias=0.1), toy_run("b", bias=0.1))
    (d,) = found.differences
    assert (d.found.difference, d.found.low, d.found.high, d.found.p_value) == (0, 0, 0, 1)
    assert found.p_adjusted == (1,)
    assert (d.n, d.found.n_groups) == (10, 5)
    assert "no difference at all" in effect(d, 1.0)


def test_a_shift_of_every_error_is_found_exactly_and_named_for_the_better_side(toy_run: ToyRun) -> None:
    found = two(toy_run("small", bias=0.125), toy_run("large", bias=0.375), n_draws=999)
    (d,) = found.differences
    for value in (d.found.difference, d.found.low, d.found.high):
        assert value == pytest.approx(0.25, abs=1e-7)
    assert d.found.p_value == pytest.approx(2 / 1000)
    words = effect(d, found.p_adjusted[0])
    assert words.startswith("small is better by 0.2500 MAE [0.2500, 0.2500], p = 0.002 (Holm 0.002)")
    mirrored = two(toy_run("large2", bias=0.375), toy_run("small2", bias=0.125))
    assert effect(mirrored.differences[0], 0.001).startswith("small2 is better by 0.2500 MAE [0.2500, 0.2500]")


def test_noise_is_called_no_difference_with_what_the_set_would_see(toy_run: ToyRun) -> None:
    noisy = {str(i): ((i * 37) % 256) / 255 + (0.1 if i % 4 < 2 else -0.1) * (i + 1) / 10 for i in range(10)}
    found = two(toy_run("a", bias=0.06), toy_run("b", say=noisy))
    (d,) = found.differences
    assert d.found.low < 0 < d.found.high
    assert "no difference seen" in effect(d, found.p_adjusted[0])
    least = smallest_seen(d.found)
    assert f"this set would see >= {shown(least, d.info, digits(least, d.info))} MAE" in effect(d, found.p_adjusted[0])


def test_the_smallest_difference_seen_is_the_textbook_one() -> None:
    se = 0.01
    found = PairedDifference(0.5, 0.5, 0.0, -1.959964 * se, 1.959964 * se, 0, 0, 0.5, 0.95, 500)
    assert smallest_seen(found) == pytest.approx((1.959964 + 0.841621) * se, rel=1e-6)


def test_the_family_is_corrected_by_holm(toy_run: ToyRun) -> None:
    sides = [read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.2))]
    trio = [replace(side, members=tuple(replace(side.members[0], model=m, title=m) for m in "xyz")) for side in sides]
    found = compare(trio, n_draws=999)
    assert [d.found.p_value for d in found.differences] == pytest.approx([0.002] * 3)
    assert found.p_adjusted == pytest.approx([0.006] * 3)


def test_models_of_one_run_are_compared_in_pairs(toy_run: ToyRun) -> None:
    a, b = (read_side(toy_run(name, bias=bias)).members[0] for name, bias in (("a", 0.1), ("b", 0.2)))
    side = Side(
        Path("run"), "done", tuple(replace(m, model=n, title=n) for m, n in ((a, "one"), (b, "two"), (b, "six")))
    )
    found = compare([side])
    assert [(d.pair.name_a, d.pair.name_b) for d in found.differences] == [
        ("one", "two"),
        ("one", "six"),
        ("two", "six"),
    ]
    assert len(compare([side], models=("one", "six")).differences) == 1
    with pytest.raises(UsageError, match="no measured model 'seven'"):
        compare([side], models=("one", "seven"))
    with pytest.raises(UsageError, match="one measured model"):
        compare([side], models=("one",))


def test_single_models_of_two_runs_are_compared_whatever_their_names(toy_run: ToyRun) -> None:
    a, b = read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.2))
    renamed = changed(b, lambda m: replace(m, model="tuned", title="Tuned"))
    assert compare([a, renamed]).differences[0].found.difference == pytest.approx(0.1, abs=1e-7)
    elsewhere = changed(b, lambda m: replace(m, dataset="other"))
    with pytest.raises(UsageError, match="No model was measured on the same data set"):
        compare([a, elsewhere])


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("manifest_sha256",), "other", "manifest_sha256"),
        (("metrics", "grey"), 2, "metrics.grey: 1 there, 2 now"),
        (("samples", "n"), 9, "samples.n: 10 there, 9 now"),
        (("protocol", "name"), "strict", "protocol.name: 'plain' there, 'strict' now"),
        (("protocol", "options", "n"), 11, "protocol.options"),
        (("boxes",), "jitter:0.1", "boxes: '' there, 'jitter:0.1' now"),
        (("split",), "tiny", "split: '' there, 'tiny' now"),
    ],
)
def test_unlike_runs_are_refused_and_the_field_is_named(
    toy_run: ToyRun, call: Call, place: tuple[str, ...], value: Any, named: str
) -> None:
    a, b = toy_run("a", bias=0.1), toy_run("b", bias=0.1)
    (path,) = b.rglob("cell.json")
    cell = json.loads(path.read_bytes())
    inner = cell["fields"]
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(json.dumps(cell))
    for command in ("compare", "gate"):
        code, _, err = call(command, a, b)
        assert code == 2
        assert named in err


def test_what_belongs_to_the_model_may_differ(toy_run: ToyRun) -> None:
    a, b = read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.1))
    other = changed(b, lambda m: replace(m, fields={**m.fields, "precision": "bf16", "weights_sha256": "f" * 64}))
    assert compare([a, other]).differences[0].found.difference == 0


def test_an_incomplete_run_is_headed_so_and_ends_with_4(toy_run: ToyRun, call: Call) -> None:
    a, b = toy_run("a", bias=0.1), toy_run("b", bias=0.2)
    next(b.rglob("rows/**/shard-00001.parquet")).unlink()
    code, out, err = call("compare", a, b, "--format", "md")
    assert code == 4
    assert out.startswith("# INCOMPLETE: sapiens-bench: comparison")
    assert "5 of 10 rows" in err
    assert two(a, b).differences[0].n == 5


def test_a_sample_at_fault_on_either_side_leaves_both(toy_run: ToyRun) -> None:
    a, b = read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.2))
    sides = [""] * 9 + ["input"]
    faulty = changed(b, lambda m: replace(m, rows=with_column(m.rows, "error_side", sides)))
    assert compare([a, faulty]).differences[0].n == 9
    nothing = changed(b, lambda m: replace(m, rows=with_column(m.rows, "error_side", ["input"] * 10)))
    (d,) = compare([a, nothing]).differences
    assert math.isnan(d.found.difference)
    assert effect(d, math.nan).startswith("undefined")


def test_rows_are_joined_by_key_and_not_by_place(toy_run: ToyRun) -> None:
    a = read_side(toy_run("a", bias=0.1))
    backwards = changed(a, lambda m: replace(m, rows=m.rows.take(list(range(9, -1, -1)))))
    assert compare([a, backwards]).differences[0].found.high == 0
    regrouped = changed(a, lambda m: replace(m, rows=with_column(m.rows, "group", ["g"] * 10)))
    with pytest.raises(UsageError, match="belongs to group"):
        compare([a, regrouped])


def test_one_group_gives_the_difference_and_says_why_there_is_no_interval(toy_run: ToyRun) -> None:
    sides = [read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.2))]
    alone = [changed(s, lambda m: replace(m, rows=with_column(m.rows, "group", ["g"] * 10))) for s in sides]
    found = compare(alone)
    words = effect(found.differences[0], found.p_adjusted[0])
    assert words == "a is ahead by 0.1000 MAE; no interval: a single group cannot be resampled"
    assert "NaN" not in render(document(found), "json")


def test_a_missing_column_is_named(toy_run: ToyRun) -> None:
    a = read_side(toy_run("a", bias=0.1))
    older = changed(a, lambda m: replace(m, rows=m.rows.drop(["grey/sum"])))
    with pytest.raises(UsageError, match="lack a column of metric 'grey'"):
        compare([a, older])


def test_an_empty_run_a_missing_one_and_three_are_refused(toy_run: ToyRun, tmp_path: Path, call: Call) -> None:
    write_run(tmp_path / "empty", RunRecord(status="done", task="toy"))
    a = toy_run("a", bias=0.1)
    for arguments, why in (
        ((a, tmp_path / "empty"), "holds no measured model"),
        ((a, tmp_path / "nowhere"), "does not exist"),
        ((a, a, a), "one run or two"),
        ((a, a, "--by", "part"), "has no parts"),
    ):
        code, _, err = call("compare", *arguments)
        assert code == 2
        assert why in err
    with pytest.raises(UnknownName, match="grey/mae"):
        two(a, a, scores=("grey/mea",))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_holds_the_answer_and_no_name_breaks_it(toy_run: ToyRun, name: str) -> None:
    sides = [read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", bias=0.2))]
    hostile = [changed(s, lambda m: replace(m, title="</table><script>|$\\x\x1b[31m")) for s in sides]
    text = render(document(compare(hostile)), name)
    assert "is better by 0.1000 MAE" in text
    assert "<script>" not in text or name in ("json", "csv", "text")
    assert "\x1b" not in text


def test_parts_are_those_of_the_set() -> None:
    catalog = Catalog.load([])
    body = EvalProtocol(task="pose", title="t", space="coco-wholebody133")
    keys = choose.part_scores(task_for(body, catalog.space("coco-wholebody133")))
    assert "oks/face/AP" in keys
    assert all(key.count("/") == 2 and key.endswith("/AP") for key in keys)
    name = next(space.id for space in catalog.spaces.values() if space.kind == "labels")
    labels = EvalProtocol(task="seg", title="t", space=name)
    keys = choose.part_scores(task_for(labels, catalog.space(name)))
    assert len(keys) == len(catalog.space(name).names)


def test_small_differences_get_the_digits_they_need() -> None:
    assert shown(0.00004, AP, digits(0.00004, AP)) == "0.004"
    assert shown(0.021, AP, digits(0.021, AP)) == "2.1"
    assert shown(-0.00000001, AP) == "0.0"


@pytest.mark.parametrize(
    ("n_groups", "said"),
    [
        ([0, 100, 500], []),
        ([0, 30, 40], ["30 independent groups, fewer than 100: intervals"]),
        ([5], ["5 independent groups, fewer than 100: intervals", "Even so, 5 groups are too few"]),
        ([1, 200], ["A single independent group cannot be resampled"]),
        (
            [1, 30],
            ["A single independent group cannot be resampled", "30 independent groups, fewer than 100: intervals"],
        ),
    ],
)
def test_intervals_of_few_groups_are_told_as_they_are_made(n_groups: list[int], said: list[str]) -> None:
    found = list(wording.few_groups(n_groups))
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))
