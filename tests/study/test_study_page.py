"""The page of a study: its figure, the worst level of each thing changed with pictures, and nothing from elsewhere."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from study_sides import side
from typer.testing import CliRunner

from sapiens_bench.cli import app
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.report.figures import canvas
from sapiens_bench.report.formats import render as render_table
from sapiens_bench.report.page import Layer
from sapiens_bench.report.sheet import Document, Picture
from sapiens_bench.report.study_page import render
from sapiens_bench.study import design, figure, folder, stored
from sapiens_bench.study.design import Trial
from sapiens_bench.study.document import document
from sapiens_bench.study.effects import profiles
from sapiens_bench.study.page import Pictures, page
from sapiens_bench.study.panels import panels
from sapiens_bench.study.pictures import _first, _kind, telling_keys, worst_level, worst_levels

TRIALS = [Trial(f"{name}-{level}", name, str(level), {}) for name in ("fog", "noise") for level in (1, 5)]
CONDITION = {"name": "fog", "level": 1, "seed": 0, "version": 1, "of_manifest_sha256": "m"}


def profile_of(changes: dict[str, list[float]]) -> Any:
    """Profiles of models whose error moves by so much under each of ``TRIALS``."""
    clean = np.random.default_rng(0).uniform(0.2, 0.4, 12)
    reference = side(dict.fromkeys(changes, clean))
    under = [
        (t, side({m: clean + c[i] for m, c in changes.items()}, manifest_sha256="m+", condition=CONDITION))
        for i, t in enumerate(TRIALS)
    ]
    return profiles("corruption", reference, under, n_draws=50)


def toy_study() -> design.Study:
    base = Request(task="toy", models=("toy-plain", "toy-biased"), datasets=("toy",), device="cpu", n_boot=0, workers=1,
                   shard_size=30)  # fmt: skip
    return design.corruption(base, ["fog", "contrast"], [1, 5])


@pytest.fixture
def finished(toy: ModuleType, tmp_path: Path) -> Path:
    catalog = toy.toy_catalog()
    folder.fill(toy_study(), tmp_path / "s", lambda r: resolve(r, catalog), lambda plan, trial, number: run(plan))
    return tmp_path / "s"


def test_the_worst_level_is_that_which_costs_most_and_none_where_nothing_costs_anything(toy: ModuleType) -> None:
    found = profile_of({"a": [0.1, 0.05, -0.1, -0.2], "b": [0.01, 0.2, 0.0, 0.0]})
    assert worst_level(found[0], "fog").trial.level == "1"  # type: ignore[union-attr]
    assert worst_level(found[0], "noise") is None
    worst = worst_levels(found)
    assert (worst["fog"].profile.model, worst["fog"].effect.trial.name) == ("b", "fog-5")  # type: ignore[union-attr]
    assert worst["noise"] is None


def test_shown_are_the_picture_that_loses_most_and_one_in_the_middle() -> None:
    before = {"a": 0.9, "b": 0.8, "c": 0.7, "d": float("nan")}
    after = {"a": 0.8, "b": 0.1, "c": 0.7, "d": 0.0, "e": 1.0}
    assert telling_keys(before, after, higher_is_better=True) == ["b", "a"]
    assert telling_keys(before, after, higher_is_better=False) == ["c", "a"]
    assert telling_keys({}, {}, higher_is_better=True) == []


def test_points_lie_over_the_whole_picture_and_maps_over_one_half() -> None:
    points, drawn, truth = Layer("m1", "M"), Layer("m1", "M", uri="data:x"), Layer("truth", "truth", uri="data:x")
    assert _first([truth, points], 1) == ("m1", "m1")
    assert _first([truth, drawn], 1) == ("m1", "")
    assert _first([truth], 1) == ("truth", "")
    assert _first([], 0) == ("", "")


def test_every_panel_has_one_scale_and_says_its_numbers_in_words(toy: ModuleType) -> None:
    found = profile_of({"a": [0.1, 0.05, -0.1, -0.2], "b": [0.01, 0.2, 0.0, 0.0]})
    drawn = panels(found, "p0")
    assert [p.title for p in drawn] == ["fog", "noise"]
    for panel in drawn:
        words = re.search(r'role="img" aria-label="([^"]+)"', panel.svg)
        assert words is not None
        assert "A: " in words[1]
        assert "under the reference" in words[1]
    scales = [set(re.findall(r"<text[^>]*>([−\d.]+)</text>", p.svg)) - {"1", "5"} for p in drawn]
    assert scales[0] == scales[1]
    assert not {"#0072b2", "#e3e6ea"} & set(re.findall(r"#[0-9a-f]{6}", drawn[0].svg))  # colours are the page's


def test_bands_of_few_groups_end_where_the_score_does(toy: ModuleType) -> None:
    found = profile_of({"a": [0.0, 0.0, 0.0, 0.0]})
    wide = [replace(e, found=replace(e.found, low=-9.0, high=9.0)) for e in found[0].effects]
    error = replace(found[0], effects=tuple(wide))
    low = figure.range_of([error])[0]
    assert low == pytest.approx(-0.05 * (9 + error.reference))  # an error is not below zero
    share = replace(error, info=replace(error.info, percent=True))
    assert figure.range_of([share]) == pytest.approx((-5, 105))


def test_the_band_beside_a_condition_that_is_not_seen_is_drawn(toy: ModuleType) -> None:
    found = profile_of({"a": [0.1, 0.05, -0.1, -0.2]})[0]
    first, second = (e for e in found.effects if e.trial.series == "fog")
    none = replace(first, is_unseen=True, found=replace(first.found, b=found.reference, low=math.nan, high=math.nan))
    wide = replace(second, found=replace(second.found, low=-0.2, high=0.3))
    with canvas("band", 2.0) as (_, axes, _):
        figure.lines(axes, "fog", [replace(found, effects=(none, wide))])
        corners = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    ends = corners[corners[:, 0] == 2, 1] - found.reference
    assert (ends.min(), ends.max()) == pytest.approx((-0.2, 0.3))
    assert set(corners[corners[:, 0] == 1, 1]) == {found.reference}


def test_names_of_levels_are_whole_words_tilted_where_they_would_overlap(toy: ModuleType) -> None:
    found = profile_of({"a": [0.1, 0.05, -0.1, -0.2]})[0]
    names = ["short_sleeves", "long_sleeves", "sleeveless", "shorts"]
    effects = [
        replace(e, trial=Trial(f"clothing-{name}", "clothing", name, {})) for e, name in zip(found.effects, names)
    ]
    for shown, tilted in ((effects, True), (effects[3:], False)):
        with canvas("levels", 2.0) as (drawing, axes, _):
            figure.lines(axes, "clothing", [replace(found, effects=tuple(shown))])
            drawing.draw_without_rendering()
            ticks = axes.get_xticklabels()
            assert [t.get_text() for t in ticks[1:]] == [e.trial.level.replace("_", " ") for e in shown]
            assert {t.get_rotation() > 0 for t in ticks} == {tilted}
            assert {t.get_horizontalalignment() for t in ticks} == {"right" if tilted else "center"}
    (panel,) = panels([replace(found, effects=tuple(effects))], "p0")
    assert "short sleeves" in panel.svg
    assert "_" not in re.search(r'aria-label="([^"]+)"', panel.svg)[1]  # type: ignore[index]


def test_the_page_holds_figure_and_pictures_and_asks_for_nothing(finished: Path, toy: ModuleType) -> None:
    study = stored.read_study(finished)
    found = stored.measured(study, n_draws=50)
    made = page(study, found, stored.told(study, found, n_draws=50), Pictures(toy.toy_catalog(), embed=True))
    (part,) = made.parts
    assert [w.title.split()[0] for w in part.worst] == ["contrast", "fog"]
    shown = [pair for w in part.worst for pair in w.pairs]
    assert shown
    assert all(pair.before.picture.startswith("data:image/") and pair.after.picture for pair in shown)
    assert all(pair.before.picture != pair.after.picture for pair in shown)
    assert {pair.before.key.partition(" · ")[0] for pair in shown} == {"reference"}
    text = render(made)
    assert text.count("<svg") >= 2
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert "prefers-color-scheme: dark" in text
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", text))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("number", "lost", "said"),
    [
        (0, 0.2, "Loses most"),
        (0, 0.0, "No picture loses by itself"),
        (1, 0.2, "In the middle"),
        (1, 0.0, "In the middle"),
    ],
)
def test_no_picture_is_said_to_lose_what_it_does_not(number: int, lost: float, said: str) -> None:
    assert _kind(number, lost) == said


def test_pictures_that_may_not_be_shown_are_left_out_with_the_way_to_show_them(
    finished: Path, toy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sapiens_bench.publish.place.FREE", ())
    study = stored.read_study(finished)
    found = stored.measured(study, n_draws=50)
    made = page(study, found, stored.told(study, found, n_draws=50), Pictures(toy.toy_catalog()))
    assert not any(w.pairs for w in made.parts[0].worst)
    assert "--with-pictures" in render(made)


def test_report_of_a_study_is_its_page_and_names_the_figure_in_markdown_and_latex(
    finished: Path, tmp_path: Path
) -> None:
    found = CliRunner().invoke(app, ["report", str(finished), "--format", "html", "--out", str(tmp_path / "r.html")])
    assert found.exit_code == 0, found.output
    text = (tmp_path / "r.html").read_text()
    assert "Scores over levels" in text
    assert "Worst level of each" in text
    found = CliRunner().invoke(app, ["report", str(finished), "--format", "md", "--out", str(tmp_path / "r.md")])
    assert found.exit_code == 0, found.output
    (link,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (tmp_path / "r.md").read_text())
    assert (tmp_path / link).is_file()
    found = CliRunner().invoke(app, ["report", str(finished), "--format", "latex"])
    (shown,) = re.findall(r"\\includegraphics\[[^]]+\]\{\\detokenize\{([^}]+)\}\}", found.stdout)
    assert Path(shown).is_file()


def test_a_path_that_latex_cannot_include_is_a_comment() -> None:
    text = render_table(Document("t", (), pictures=(Picture("a b%/x.png", "w"),)), "latex")
    assert "includegraphics" not in text
    assert r"% figure: a b\%/x.png" in text
    assert "](a%20b%25/x.png)" in render_table(Document("t", (), pictures=(Picture("a b%/x.png", "w"),)), "md")


def test_the_figure_of_a_folder_that_cannot_be_written_is_told_and_the_tables_come(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sapiens_bench.errors import StorageFull

    def full(*_: object) -> None:
        raise StorageFull("no room")

    monkeypatch.setattr(figure, "draw", full)
    found = CliRunner().invoke(app, ["report", str(finished), "--format", "md"])
    assert found.exit_code == 0, found.output
    assert "not drawn anew: no room" in found.stderr
    assert "fog 5" in found.stdout


def test_damaged_rows_are_told_as_damaged_and_the_same_study_computes_them_again(
    finished: Path, toy: ModuleType
) -> None:
    shard = next((finished / "fog-1" / "rows").rglob("shard-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-40])
    study = stored.read_study(finished)
    assert (study.missing, [name for name, _ in study.damaged]) == ((), ["fog-1"])
    found = CliRunner().invoke(app, ["report", str(finished)])
    said = " ".join(found.output.split())
    assert found.exit_code != 0
    assert "fog-1 cannot be read" in said
    assert "without a run" not in said
    assert "same `study` command" in said
    folder.fill(toy_study(), finished, lambda r: resolve(r, toy.toy_catalog()), lambda plan, trial, number: run(plan))
    assert stored.read_study(finished).incomplete == ""


def test_a_lost_reference_is_told_as_lost(finished: Path) -> None:
    (finished / "clean" / "run.json").rename(finished / "clean" / "gone")
    said = " ".join(CliRunner().invoke(app, ["report", str(finished)]).output.split())
    assert "its reference, clean, is not there. The same `study` command" in said
    assert "printed" not in said


def test_a_change_of_nothing_at_every_level_has_no_level(toy: ModuleType) -> None:
    found = profile_of({"a": [0.0, 0.0, 0.0, 0.1]})
    sheet = next(s for s in document("corruption", found, n_draws=50, seed=0, facts={}).sheets if "Largest" in s.title)
    assert [row[1] for row in sheet.rows] == ["not seen", "0.1000 at 5"]
