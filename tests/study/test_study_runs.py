"""A study from request to tables: ordinary runs in one folder, resumed after a stop, told in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.sides import read_side
from sapiens_bench.engine.events import ShardDone, ignore
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.errors import StoreError, UnknownName, UsageError
from sapiens_bench.render.factors import FACTORS
from sapiens_bench.report.formats import render
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import read_run
from sapiens_bench.study import design, effects, figure, folder, power, stored
from sapiens_bench.study.design import Study, Trial
from sapiens_bench.study.document import document, series_p
from sapiens_bench.study.sight import changes_pictures_alone, is_unseen, require_sight


def base(**fields: Any) -> Request:
    usual: dict[str, Any] = {"task": "toy", "models": ("toy-plain",), "datasets": ("toy",), "device": "cpu"}
    return Request(**{**usual, "n_boot": 0, "workers": 1, "shard_size": 10, "max_errors": 1.0, **fields})


def rendered(names: list[str], levels: str = "5", pairs: int = 20) -> Study:
    return design.factor(base(task="pose", datasets=()), names, levels, pairs)


def fill(toy: ModuleType, study: Study, out: Path, on_event: Callable[[object], None] = ignore) -> list[str]:
    catalog = toy.toy_catalog()
    return folder.fill(study, out, lambda r: resolve(r, catalog), lambda plan, trial, number: run(plan, on_event))


def told(study: Study, out: Path) -> list[effects.Profile]:
    sides = [(trial, read_side(out / trial.name)) for trial in study.all]
    return effects.profiles(study.kind, sides[0][1], sides[1:], n_draws=200)


def test_a_model_whose_error_grows_with_the_condition_is_measured(toy: ModuleType, tmp_path: Path) -> None:
    """The toy names the grey of flat pictures without error; contrast moves each grey by an amount that is known."""
    study = design.corruption(base(), ["contrast"], [2, 5])
    assert fill(toy, study, tmp_path / "s") == []
    (found,) = told(study, tmp_path / "s")
    grey = np.arange(30) * 37 % 256
    for effect, share in zip(found.effects, (0.5, 0.12), strict=True):
        planted = np.abs(np.rint(128 + share * (grey - 128)) - grey).mean() / 255
        assert effect.found.difference == pytest.approx(planted, abs=1e-6)
        assert effect.found.low < planted < effect.found.high
        assert effect.p_holm < 0.05
    assert found.reference == pytest.approx(0, abs=1e-6)


def test_runs_under_a_condition_are_ordinary(toy: ModuleType, tmp_path: Path) -> None:
    study = design.resolution(base(), [8, 9])  # the toy's pictures are 8 x 8
    fill(toy, study, tmp_path / "s")
    record = read_run(tmp_path / "s" / "side-9")
    assert (record.status, record.request["condition"]) == ("done", {"name": "resolution", "level": 9})
    cell = json.loads(next((tmp_path / "s" / "side-9").rglob("cell.json")).read_bytes())["fields"]
    clean = json.loads(next((tmp_path / "s" / "full").rglob("cell.json")).read_bytes())["fields"]
    assert cell["condition"]["of_manifest_sha256"] == clean["manifest_sha256"] != cell["manifest_sha256"]
    assert "condition" not in clean
    with pytest.raises(UsageError, match=r"Nothing to tell of toy-plain.*keeps its bits"):
        effects.sighted(told(study, tmp_path / "s"))


def test_a_condition_that_reaches_no_row_is_said_not_to_and_holm_does_not_count_it(
    toy: ModuleType, tmp_path: Path
) -> None:
    contrast = design.corruption(base(), ["contrast"], [1, 5])
    fill(toy, contrast, tmp_path / "s")
    (alone,) = told(contrast, tmp_path / "s")
    same = Trial("same", "nothing", "1", {"condition": {"name": "resolution", "level": 9}})
    study = Study("corruption", contrast.base, contrast.reference, (*contrast.trials, same))
    fill(toy, study, tmp_path / "s")
    (found,) = told(study, tmp_path / "s")
    assert [e.is_unseen for e in found.effects] == [False, False, True]
    assert [e.p_holm for e in found.effects[:2]] == [e.p_holm for e in alone.effects]
    assert series_p(found) == series_p(alone)
    assert np.isnan([found.effects[2].p_holm, found.effects[2].found.p_value, found.effects[2].found.low]).all()
    text = render(document("corruption", [found], n_draws=200, seed=0, facts={}), "text")
    assert "2 of 2" in text
    assert text.count("not seen") == 2
    assert "Not seen: every row keeps its bits" in text
    data = json.loads(render(document("corruption", [found], n_draws=200, seed=0, facts={}), "json"))
    unseen = data["profiles"][0]["conditions"][2]
    assert (unseen["unseen"], unseen["p_holm"], unseen["smallest_seen"], unseen["low"]) == (True, None, None, None)


def test_a_model_that_fails_on_every_picture_is_said_to_fail_and_not_to_see_nothing(
    toy: ModuleType, tmp_path: Path
) -> None:
    """Its misses have equal bits under every condition, which says nothing about what reaches it."""
    study = design.corruption(base(options={"finish_faults": list(range(30))}), ["contrast"], [1, 5])
    fill(toy, study, tmp_path / "s")
    found = told(study, tmp_path / "s")
    assert effects.sighted(found) == found
    assert [(e.is_unseen, e.found.difference, e.p_holm) for e in found[0].effects] == [(False, 0, 1), (False, 0, 1)]
    page = stored.told(stored.read_study(tmp_path / "s"), found, n_draws=200)
    (said,) = [note for note in page.notes if "count as misses" in note]
    assert "(first cause: model.exception)" in said
    assert "30 of 30 under the reference, 30 of 30 under contrast-1, 30 of 30 under contrast-5." in said


def test_a_condition_under_which_a_model_begins_to_fail_is_seen(toy: ModuleType, tmp_path: Path) -> None:
    """Also where a miss has the numbers of the answer before it, or another cause."""
    rows = read_side_of_one_run(toy, tmp_path)
    failed = [("error_side", "prediction"), ("error_code", "pred.nonfinite")]
    for name, value in failed:
        column = [value, *rows[name].to_pylist()[1:]]
        other = rows.set_column(rows.column_names.index(name), name, pa.array(column))
        assert not is_unseen(rows, other)
    elsewhere = rows.set_column(rows.column_names.index("key"), "key", pa.array([f"x{i}" for i in range(len(rows))]))
    assert is_unseen(rows, elsewhere.append_column("attr/light", pa.array([0.5] * len(rows))))
    assert not is_unseen(rows.slice(0, 0), rows.slice(0, 0))


def read_side_of_one_run(toy: ModuleType, folder: Path) -> pa.Table:
    study = design.corruption(base(limit=4), ["contrast"], [1])
    fill(toy, study, folder / "s")
    return read_side(folder / "s" / study.reference.name).members[0].rows


def test_floors_that_look_at_nothing_are_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    catalog = Catalog.load()

    def seen(names: list[str], *models: str) -> list[str]:
        study = design.factor(base(task="depth", models=models, datasets=()), names, "2", 4)
        plan = resolve(study.request(study.reference, tmp_path / "r"), catalog)
        return require_sight(study, plan.cells)

    for model, why in (("floor-median-depth", "without looking"), ("oracle-depth", "from the truth")):
        with pytest.raises(UsageError, match=f"{model} answers {why}.*skin_tone, resolution.*no number could move"):
            seen(["skin_tone", "resolution"], model)
        assert seen(["skin_tone", "camera_pitch"], model) == []  # the truth moves
    both = seen(["skin_tone"], "floor-median-depth", "floor-silhouette-depth")
    assert both == ["floor-median-depth answers without looking at the picture: it will be left out of the tables."]
    shifted = design.corruption(base(task="pose", datasets=("synthetic-humans",)), ["crop_shift"])
    assert not any(changes_pictures_alone(trial) for trial in shifted.trials)


def test_a_condition_of_pixels_is_compared_with_the_reference_of_a_factor_study(
    toy: ModuleType, tmp_path: Path
) -> None:
    """As resolution is, which leaves the toy's flat pictures as they are."""
    paler = Trial("contrast-5", "contrast", "5", {"condition": {"name": "contrast", "level": 5}})
    study = Study("factor", base(limit=10), Trial("as-drawn", "as drawn", "as drawn", {}), (paler,))
    assert fill(toy, study, tmp_path / "s") == []
    (found,) = told(study, tmp_path / "s")
    assert [e.trial.name for e in found.effects] == ["contrast-5"]
    assert found.effects[0].found.difference > 0.1


def test_a_stopped_study_goes_on_without_losing_a_row(toy: ModuleType, tmp_path: Path) -> None:
    study = design.corruption(base(), ["fog"], [1, 3])
    done: list[object] = []

    def stop_in_the_second_run(event: object) -> None:
        if isinstance(event, ShardDone):
            done.append(event)
            if len(done) == 5:
                raise KeyboardInterrupt

    with pytest.raises(BaseException, match="Stopped"):
        fill(toy, study, tmp_path / "s", stop_in_the_second_run)
    first = len(done)
    assert fill(toy, study, tmp_path / "s", lambda e: done.append(e) if isinstance(e, ShardDone) else None) == []
    assert (first, len(done)) == (5, 9)  # three shards a run: none is computed twice
    assert [e.trial.name for e in told(study, tmp_path / "s")[0].effects] == ["fog-1", "fog-3"]


def test_a_study_is_written_in_every_format_with_its_figure(toy: ModuleType, tmp_path: Path) -> None:
    study = design.corruption(base(), ["fog", "noise"], [1, 5])
    fill(toy, study, tmp_path / "s")
    found = told(study, tmp_path / "s")
    page = document("corruption", found, n_draws=200, seed=0, facts={"folder": "s"})
    for fmt in ("text", "md", "latex", "html", "csv", "json"):
        text = render(page, fmt)
        assert "fog" in text, fmt
        assert "noise" in text, fmt
    data = json.loads(render(page, "json"))
    (profile,) = data["profiles"]
    assert (data["schema"], data["kind"], profile["model"]) == ("study/1", "corruption", "toy-plain")
    assert [c["name"] for c in profile["conditions"]] == ["noise-1", "noise-5", "fog-1", "fog-5"]
    assert [(c["level"], c["confidence"]) for c in profile["conditions"]] == [(level, 0.95) for level in "1515"]
    files = figure.draw(found, tmp_path)
    assert [path.suffix for path in files] == [".png", ".svg"]
    before = [path.read_bytes() for path in files]
    figure.draw(found, tmp_path)
    assert [path.read_bytes() for path in files] == before
    assert b"fog" in before[1]


def test_other_pictures_in_the_folder_are_refused_and_the_study_stays_as_it_was(
    toy: ModuleType, tmp_path: Path
) -> None:
    folder.begin(design.corruption(base(limit=4), ["fog"], [1]), tmp_path / "s")
    before = (tmp_path / "s" / folder.FILE).read_bytes()
    with pytest.raises(UsageError, match="a study with limit 4, asked for is 6"):
        folder.begin(design.corruption(base(limit=6), ["noise"], [3]), tmp_path / "s")
    assert (tmp_path / "s" / folder.FILE).read_bytes() == before


def test_another_study_or_other_files_in_the_folder_are_refused(toy: ModuleType, tmp_path: Path) -> None:
    study = design.corruption(base(), ["fog"], [1])
    folder.begin(study, tmp_path / "s")
    with pytest.raises(UsageError, match="kind 'corruption'"):
        folder.begin(design.resolution(base()), tmp_path / "s")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        folder.begin(study, tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        folder.begin(study, tmp_path / "file")
    (tmp_path / "s" / "study.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        folder.begin(study, tmp_path / "s")


def test_models_without_a_number_are_named_with_the_reason(toy: ModuleType, tmp_path: Path) -> None:
    study = design.corruption(base(models=("toy-plain", "toy-oracle"), options={"fail_at_build": True}), ["fog"], [1])
    fill(toy, study, tmp_path / "s")
    (said,) = folder.not_measured(read_run(tmp_path / "s" / "clean"))
    assert said.startswith("Not measured, refused (")
    assert "no such layer" in said
    assert "toy-plain on toy" in said


def test_the_table_of_a_run_under_a_condition_says_so(toy: ModuleType, tmp_path: Path) -> None:
    study = design.corruption(base(), ["fog"], [3])
    fill(toy, study, tmp_path / "s")
    clean, foggy = (
        render(build(read_run(tmp_path / "s" / name), toy.toy_catalog()), "text") for name in ("clean", "fog-3")
    )
    assert "CONDITION: every picture under fog 3 (study)" in foggy
    assert "CONDITION" not in clean


def test_all_tasks_have_twelve_corruptions_or_more() -> None:
    for task in ("pose", "seg", "depth", "normal"):
        study = design.corruption(base(task=task))
        assert len({t.series for t in study.trials}) >= 12
        assert len(study.trials) == 5 * len({t.series for t in study.trials})
        assert ("crop_shift" in {t.series for t in study.trials}) is (task == "pose")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: design.corruption(base(), ["fogg"]), UnknownName, "Did you mean 'fog'"),
        (lambda: design.corruption(base(task="depth"), ["crop_shift"]), UsageError, "nothing would change"),
        (lambda: design.corruption(base(), [], [0]), UsageError, "1 .slight. to 5"),
        (lambda: design.corruption(base(), ["fogg"]), UnknownName, "Known: noise, impulse.*crop_shift"),
        (lambda: design.resolution(base(), [4]), UsageError, "8 pixels"),
        (lambda: design.resolution(base(), [99_999]), UsageError, "more than 2048 pixels"),
        (lambda: design.boxes(base(task="seg")), UsageError, "whole picture"),
        (lambda: design.boxes(base(task="pose"), ["gt"]), UsageError, "beside gt"),
        (lambda: rendered(["skin_tine"]), UnknownName, "Did you mean 'skin_tone'"),
        (lambda: rendered(["zzz"]), UnknownName, "Known: skin_tone, hair_colour.*people, all"),
        (lambda: rendered(["skin_tine", "age"]), UnknownName, "'skin_tone'.*Known: skin_tone, hair.*all"),
        (lambda: rendered(["clothing_colour"], "blck,grey"), UnknownName, "Did you mean 'black'"),
        (lambda: rendered(["clothing"], "9"), UsageError, "2 to 8"),
        (lambda: rendered(["clothing", "skin_tone"], "shorts"), UsageError, "one --factor"),
        (lambda: rendered(["resolution"], "512"), UsageError, "2 to 7"),
        (lambda: rendered(["resolution"], "64,tiny"), UnknownName, "tiny"),
        (lambda: design.factor(base(task="pose"), ["resolution"]), UsageError, "study resolution --dataset toy"),
        (lambda: rendered([]), UsageError, "--factor: skin_tone"),
        (lambda: rendered(["skin_tone"], pairs=1), UsageError, "2 to 1000"),
        (lambda: design.factor(base(task="pose", datasets=(), split="clips"), ["age"]), UsageError, "as drawn"),
        (lambda: design.factor(base(task="pose", datasets=(), split="tiny"), ["skin_tone"]), UsageError, "2 to 12"),
        (lambda: design.factor(base(task="pose"), ["skin_tone"]), UsageError, "toy has no factors"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(
    toy: ModuleType, make: Callable[[], Study], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        make()


def test_a_box_study_compares_with_the_boxes_of_the_truth() -> None:
    study = design.boxes(base(task="pose"), ["gt", "jitter:0.2", "jitter:0.4,3"])
    assert study.reference.change == {"boxes": "gt"}
    assert [t.change for t in study.trials] == [{"boxes": "jitter:0.2"}, {"boxes": "jitter:0.4,3"}]
    assert [t.name for t in study.trials] == ["jitter-0.2", "jitter-0.4-3"]
    assert isinstance(study.trials[0], Trial)
    several = design.boxes(base(task="pose"), ["jitter:0.1,jitter:0.3,7,gt", "detector:d,0.5"])  # as the help has it
    assert [t.change["boxes"] for t in several.trials] == ["jitter:0.1", "jitter:0.3,7", "detector:d,0.5"]


def test_a_factor_study_renders_people_of_its_own_against_the_same_as_drawn() -> None:
    study = rendered(["light_level"], "3", 40)
    assert (study.base.datasets, study.base.split, study.base.limit) == (("synthetic-humans",), "study", 40)
    assert study.reference.change == {}
    assert [t.change["data_options"]["factor"] for t in study.trials] == [f"light_level={v}" for v in ("-4", "-1", "2")]
    everything = rendered(["all"])
    assert {t.series for t in everything.trials} == {*FACTORS, "resolution"}
    assert len(everything.trials) == 5 + sum(min(5, len(f.names) or 5) for f in FACTORS.values())


def test_every_name_the_scene_is_split_into_is_known() -> None:
    names = ["skin tone", "age", "body-shape", "height", "gender presentation", "clothing", "hair", "light direction"]
    names += ["light_level", "camera_pitch", "Focal length", "distance", "truncation", "occluder", "background"]
    names += ["number of people", "resolution"]
    study = rendered(names, "2")
    assert len({t.series for t in study.trials}) == len(names)
    assert {t.series for t in study.trials} <= {*FACTORS, "resolution"}


def test_resolution_of_rendered_people_is_a_condition_on_the_pictures_of_the_reference() -> None:
    study = rendered(["resolution"], "3")
    assert [(t.name, t.level) for t in study.trials] == [(f"resolution-{n}", str(n)) for n in (256, 128, 64)]
    assert [t.level for t in rendered(["resolution"], "5").trials] == ["256", "192", "128", "64", "32"]
    request = study.request(study.trials[2], None)
    assert request.condition == {"name": "resolution", "level": 64}
    assert request.data_options == study.request(study.reference, None).data_options


def test_the_smallest_effect_and_the_pairs_for_it_belong_together() -> None:
    assert power.smallest_effect(100, 1) == pytest.approx((1.959964 + 0.841621) / 10, rel=1e-5)
    assert power.smallest_effect(9, 1) == pytest.approx((2.306004 + 0.841621) / 3, rel=1e-5)  # Student's t of 8
    assert power.smallest_effect(100, 10) > power.smallest_effect(100, 1) > power.smallest_effect(400, 1)
    needed = power.pairs_needed(0.3, 5)
    assert power.smallest_effect(needed, 5) <= 0.3 < power.smallest_effect(needed - 1, 5)
    power.require(0.3, needed, 5)
    with pytest.raises(UsageError, match=f"takes {needed} pairs"):
        power.require(0.3, needed - 1, 5)
    for effect in (0.27, 0.29, 1.5):  # on either side of where intervals become Student's
        few = power.pairs_needed(effect, 5)
        assert power.smallest_effect(few, 5) <= effect < power.smallest_effect(few - 1, 5)
    with pytest.raises(UsageError, match="above 0"):
        power.require(0.0, 10, 5)
