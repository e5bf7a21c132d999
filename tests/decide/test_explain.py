"""The hidden protocol is found: 200 planted cases for poses, stored sums for dense tasks, and the command on a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import sapiens_bench
from sapiens_bench.decide.explain import (
    Candidate,
    Published,
    _by_numbers,
    _remark,
    as_near,
    candidate,
    parse_published,
    rank,
)
from sapiens_bench.decide.variants import aggregates, is_declared, pose_variants
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.bootstrap import draw_weights
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring

Call = Callable[..., tuple[int, str, str]]
K, KEYS = 17, ("AP", "AR", "AP75")
SIGMAS = [0.05] * K


@pytest.fixture(scope="module")
def candidates(poses: ModuleType) -> list[Candidate]:
    """Every way to score 80 pictures with duplicates, strays and occluded points."""
    targets, predictions = poses.suite(3, 80, K)
    weights = draw_weights([str(i) for i in range(80)], 50, 0)
    metric = OksMetric(SIGMAS, {}, PoseScoring())
    return [
        candidate(variant.title, scores, weights, KEYS, is_declared(variant, metric.scoring))
        for variant, scores in aggregates(metric, SIGMAS, {}, targets, predictions)
    ]


def test_there_are_sixty_ways_and_one_is_the_protocols_own() -> None:
    found = pose_variants(PoseScoring())
    assert len({v.title for v in found}) == len(found) == 60
    assert [v.title for v in found if is_declared(v, PoseScoring())] == [found[0].title]


def test_a_hidden_variant_is_named_in_two_hundred_planted_cases(candidates: list[Candidate]) -> None:
    """Its numbers come as they are printed, with two decimals; ways with the very same numbers count as found."""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(200):
        hidden = candidates[rng.integers(len(candidates))]
        printed = [Published(f"oks/{k}", round(v, 4), 0.5e-4) for k, v in zip(KEYS, hidden.values)]
        ranked = rank(candidates, printed)
        named += hidden.title in {r.candidate.title for r in as_near(ranked)}
    assert named >= 190


def test_the_ways_differ(candidates: list[Candidate]) -> None:
    assert len({tuple(np.round(c.values, 4)) for c in candidates}) >= 40


def test_probabilities_add_up_and_favour_the_nearest_of_equal_errors() -> None:
    known = [Candidate(name, (value,), (0.01,), name == "b") for name, value in (("a", 0.70), ("b", 0.71), ("c", 0.8))]
    ranked = rank(
        [*known, Candidate("undefined", (float("nan"),), (0.01,), False)], [Published("oks/AP", 0.712, 0.0005)]
    )
    assert [r.candidate.title for r in ranked] == ["b", "a", "c"]
    assert sum(r.probability for r in ranked) == pytest.approx(1)
    assert ranked[0].distance == pytest.approx(0.002)
    # exp(-(0.2² - 1.2²) / 2): errors of 0.01, the rounding next to nothing
    assert ranked[0].probability / ranked[1].probability == pytest.approx(np.exp(0.7), rel=0.01)


def test_numbers_are_read_in_the_unit_of_the_table(poses: ModuleType) -> None:
    infos = {f"oks/{k}": info for k, info in OksMetric(SIGMAS, {}, PoseScoring()).scores.items()}
    (one,) = parse_published("71.2", "oks/AP", infos)
    assert (one.key, one.value, one.rounding) == ("oks/AP", pytest.approx(0.712), pytest.approx(0.0005))
    assert [p.key for p in parse_published("AP=71.2, oks/AR=74", "oks/AP", infos)] == ["oks/AP", "oks/AR"]
    for wrong in ("", "AP=", "XP=3", "nan", "71.2;3", "900", "AR=-1"):
        with pytest.raises(UsageError, match="--published"):
            parse_published(wrong, "oks/AP", infos)


def test_the_command_names_the_runs_own_protocol_and_refuses_what_it_cannot_read(tmp_path: Path, call: Call) -> None:
    out = tmp_path / "run"
    common: dict[str, Any] = {"datasets": "synthetic-humans", "split": "tiny", "device": "cpu", "n_boot": 1}
    record = sapiens_bench.evaluate(task="pose", models="noisy-oracle", out=out, **common)
    scores = {key.partition("/")[2]: 100 * score.value for key, score in record.cells[0].scores.items()}
    code, _, err = call(
        "explain-number", out, "--published", f"AP={scores['AP']:.3f},AR={scores['AR']:.3f}", "--format", "json",
        "--out", tmp_path / "why.json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads((tmp_path / "why.json").read_text())
    assert len(told["rows"]) == 60
    assert told["rows"][0]["is_declared"]
    assert told["rows"][0]["distance"] < 1e-5
    code, _, err = call("explain-number", out, "--published", "no-such-entry:Row")
    assert code == 2
    assert "list published" in err


def test_a_dense_number_is_sought_among_the_stored_scores(tmp_path: Path, call: Call) -> None:
    out = tmp_path / "run"
    record = sapiens_bench.evaluate(
        task="depth", models="noisy-oracle-depth", datasets="synthetic-humans", split="tiny", device="cpu", out=out,
        n_boot=1,
    )  # fmt: skip
    hidden = record.cells[0].scores["depth/median/rmse"].value
    code, out_text, err = call("explain-number", out, "--published", f"rmse={hidden:.6f}")
    assert code == 0, err
    assert "Nearest to RMSE" in out_text
    assert "depth/median/rmse" in out_text.partition("Nearest")[2]


def test_ways_that_give_the_same_numbers_take_one_line_and_the_runs_own_is_marked_among_them() -> None:
    def way(title: str, value: float, is_declared: bool = False) -> Candidate:
        return Candidate(title, (value,), (0.01,), is_declared)

    ranked = rank([way("a", 0.5), way("b", 0.5), way("c", 0.7, True), way("d", 0.6)], [Published("oks/AP", 0.51, 5e-4)])
    groups = _by_numbers(ranked)
    assert [[r.candidate.title for r in group] for group in groups] == [["a", "b"], ["d"], ["c"]]
    assert [_remark(group[0], group[1:]) for group in groups] == ["1 alike", "", "the run's own"]
    own = [r for r in ranked if r.candidate.is_declared]
    assert _remark(ranked[0], own) == "1 alike, the run's own among them"


def test_a_variant_of_the_truth_leaves_the_truth_alone(poses: ModuleType) -> None:
    targets, predictions = poses.suite(3, 5, K)
    before = [replace(t, visible_NK=t.visible_NK.copy(), area_N=t.area_N.copy()) for t in targets]
    list(aggregates(OksMetric(SIGMAS, {}, PoseScoring()), SIGMAS, {}, targets, predictions))
    for old, new in zip(before, targets):
        np.testing.assert_array_equal(old.visible_NK, new.visible_NK)
        np.testing.assert_array_equal(old.area_N, new.area_N)


@pytest.mark.slow
def test_a_hidden_crop_is_named_when_the_model_may_run_again(tmp_path: Path, call: Call) -> None:
    """The published number comes from another crop padding, which no stored pose can show."""
    asked = ("--models", "movenet-lightning", "--split", "tiny", "--limit", "6", "--n-boot", "0")
    for name, more in (("mine", ()), ("theirs", ("--option", "padding=1.5"))):
        assert call("run", "--task", "pose", *asked, *more, "--out", tmp_path / name)[0] == 0
    theirs = json.loads((tmp_path / "theirs" / "run.json").read_text())["cells"][0]["scores"]
    said = ",".join(f"{key}={100 * theirs[f'oks/{key}']['value']:.3f}" for key in ("AP", "AR"))
    code, text, _ = call("explain-number", tmp_path / "mine", "--published", said)
    assert code == 0
    assert "Not tried, for the model would have to run again: padding 1.0" in text
    assert "padding 1.25," not in text  # the run's own
    code, text, _ = call(
        "explain-number", tmp_path / "mine", "--published", said, "--rerun-model", "--boxes", "jitter:0.2",
        "--format", "json",
    )  # fmt: skip
    found = json.loads(text)
    assert found["nearest"].startswith("padding 1.5; ")
    assert any(row["protocol"].startswith("boxes jitter:0.2; ") for row in found["rows"])
    assert sum(row["is_declared"] for row in found["rows"]) == 1
