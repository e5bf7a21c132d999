"""The paper's tables: what was measured stands below what is printed, and a difference only where one may be formed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import UsageError
from sapiens_bench.profiling.record import CountRecord, ProfileRecord, ProfileRow
from sapiens_bench.report.costs import cost_table
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.paper import TABLES, paper_table
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.report.tables import Chosen
from sapiens_bench.store.record import CellRecord, Counts, RunRecord, ScoreRecord


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def depth_cell(model: str, protocol: str, rmse: float, **changes: Any) -> CellRecord:
    facts: dict[str, Any] = {
        "task": "depth", "dataset": "hi4d", "protocol": protocol, "model": model, "title": model, "status": "done",
        "headline": "depth/rmse", "counts": Counts(planned=1195, ok=1195),
        "scores": {
            "depth/rmse": ScoreRecord(value=rmse, low=rmse - 0.01, high=rmse + 0.01, title="RMSE", unit="m", decimals=4,
                                      higher_is_better=False, n_groups=120),
            "depth/delta1": ScoreRecord(value=0.99, title="δ1", percent=True, decimals=1, n_groups=120),
        },
    }  # fmt: skip
    return CellRecord(**{**facts, **changes})


def run_of(*cells: CellRecord, **changes: Any) -> RunRecord:
    return RunRecord(**{"status": "done", "task": "depth", "cells": list(cells), **changes})


def lines(sheet: Sheet, source: str) -> dict[str, tuple[str, ...]]:
    """Rows below the printed row of their model: printed name -> cells of the line that starts with ``source``."""
    found, name = {}, ""
    for row in sheet.rows:
        name = row[0] or name
        if row[1].startswith(source):
            found[name] = row[1:]
    return found


def hi4d(document: Any) -> Sheet:
    return next(sheet for sheet in document.sheets if sheet.title.endswith("hi4d"))


def test_the_difference_is_measured_minus_printed_in_the_printed_unit(catalog: Catalog) -> None:
    """Printed 0.125; measured 0.131, so the difference is 0.006 by hand."""
    run = run_of(depth_cell("sapiens-1b-depth", "depth-list", 0.131))
    sheet = hi4d(paper_table("paper-depth", [("r", run)], catalog))
    assert lines(sheet, "printed")["Sapiens-1B"] == ("printed", "0.125†", "0.039†", "1.000†")
    assert lines(sheet, "measured")["Sapiens-1B"][1] == "0.131 [0.121, 0.141] (+0.006)"
    assert sheet.heads == ("Model", "From", "RMSE m ↓", "AbsRel ↓", "δ1 ↑")
    assert lines(sheet, "measured")["Sapiens-1B"][3] == "0.990 (-0.010)"  # the paper prints a share, we per cent


@pytest.mark.parametrize(
    ("protocol", "changes", "request_", "said"),
    [
        ("depth-all", {}, {}, "measured under hi4d/depth-all, not the printed protocol"),
        ("depth-list", {}, {"limit": 8}, "the first 8 images"),
        ("depth-list", {}, {"split": "tiny"}, "split 'tiny'"),
        ("depth-list", {}, {"options": {"flip_test": False}}, "flip_test=False"),
        ("depth-list", {}, {"data_options": {"erode": 3}}, "options over the protocol: erode=3"),
        ("depth-list", {"status": "incomplete", "counts": Counts(planned=1195, ok=64)}, {}, "64 of 1195 images"),
    ],
)
def test_what_is_other_than_in_print_is_marked_and_gets_no_difference(
    catalog: Catalog, protocol: str, changes: dict[str, Any], request_: dict[str, Any], said: str
) -> None:
    run = run_of(depth_cell("sapiens-1b-depth", protocol, 0.131, **changes), request=request_)
    sheet = hi4d(paper_table("paper-depth", [("r", run)], catalog))
    row = lines(sheet, "measured")["Sapiens-1B"]
    assert row[:2] == ("measured (a)", "0.131 [0.121, 0.141]")
    assert any(note.startswith("(a) ") and said in note and "no difference" in note for note in sheet.notes)


def test_other_boxes_forbid_a_difference(catalog: Catalog) -> None:
    cell = CellRecord(
        task="pose", dataset="coco-val2017", protocol="detector-70", model="sapiens-1b-coco17", title="S",
        status="done", headline="oks/AP",
        scores={"oks/AP": ScoreRecord(value=0.82, title="AP", percent=True, decimals=1)},
        counts=Counts(planned=5000, ok=5000),
    )  # fmt: skip
    for boxes, has_difference in (("", True), ("gt", False)):
        run = RunRecord(status="done", task="pose", cells=[cell], request={"boxes": boxes})
        document = paper_table("paper-pose", [("r", run)], catalog)
        sheet = next(s for s in document.sheets if s.title.endswith("coco-val2017"))
        text = lines(sheet, "measured")["Sapiens-1B"][1]
        assert text == ("82.0 (-0.1)" if has_difference else "82.0")


def test_several_runs_stand_below_each_other_under_their_names(catalog: Catalog) -> None:
    runs = [(n, run_of(depth_cell("sapiens-1b-depth", "depth-list", v))) for n, v in (("one", 0.13), ("two", 0.12))]
    sheet = hi4d(paper_table("paper-depth", runs, catalog))
    start = next(i for i, row in enumerate(sheet.rows) if row[0] == "Sapiens-1B")
    assert [row[1] for row in sheet.rows[start : start + 3]] == ["printed", "measured one", "measured two"]


def test_models_that_the_paper_does_not_have_come_last(catalog: Catalog) -> None:
    run = run_of(
        depth_cell("my-model", "depth-list", 0.1), depth_cell("oracle-depth", "depth-list", 0, kind="diagnostic")
    )
    sheet = hi4d(paper_table("paper-depth", [("r", run)], catalog))
    assert sheet.rows[-1][:3] == ("my-model", "measured", "0.100 [0.090, 0.110]")
    assert not any("oracle" in row[0] for row in sheet.rows)


def test_a_data_set_that_no_paper_has_is_shown_under_the_same_columns(catalog: Catalog) -> None:
    run = run_of(depth_cell("my-model", "depth", 0.1, dataset="synthetic-humans"))
    sheet = paper_table("paper-depth", [("r", run)], catalog).sheets[-1]
    assert sheet.title == "synthetic-humans, depth: not in the paper"
    assert sheet.rows == (("my-model", "measured", "0.1000 [0.0900, 0.1100]", "0.990"),)


def test_what_was_not_recovered_from_print_is_named_and_never_shown_as_a_number(catalog: Catalog) -> None:
    document = paper_table("paper-depth", [("r", run_of())], catalog)
    assert any("thuman2 (upper): no number was recovered" in note for note in document.notes)
    assert "Sapiens-0.6B" in next(note for note in hi4d(document).notes if "not recovered" in note)
    assert "Sapiens-0.6B" not in {row[0] for row in hi4d(document).rows}


def test_conflicting_numbers_carry_their_note(catalog: Catalog) -> None:
    sheet = paper_table("paper-pose", [("r", RunRecord(status="done", task="pose"))], catalog).sheets[0]
    assert lines(sheet, "printed")["DWPose-l"][1] == "53.1§(1)"
    assert any(note.startswith("(1) DWPose-l, AP: 53.1 in two transcriptions") for note in sheet.notes)


def test_intervals_over_two_groups_are_not_to_be_trusted_here_either(catalog: Catalog) -> None:
    cell = depth_cell("sapiens-1b-depth", "depth-list", 0.131)
    for score in cell.scores.values():
        score.n_groups = 2
    sheet = hi4d(paper_table("paper-depth", [("r", run_of(cell))], catalog))
    assert "Intervals over 2 groups are not to be trusted." in sheet.notes


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_table_comes_in_every_format(catalog: Catalog, name: str, form: str) -> None:
    text = render(paper_table(name, [("r", RunRecord(status="done", task=TABLES[name][0]))], catalog), form)
    assert re.search("Sapiens2?-1B", text)


def test_as_json_the_table_holds_numbers(catalog: Catalog) -> None:
    run = run_of(depth_cell("sapiens-1b-depth", "depth-list", 0.131))
    data = json.loads(render(paper_table("paper-depth", [("r", run)], catalog), "json"))
    part = next(part for part in data["parts"] if part["entry"] == "sapiens1-t5-hi4d")
    assert part["printed"]["Sapiens-1B"]["depth/rmse"]["value"] == 0.125
    assert part["measured"][0]["scores"]["depth/rmse"]["difference"] == pytest.approx(0.006)
    assert part["measured"][0]["printed_row"] == "Sapiens-1B"


def test_an_undefined_score_has_no_difference(catalog: Catalog) -> None:
    run = run_of(depth_cell("sapiens-1b-depth", "depth-list", math.nan))
    assert lines(hi4d(paper_table("paper-depth", [("r", run)], catalog)), "measured")["Sapiens-1B"][1] == "–"


def test_a_run_of_another_task_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="'depth'; --table paper-pose is about pose"):
        paper_table("paper-pose", [("r", run_of())], catalog)


def test_costs_stand_beside_the_scores_they_buy(rows: SimpleNamespace) -> None:
    counted = ProfileRow(
        model="a", title="Model A", family="a", task="pose", status="counted",
        counts=CountRecord(params_total=3 * 10**6, macs_linear=1, macs_total=5 * 10**8),
    )  # fmt: skip
    run = RunRecord(status="done", task="pose", cells=[rows.pose("a", "Model A", 0.5)])
    sheet = cost_table([("r", run)], [ProfileRecord(rows=[counted])]).sheets[0]
    assert sheet.heads == (
        "Model",
        "Task",
        "Operations per crop, GFLOPs",
        "Parameters, M",
        "AP % ↑ (synthetic-humans/gt-box)",
    )
    assert sheet.rows == (("Model A", "pose", "1", "3", "50.0"),)
    own = run.model_copy(update={"costs": [counted.model_dump(mode="json")]})
    assert cost_table([("r", own)], []).sheets[0].rows == sheet.rows
    with pytest.raises(UsageError, match="profile --models"):
        cost_table([("r", run)], [])


def test_labels_tell_folders_apart() -> None:
    from sapiens_bench.cli.report import labels_of

    assert labels_of([Path("x/a"), Path("x/b")]) == ["a", "b"]
    assert labels_of([Path("x/run"), Path("y/run")]) == ["x/run", "y/run"]
    assert labels_of([Path("run")]) == ["run"]


def test_what_stands_out_is_marked_in_every_format_and_said_below(catalog: Catalog) -> None:
    record = run_of(depth_cell("a", "depth-person", 0.2), depth_cell("b", "depth-person", 0.3),
                    depth_cell("c", "depth-person", 0.4))  # fmt: skip

    def telling(measured: Any, columns: Any) -> Chosen:
        assert [c.key for c in columns][:1] == ["depth/rmse"]
        return Chosen({("r/hi4d/depth-person/a", "depth/rmse")}, {("r/hi4d/depth-person/b", "depth/rmse")})

    document = paper_table("paper-depth", [("r", record)], catalog, telling)
    assert render(document, "md").count("**") == 2
    assert "<u>0.300" in render(document, "md")
    latex = render(document, "latex")
    assert r"\textbf{0.200" in latex
    assert r"\underline{0.300" in latex
    for name in ("md", "latex", "text", "html"):
        assert "told from noise" in render(document, name)
    rows = next(p for p in json.loads(render(document, "json"))["parts"] if p["measured"])["measured"]
    assert [(r["scores"]["depth/rmse"]["best"], r["scores"]["depth/rmse"]["second"]) for r in rows] == [
        (True, False), (False, True), (False, False),
    ]  # fmt: skip


def test_nothing_stands_out_unless_somebody_tells(catalog: Catalog) -> None:
    record = run_of(depth_cell("a", "depth-person", 0.2), depth_cell("b", "depth-person", 0.3))
    assert "**" not in render(paper_table("paper-depth", [("r", record)], catalog), "md").replace("\\*", "")


def test_printed_rows_are_grey_in_every_form_and_measured_ones_are_not(catalog: Catalog) -> None:
    document = paper_table("paper-depth", [("a", run_of(depth_cell("sapiens-0.3b-depth", "depth-list", 0.1)))], catalog)
    sheet = hi4d(document)
    assert [i for i, row in enumerate(sheet.rows) if row[1] == "printed"] == list(sheet.faint)
    assert 0 < len(sheet.faint) < len(sheet.rows)
    printed, measured = (next(r for r in sheet.rows if r[1].startswith(word)) for word in ("printed", "measured"))
    page, tex, md = (render(document, form) for form in ("html", "latex", "md"))
    assert page.count('class="faint"') >= len(sheet.faint)
    assert rf"\textcolor{{gray}}{{{printed[0]}}}" in tex
    assert "xcolor" in tex
    assert f"*{printed[2]}*" in md
    assert f"*{measured[2]}*" not in md
    assert measured[2].split()[0] in md


def test_a_part_without_a_row_says_what_was_run_and_which_protocol_asks_for_it(catalog: Catalog) -> None:
    run = run_of(depth_cell("a", "depth", 0.1, dataset="synthetic-humans"))
    notes = hi4d(paper_table("paper-depth", [("a", run)], catalog)).notes
    said = next(note for note in notes if note.startswith("No row of these runs"))
    assert "synthetic-humans/depth" in said
    assert "--dataset hi4d --protocol" in said


def test_notes_of_printed_tables_name_nothing_that_a_reader_cannot_find(catalog: Catalog) -> None:
    for name in TABLES:
        for sheet in paper_table(name, [], catalog).sheets:
            text = " ".join([sheet.title, *sheet.notes])
            assert not re.search(r"\bN-[A-D]\b|\bSEED\b|\bP[12]-\w+|\bR[12]\b|specs/|known_inconsistencies", text), text
            assert "arXiv" in text or "computed from" in text


def test_the_albedo_table_stands_beside_a_run_of_albedo(catalog: Catalog) -> None:
    score = ScoreRecord(value=0.0869, title="MAE", decimals=4, higher_is_better=False)
    cell = depth_cell("floor-picture-albedo", "albedo", 0.1, task="albedo", dataset="synthetic-humans")
    cell = cell.model_copy(update={"scores": {"albedo/mae": score}, "headline": "albedo/mae"})
    first, own = paper_table("paper-albedo", [("a", run_of(cell, task="albedo"))], catalog).sheets
    assert first.rows[-1][:3] == ("Sapiens2-5B", "printed", "0.01191")
    assert own.rows[0][2].startswith("0.0869")


def test_point_maps_in_the_canonical_frame_stand_below_the_printed_row_and_form_no_difference(catalog: Catalog) -> None:
    score = ScoreRecord(value=0.0278, title="L2", unit="m at f 768", decimals=4, higher_is_better=False)
    cell = depth_cell("sapiens2-1b-pointmap", "pointmap-canonical", 0.1, task="pointmap", dataset="synthetic-humans")
    cell = cell.model_copy(update={"scores": {"pointmap/l2": score}, "headline": "pointmap/l2"})
    first, *_ = paper_table("paper-pointmap", [("a", run_of(cell, task="pointmap"))], catalog).sheets
    at = next(i for i, row in enumerate(first.rows) if row[0] == "Sapiens2-1B")
    assert first.rows[at + 1][1].startswith("measured")
    assert first.rows[at + 1][2].startswith("0.278")
    assert any("no difference is formed" in note for note in first.notes)


def test_the_point_map_table_is_printed_in_its_units_and_forms_no_difference(catalog: Catalog) -> None:
    scores = {
        f"pointmap/{key}": ScoreRecord(value=value, title=key, unit="m", decimals=4, higher_is_better=False)
        for key, value in {"l2": 0.0321, "mae_x": 0.0044, "mae_z": 0.0215}.items()
    }
    cell = depth_cell("sapiens2-0.4b-pointmap", "pointmap", 0.1, task="pointmap", dataset="synthetic-humans")
    cell = cell.model_copy(update={"scores": scores, "headline": "pointmap/l2"})
    first, *_, own = paper_table("paper-pointmap", [("a", run_of(cell, task="pointmap"))], catalog).sheets
    assert first.heads[2:] == ("L2 ×0.1 ↓", "RMSE ×0.1 ↓", "MAE x ×0.001 ↓", "MAE y ×0.001 ↓", "MAE z ×0.01 ↓")
    printed = {row[0]: row[2:] for row in first.rows}
    assert printed["Sapiens2-0.4B"][0].startswith("0.190")
    assert printed["Sapiens2-0.4B"][4].startswith("1.76")
    assert not any("minus printed" in note for note in first.notes)
    assert own.heads[2] == "l2 ×0.1 m ↓"  # in the paper's units
    assert own.rows[0][2].startswith("0.3210")


def test_what_several_parts_say_is_said_once_and_other_printed_parts_are_named(catalog: Catalog) -> None:
    document = paper_table("paper-pose", [("r", RunRecord(status="done", task="pose"))], catalog)
    said = [note for sheet in document.sheets for note in sheet.notes] + list(document.notes)
    assert len(said) == len(set(said))
    assert any(note.startswith("†") for note in document.notes)
    beside, nowhere = document.notes[-2:]
    assert "sapiens1-repo-coco (--dataset coco-val2017 --protocol detector-70)" in beside
    assert "sapiens2-t3-pose308 (Sapiens2 (arXiv 2604.21681), in-the-wild 308-keypoint test set)" in nowhere
    assert "sapiens1-t3-humans-5k" not in beside + nowhere
    assert not any("README.md of this package (transcriptions: results" in note for note in said)


def test_printed_rows_of_every_table_of_the_protocol_are_shown(catalog: Catalog) -> None:
    cell = CellRecord(
        task="pose", dataset="coco-val2017", protocol="detector-70", model="oracle", title="o", status="done",
        headline="oks/AP", scores={"oks/AP": ScoreRecord(value=0.5, title="AP", percent=True)},
    )  # fmt: skip
    document = paper_table("paper-pose", [("r", RunRecord(status="done", task="pose", cells=[cell]))], catalog)
    titles = [sheet.title for sheet in document.sheets]
    assert any("docs/evaluate, COCO: coco-val2017" in title for title in titles)
    assert not any("sapiens1-repo-coco (" in note for note in document.notes)
