"""Gains are computed from the cells of a table, never copied, and carry the weaker confidence of the two cells."""

from __future__ import annotations

import json

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.gains import Cell, GainColumn, ablation_table, gains, part_gains
from sapiens_bench.report.paper import paper_table
from sapiens_bench.store.record import CellRecord, Counts, RunRecord, ScoreRecord

AP = GainColumn("ap", "AP % ↑", 1, True)
RMSE = GainColumn("rmse", "RMSE ↓", 3, False)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def test_the_reference_of_a_column_is_the_best_other_row_by_its_direction() -> None:
    rows = {
        "Sapiens-A": {"ap": Cell(60.0), "rmse": Cell(0.114)},
        "One": {"ap": Cell(50.0), "rmse": Cell(0.147)},
        "Two": {"ap": Cell(53.1, "conflicting"), "rmse": Cell(0.2)},
    }
    ap, rmse = gains(rows, [AP, RMSE], ["Sapiens-A"], ["One", "Two"])
    assert (ap.reference, round(ap.difference, 6), ap.confidence) == ("Two", 6.9, "conflicting")
    assert ap.shown(AP) == "+6.9 over Two§"
    assert rmse.shown(RMSE) == "-0.033 (-22.4 %) over One"


def test_printed_and_measured_rows_are_no_reference_for_each_other() -> None:
    printed = {"Sapiens-A": {"ap": Cell(60.0)}, "One": {"ap": Cell(50.0)}}
    found = part_gains(printed, {"run/set/protocol": {"Sapiens-A": {"ap": Cell(58.0)}}}, [AP])
    assert [(g.row, g.reference) for g in found.found] == [("Sapiens-A", "One")]
    assert len(found.sheets("T")) == 1


def test_gains_of_the_pose_table_are_those_of_its_cells_and_not_the_papers_own(catalog: Catalog) -> None:
    found = paper_table("paper-pose", [], catalog)
    part = found.data["parts"][0]
    gain = next(g for g in part["gains"] if g["row"] == "Sapiens-2B" and g["score"] == "oks/AP")
    cells = {row: part["printed"][row]["oks/AP"]["value"] for row in ("Sapiens-2B", gain["reference"])}
    assert gain["difference"] == pytest.approx(cells["Sapiens-2B"] - cells[gain["reference"]])
    assert gain["difference"] != pytest.approx(7.6)  # what is printed, from another baseline than the printed one


@pytest.mark.parametrize("form", FORMATS)
def test_the_ablation_comes_in_every_format(catalog: Catalog, form: str) -> None:
    text = render(ablation_table(catalog), form)
    assert "General-300M" in text


def test_the_ablation_counts_from_its_first_row(catalog: Catalog) -> None:
    data = json.loads(render(ablation_table(catalog), "json"))
    assert data["reference"] == "Random initialization"
    found = {(g["row"], g["score"]): g["difference"] for g in data["gains"]}
    assert found["Humans-300M (full)", "pose_map"] == pytest.approx(47.0 - 30.2)
    assert found["Humans-300M (full)", "normal_mean_deg"] == pytest.approx(21.8 - 35.4)


def test_an_ablation_of_ones_own_counts_from_the_first_model_named(catalog: Catalog) -> None:
    def cell(model: str, value: float) -> CellRecord:
        score = ScoreRecord(value=value, title="AP", percent=True, decimals=1, headline=True)
        return CellRecord(
            task="pose", dataset="d", protocol="p", model=model, title=model.upper(), status="done",
            counts=Counts(planned=3, ok=3), scores={"oks/AP": score}, headline="oks/AP",
        )  # fmt: skip

    run = RunRecord(status="done", task="pose", cells=[cell("big", 0.7), cell("base", 0.5)])
    run.request = {"models": ["base,big"]}
    (measured,) = ablation_table(catalog, [("run", run)]).data["measured"]
    assert measured["title"] == "run: d/p, gains over BASE"
    assert [(g["row"], round(g["difference"], 6)) for g in measured["gains"]] == [("BIG", 20.0)]
