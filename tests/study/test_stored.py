"""A study on disk is told again, compared with itself and with others, and a planted bias of one factor is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from study_sides import means, side
from typer.testing import CliRunner

from sapiens_bench.cli import app
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.report.formats import render
from sapiens_bench.stats.bootstrap import generator
from sapiens_bench.study import contrast, design, folder, stored
from sapiens_bench.study.design import Trial
from sapiens_bench.study.document import document, series_p
from sapiens_bench.study.effects import Profile, _effects, profiles

FACTOR_TRIALS = [Trial(f"{name}-{level}", name, str(level), {}) for name in ("skin_tone", "age") for level in (1, 4, 7)]


def factor_side(errors: Any, level: str) -> Any:
    about = {"scoring": {}, "options": {"factor": level} if level else {}}
    return side({"m": errors} if not isinstance(errors, dict) else errors, protocol=about, manifest_sha256="m" + level)


def test_error_that_grows_with_one_factor_is_measured_and_the_other_factor_stays_silent(toy: ModuleType) -> None:
    per_level, inside = {"skin_tone": 0.01, "age": 0.0}, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        drawn = rng.uniform(0.1, 0.3, 120)
        under = [
            (t, factor_side(drawn + per_level[t.series] * int(t.level) + rng.normal(0, 0.02, 120), t.name))
            for t in FACTOR_TRIALS
        ]
        (found,) = profiles("factor", factor_side(drawn, ""), under, n_draws=400)
        planted = [per_level[e.trial.series] * int(e.trial.level) for e in found.effects]
        inside += [e.found.low <= change <= e.found.high for e, change in zip(found.effects, planted)]
    assert sum(inside) >= 31  # of 36; 34 are expected
    p = series_p(found)
    assert p["skin_tone"] < 1e-6
    assert p["age"] > 0.05
    page = render(document("factor", [found], n_draws=2000, seed=0, facts={}), "text")
    assert "Largest change" in page


def _simulated_profile(effects: Any, model: Profile) -> Profile:
    return replace(model, effects=effects)


@pytest.mark.parametrize("n", [20])
def test_factors_without_effect_raise_an_alarm_in_at_most_one_study_of_twenty(toy: ModuleType, n: int) -> None:
    """200 studies of four null factors and one planted one at three levels each, judged by the profile's own p."""
    n_studies = 200
    names = ["planted", "null 1", "null 2", "null 3", "null 4"]
    trials = [Trial(f"{name}-{level}", name, str(level), {}) for name in names for level in range(3)]
    rng = generator("null factors", 3)
    errors = rng.gamma(2.0, 0.05, (n, n_studies, 1)) + rng.gamma(1.0, 0.03, (n, n_studies, len(trials) + 1))
    errors[..., 1:4] += np.array([0.02, 0.03, 0.04])
    flat = np.full(8, 0.1)
    (model,) = profiles("corruption", side({"m": flat}), [(trials[0], side({"m": flat}))])
    alarms = seen = 0
    for study in means(errors, 100, 5):
        p = series_p(_simulated_profile(_effects(trials, study), model))
        alarms += any(p[name] <= 0.05 for name in names[1:])
        seen += p["planted"] <= 0.05
    assert alarms <= 10
    assert seen > (190 if n >= 50 else 0)


@pytest.fixture
def finished(toy: ModuleType, tmp_path: Path) -> Path:
    base = Request(
        task="toy",
        models=("toy-plain", "toy-biased"),
        datasets=("toy",),
        device="cpu",
        n_boot=0,
        workers=1,
        shard_size=30,
    )
    study = replace(design.corruption(base, ["fog", "contrast"], [1, 5]), draws=333)
    catalog = toy.toy_catalog()
    folder.fill(study, tmp_path / "s", lambda r: resolve(r, catalog), lambda plan, trial, number: run(plan))
    return tmp_path / "s"


def test_report_and_compare_understand_a_study(finished: Path) -> None:
    found = CliRunner().invoke(app, ["report", str(finished), "--format", "json"])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["draws"] == 333  # as the study was told
    assert (data["schema"], len(data["profiles"]), len(data["profiles"][0]["conditions"])) == ("study/1", 2, 4)
    found = CliRunner().invoke(app, ["compare", str(finished), "--format", "json"])
    assert found.exit_code == 0, found.output
    (rivals,) = json.loads(found.stdout)["rivals"]
    changes = {c["name"]: (c["a"], c["b"], c["difference"]) for p in [rivals] for c in p["conditions"]}
    profiles_of = {p["model"]: {c["name"]: c["difference"] for c in p["conditions"]} for p in data["profiles"]}
    for name, (a, b, difference) in changes.items():
        assert a == pytest.approx(profiles_of["toy-plain"][name])
        assert b == pytest.approx(profiles_of["toy-biased"][name])
        assert difference == pytest.approx(b - a)
    same = contrast.contrasts([stored.read_study(finished)] * 2, n_draws=50)
    assert [c.found.difference for r in same for c in r.contrasts] == [0.0] * 8


def test_what_is_no_whole_study_is_said(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no study"):
        stored.read_study(tmp_path)
    found = CliRunner().invoke(app, ["compare", str(finished), str(finished / "clean")])
    assert found.exit_code != 0
    assert "is no study" in found.output
    found = CliRunner().invoke(app, ["view", str(finished), "--no-open"])
    assert (found.exit_code, "is a study, not a run" in " ".join(found.output.split())) == (2, True), found.output
    (finished / "fog-1" / "run.json").unlink()
    study = stored.read_study(finished)
    assert study.missing == ("fog-1",)
    assert "INCOMPLETE" in render(stored.told(study, stored.measured(study, n_draws=50), n_draws=50), "text")
    assert CliRunner().invoke(app, ["report", str(finished)]).exit_code != 0
    about = json.loads((finished / "study.json").read_bytes())
    about["conditions"][1]["name"] = "../elsewhere"
    (finished / "study.json").write_text(json.dumps(about))
    with pytest.raises(StoreError, match="damaged"):
        stored.read_study(finished)


def test_a_question_that_was_refused_leaves_its_folder_to_the_mended_one(toy: ModuleType, tmp_path: Path) -> None:
    def refused(request: Request) -> Plan:
        raise UsageError("no such map")

    base = Request(task="toy", models=("toy-plain",), datasets=("toy",), device="cpu", n_boot=0, workers=1)
    study = design.corruption(base, ["fog"], [1])
    with pytest.raises(UsageError, match="no such map"):
        folder.fill(study, tmp_path / "s", refused, lambda plan, trial, number: None)
    folder.begin(replace(study, base=replace(base, protocol="plain")), tmp_path / "s")  # not "holds a study with ..."
    (tmp_path / "s" / "clean").mkdir()
    with pytest.raises(UsageError, match="no such map"):
        folder.fill(replace(study, base=replace(base, protocol="plain")), tmp_path / "s", refused, lambda *_: None)
    assert (tmp_path / "s" / "study.json").is_file()  # something was computed


def test_studies_of_two_kinds_are_not_compared(finished: Path, toy: ModuleType) -> None:
    study = stored.read_study(finished)
    with pytest.raises(UsageError, match="resolution"):
        contrast.contrasts([study, replace(study, kind="resolution")])
    with pytest.raises(UsageError, match=r"toy-plain is the only model chosen.*report"):
        contrast.contrasts([study], models=["toy-plain"])
    alone = replace(study, side=study.side.chosen(["toy-plain"]))
    with pytest.raises(UsageError, match=r"toy-plain is its only model.*a second study"):
        contrast.contrasts([alone])
    with pytest.raises(UsageError, match="in common"):
        contrast.contrasts([study, replace(study, under=())])


def test_two_conditions_side_by_side_are_sent_to_the_study(finished: Path) -> None:
    others = sorted(p.name for p in finished.iterdir() if p.is_dir() and p.name != "clean")
    found = CliRunner().invoke(app, ["compare", str(finished / "clean"), str(finished / others[0])])
    assert found.exit_code == 2
    assert "cannot be compared" in found.stderr
    assert "`sapiens-bench report STUDY`" in found.stderr
