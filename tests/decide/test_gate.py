"""The gate opens and closes where arithmetic says so, and every file it writes says the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sapiens_bench.decide.baseline import read_baseline, write_baseline
from sapiens_bench.decide.gate import Outcome, gate
from sapiens_bench.decide.gate_report import document, json_text, junit_text
from sapiens_bench.decide.sides import Side, read_side
from sapiens_bench.decide.spec import GateSpec, ScoreRule, in_score_units, read_spec, requiring_equal
from sapiens_bench.errors import CardError, IncompleteRun, StoreError, UsageError
from sapiens_bench.report.formats import render
from sapiens_bench.types import ScoreInfo

ToyRun = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]
GREY = [((i * 37) % 256) / 255 for i in range(10)]


def judged(base: Path, cand: Path, **rule: Any) -> Outcome:
    spec = GateSpec(scores={"grey/mae": ScoreRule(**rule)} if rule else {})
    return gate(read_side(base), read_side(cand), spec)


def test_the_same_rows_pass_with_p_one(toy_run: ToyRun) -> None:
    outcome = judged(toy_run("a", bias=0.1), toy_run("b", bias=0.1))
    (row,) = outcome.rows
    assert (outcome.verdict, row.p, row.p_holm, row.difference.found.difference) == ("pass", 1, 1, 0)


def test_a_loss_closes_the_gate_and_a_gain_does_not(toy_run: ToyRun) -> None:
    small, large = toy_run("small", bias=0.1), toy_run("large", bias=0.11)
    assert judged(small, large).verdict == "fail"
    assert judged(large, small).verdict == "pass"


def test_a_certain_loss_below_the_effect_that_matters_passes(toy_run: ToyRun) -> None:
    base, cand = toy_run("a", bias=0.1), toy_run("b", bias=0.1004)  # 0.4 %, half a per cent matters
    outcome = judged(base, cand)
    assert outcome.verdict == "pass"
    assert outcome.rows[0].p < 0.001
    assert judged(base, cand, min_effect="0.3%").verdict == "fail"
    assert judged(base, cand, min_effect=0.0003).verdict == "fail"


def test_a_large_loss_that_may_be_chance_passes_but_is_no_proof_of_equality(toy_run: ToyRun) -> None:
    one_bad = {str(i): GREY[i] + (0.9 if i == 9 else 0.1) for i in range(10)}  # one group of five
    base, cand = toy_run("a", bias=0.1), toy_run("b", say=one_bad)
    outcome = judged(base, cand)
    assert outcome.verdict == "pass"
    assert "may be chance" in outcome.rows[0].reason
    equal = judged(base, cand, tier="non-inferiority", margin=0.01)
    assert equal.verdict == "fail"
    assert "must be ruled out" in equal.rows[0].reason
    assert judged(base, cand, tier="non-inferiority", margin=0.9).verdict == "pass"


def test_the_exact_tier_knows_no_chance(toy_run: ToyRun) -> None:
    base, cand = toy_run("a", bias=0.1), toy_run("b", bias=0.1 + 1e-6)
    assert judged(base, cand, tier="exact").verdict == "fail"
    assert judged(cand, base, tier="exact").verdict == "fail"  # a gain too
    assert judged(base, cand, tier="exact", tolerance=1e-5).verdict == "pass"
    assert judged(base, base, tier="exact").verdict == "pass"


def test_more_scores_ask_for_more_certainty(toy_run: ToyRun) -> None:
    worse = {str(i): GREY[i] + (0.1 if i < 2 else 0.2) for i in range(10)}  # four of five groups
    base, cand = read_side(toy_run("a", bias=0.1)), read_side(toy_run("b", say=worse))
    alone = gate(base, cand, GateSpec())
    assert alone.verdict == "fail"
    p = alone.rows[0].p
    assert p < 0.05
    n = int(0.05 / p) + 2
    same = [Side(s.path, "done", (*s.members, *extra)) for s, extra in zip((base, cand), _copies(base, n))]
    crowded = gate(same[0], same[1], GateSpec())
    assert crowded.rows[0].p_holm == pytest.approx(min(1.0, p * (n + 1)))
    assert crowded.verdict == "pass"


def _copies(base: Side, n: int) -> list[tuple[Any, ...]]:
    extra = tuple(replace(base.members[0], model=f"copy{i}") for i in range(n))
    return [extra, extra]


def test_one_group_is_judged_by_the_loss_itself(toy_run: ToyRun) -> None:
    sides = []
    for name, bias in (("a", 0.1), ("b", 0.2)):
        (member,) = read_side(toy_run(name, bias=bias)).members
        at = member.rows.column_names.index("group")
        rows = member.rows.set_column(at, "group", [["g"] * 10])
        sides.append(Side(Path(name), "done", (replace(member, rows=rows),)))
    assert gate(sides[0], sides[1], GateSpec()).verdict == "fail"
    assert gate(sides[1], sides[0], GateSpec()).verdict == "pass"
    equal = GateSpec(scores={"*": ScoreRule(tier="non-inferiority", margin=0.5)})
    assert gate(sides[0], sides[1], equal).rows[0].reason == "no interval, so no loss is ruled out"


def test_a_baseline_file_says_what_its_run_says(toy_run: ToyRun, tmp_path: Path, call: Call) -> None:
    base, cand = toy_run("a", bias=0.1), toy_run("b", bias=0.2)
    path = tmp_path / "baseline.parquet"
    code, out, err = call("gate", "--write-baseline", base, path)
    assert code == 0, err
    assert f"Written: {path}" in out
    assert str(tmp_path).encode() not in path.read_bytes()
    by_file, by_run = (gate(side, read_side(cand), GateSpec()) for side in (read_side(path), read_side(base)))
    assert by_file.rows[0].difference.found == by_run.rows[0].difference.found
    again = tmp_path / "again.parquet"
    write_baseline(read_baseline(path), again)
    assert again.read_bytes() == path.read_bytes()


def test_a_baseline_is_made_of_complete_runs_and_read_from_baselines(toy_run: ToyRun, tmp_path: Path) -> None:
    run = toy_run("a", bias=0.1)
    with pytest.raises(StoreError, match="no baseline file"):
        read_side(next(run.rglob("rows/**/*.parquet")))
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(StoreError, match="--write-baseline"):
        read_side(tmp_path / "text.parquet")
    next(run.rglob("rows/**/shard-00001.parquet")).unlink()
    with pytest.raises(IncompleteRun, match="5 of 10 rows"):
        write_baseline(read_side(run), tmp_path / "b.parquet")


def test_every_file_of_a_closed_gate_says_so(toy_run: ToyRun, tmp_path: Path, call: Call) -> None:
    files = {flag: tmp_path / flag for flag in ("json", "junit", "markdown")}
    flags = [word for flag, path in files.items() for word in (f"--{flag}", path)]
    code, out, err = call("gate", toy_run("a", bias=0.1), toy_run("b", bias=0.2), *flags)
    assert code == 1
    assert "The gate is closed: 1 of 1 failed" in err
    assert "FAIL" in out
    (row,) = json.loads(files["json"].read_text())["rows"]
    assert {"metric", "base", "cand", "diff", "ci_low", "ci_high", "p", "n", "verdict"} <= set(row)
    assert (row["metric"], row["verdict"], row["n"]) == ("grey/mae", "fail", 10)
    assert row["diff"] == pytest.approx(0.1, abs=1e-7)
    suite = ElementTree.parse(files["junit"]).getroot()
    assert suite.attrib["failures"] == "1"
    assert suite.find("testsuite/testcase/failure") is not None
    assert files["markdown"].read_text().startswith("# sapiens-bench gate: FAILED (1 of 1)")


def test_scores_are_written_for_actions_that_track_benchmarks(toy_run: ToyRun, tmp_path: Path, call: Call) -> None:
    base, cand = toy_run("a", bias=0.1), toy_run("b", bias=0.2)
    code, _, _ = call("gate", base, cand, "--benchmark", tmp_path / "bench.json")
    assert code == 1  # written whatever the verdict
    (entry,) = json.loads((tmp_path / "bench.json").read_text())
    assert entry["name"] == "toy-plain on toy: grey/mae"
    assert entry["value"] == pytest.approx(0.2, abs=1e-5)
    assert set(entry) == {"name", "unit", "value", "range", "extra"}
    assert entry["range"].startswith("± ")


def test_an_incomplete_candidate_decides_nothing(toy_run: ToyRun, tmp_path: Path, call: Call) -> None:
    base, cand = toy_run("a", bias=0.1), toy_run("b", bias=0.1)
    next(cand.rglob("rows/**/shard-00001.parquet")).unlink()
    code, _, err = call("gate", base, cand, "--junit", tmp_path / "x.xml", "--json", tmp_path / "x.json")
    assert code == 4
    assert "INCOMPLETE" in err
    assert json.loads((tmp_path / "x.json").read_text())["verdict"] == "incomplete"
    assert ElementTree.parse(tmp_path / "x.xml").getroot().attrib["errors"] == "1"


def test_a_model_that_vanished_is_refused_and_a_new_one_is_mentioned(toy_run: ToyRun) -> None:
    a = read_side(toy_run("a", bias=0.1))
    more = replace(a, members=(*a.members, replace(a.members[0], model="new", title="New")))
    with pytest.raises(UsageError, match="CAND has no rows of new on toy/plain"):
        gate(more, a, GateSpec())
    assert gate(more, a, GateSpec(models=("toy-plain",))).verdict == "pass"
    assert gate(a, more, GateSpec()).remarks == ("New on toy is not in BASE: not judged.",)


def test_names_that_xml_cannot_hold_do_no_harm(toy_run: ToyRun) -> None:
    a, b = (read_side(toy_run(name, bias=bias)) for name, bias in (("a", 0.1), ("b", 0.2)))
    sides = [replace(s, members=tuple(replace(m, model="<&\x00\x1b>") for m in s.members)) for s in (a, b)]
    outcome = gate(sides[0], sides[1], GateSpec())
    (case,) = ElementTree.fromstring(junit_text(outcome).partition("\n")[2]).iter("testcase")
    assert case.attrib["classname"] == "toy.toy.plain.<&��>"
    assert json.loads(json_text(outcome))["rows"][0]["model"] == "<&\x00\x1b>"
    assert "\x1b" not in render(document(outcome), "text")


def test_a_specification_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("draws: 100\nscores:\n  oks/AP: {min_effect: 0.5}\n  oks/AR: {tier: exact, tolerance: 0.01}\n")
    spec = read_spec(path)
    assert (spec.draws, spec.scores["oks/AP"].min_effect, spec.scores["oks/AR"].tier) == (100, 0.5, "exact")
    for text, why in (
        ("drawz: 1", "draws"),
        ("scores: {oks/AP: {tier: loose}}", "tier"),
        ("scores: {oks/AP: {min_effect: -1}}", "min_effect"),
        ("scores: {oks/AP: {min_effect: lots}}", "min_effect"),
    ):
        path.write_text(text)
        with pytest.raises(CardError, match=why):
            read_spec(path)
    for text in ("[1, 2]", "a: [", "'"):
        path.write_text(text)
        with pytest.raises(UsageError):
            read_spec(path)
    with pytest.raises(UsageError):
        read_spec(tmp_path / "none.yaml")


def test_effects_are_in_the_units_of_the_table() -> None:
    share = ScoreInfo("AP", "", True, 0.0, 1.0, 1, "", percent=True)
    angle = ScoreInfo("mean", "deg", False, 0.0, 180.0, 2, "")
    metres = ScoreInfo("RMSE", "m", False, 0.0, 9.0, 3, "")
    assert in_score_units(None, share, 0.8) == pytest.approx(0.001)  # 0.1 AP
    assert in_score_units(None, angle, 20.0) == pytest.approx(0.1)
    assert in_score_units(None, metres, 0.4) == pytest.approx(0.002)  # 0.5 %
    assert in_score_units(0.5, share, 0.8) == pytest.approx(0.005)
    assert in_score_units("1%", share, 0.8) == pytest.approx(0.008)


def test_require_equal_takes_a_size_or_a_share(toy_run: ToyRun, call: Call) -> None:
    assert requiring_equal(GateSpec(), "0.5").scores["*"] == ScoreRule(tier="non-inferiority", margin=0.5)
    assert requiring_equal(GateSpec(), "1%").scores["*"].margin == "1%"
    for wrong in ("lots", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="--require-equal"):
            requiring_equal(GateSpec(), wrong)
    a, b = toy_run("a", bias=0.1), toy_run("b", bias=0.104)
    assert call("gate", a, b, "--require-equal", "5%")[0] == 0
    assert call("gate", a, b, "--require-equal", "3%")[0] == 1
