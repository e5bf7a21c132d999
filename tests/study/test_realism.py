"""Ranks on rendered people beside ranks on photographs: the correlation, its exact p, and plain words without a run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats
from study_sides import side
from typer.testing import CliRunner

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli import app
from sapiens_bench.errors import UsageError
from sapiens_bench.report.formats import render
from sapiens_bench.study import video_document
from sapiens_bench.study.design import Trial
from sapiens_bench.study.document import document
from sapiens_bench.study.effects import profiles
from sapiens_bench.study.realism import (
    KNOWN,
    UNCHECKED,
    UNCHECKED_OVER_TIME,
    agreement,
    agreement_over_time,
    exact_p,
    require_shared,
    said,
    spearman,
)
from sapiens_bench.study.video import Motion
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
    known = said([p.place for p in found], Catalog.load([]), is_beside=False)
    plain = render(document("corruption", found, n_draws=10, seed=0, facts={}, realism=known), "text")
    assert UNCHECKED in " ".join(plain.split())  # of a protocol about which no card says anything
    assert "--beside RUN" in plain
    real = named({"a": 0.15, "b": 0.12, "c": 0.5, "d": 0.9, "e": 0.1}, "photographs")
    (agreed,) = agreement(found, real)
    assert agreed.rho == pytest.approx(0.8)
    page = document("corruption", found, n_draws=10, seed=0, facts={}, beside=[agreed])
    assert "rank correlation 0.80 over 4 models" in render(page, "text")
    assert page.data["realism"][0]["rho"] == pytest.approx(0.8)
    cells = [Cell("toy", "synthetic-humans", "plain", model, 6, 6, "") for model in errors]
    require_shared(cells, real.members, real.path)
    with pytest.raises(UsageError, match="Of this study's 4 it has none"):
        require_shared(cells, rendered.members, rendered.path)  # the same pictures tell nothing of others
    two = named({"a": 0.1, "b": 0.2}, "photographs")
    with pytest.raises(UsageError, match="it has a, b"):
        require_shared(cells, two.members, two.path)
    with pytest.raises(UsageError, match="fewer than three"):
        agreement(found, named({"a": 0.1, "b": 0.2}, "photographs"))
    other = [replace(p, key="grey/rmse") for p in found]  # a protocol of the photographs without the study's score
    with pytest.raises(UsageError, match="have grey/rmse there"):
        agreement(other, real)


def test_the_card_says_what_is_known_and_its_numbers_are_those_of_the_table_in_the_docs(repository: Path) -> None:
    catalog = Catalog.load([])
    (said_of_pose,) = [
        text for text in said([("synthetic-humans", "gt-box")], catalog, is_beside=True) if KNOWN in text
    ]
    page = (repository / "docs" / "study.md").read_text(encoding="utf-8")
    rows = {
        m[1]: [float(v) for v in m[2].split("|")] for m in re.finditer(r"^\| (\d+ [^|]+) \| ([\d. |]+) \|$", page, re.M)
    }
    (real,) = [name for name in rows if name.endswith("photographs")]
    for name, values in rows.items():
        if name != real:
            assert f"rank correlation {spearman(values, rows[real]):.2f}" in said_of_pose
            assert f"exact p {exact_p(values, rows[real]):.3f}" in said_of_pose
    assert real in said_of_pose.replace("photographs of COCO", "photographs")
    assert len(rows) == 3


def test_what_was_not_checked_is_said_for_every_other_protocol_and_over_time() -> None:
    catalog = Catalog.load([])
    for protocol in ("seg", "depth", "normal", "matting", "wholebody133"):
        assert UNCHECKED in said([("synthetic-humans", protocol)], catalog, is_beside=False)
    assert UNCHECKED_OVER_TIME in said([("synthetic-humans", "gt-box")], catalog, is_beside=False, over_time=True)
    assert "photographs" not in said([("synthetic-humans", "gt-box")], catalog, is_beside=False, over_time=True)[-1]
    assert said([("coco-val", "gt-box")], catalog, is_beside=False) == []


def motion(model: str, dataset: str, jitter: float) -> Motion:
    undefined = (float("nan"),) * 3
    values = {"position": undefined, "velocity": undefined, "acceleration": undefined, "jitter": (jitter, 0.0, 1.0)}
    return Motion("pose", dataset, "p", model, model, 48, 2, 2, values)


def test_ranks_over_time_stand_beside_those_on_other_frames() -> None:
    here = [motion(m, "synthetic-humans", j) for m, j in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4))]
    there = [motion(m, "hi4d", j) for m, j in (("a", 0.15), ("b", 0.12), ("c", 0.5), ("d", 0.9))]
    sheet = agreement_over_time(here, there)
    assert sheet.rows == (("Jitter px", "4", "0.80", "0.167"),)
    text = render(video_document.document(here, n_draws=9, seed=0, facts={}, beside=[sheet]), "text")
    assert "Ranks on synthetic-humans p and on hi4d p" in text
    with pytest.raises(UsageError, match="fewer than three"):
        agreement_over_time(here, there[:2])
    with pytest.raises(UsageError, match="fewer than three"):
        agreement_over_time(here, here)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["boxes", "--boxes", "jitter:x"], "jitter:<fraction>"),
        (["boxes", "--boxes", "jitter:0.1", "--beside", "nowhere"], "nowhere"),
        (["corruption", "--only", "fog", "--boxes", "jitter:x"], "jitter:<fraction>"),
    ],
)
def test_boxes_and_runs_that_are_not_there_are_refused_before_anything_is_made(
    tmp_path: Path, words: list[str], told: str
) -> None:
    usual = ["--task", "pose", "--models", "movenet-lightning", "--dataset", "synthetic-humans", "--split", "tiny"]
    found = CliRunner().invoke(app, ["study", *words, *usual, "--limit", "2", "--out", str(tmp_path / "s")])
    assert found.exit_code != 0
    assert told in " ".join(found.output.split())
    assert not (tmp_path / "s").exists()
