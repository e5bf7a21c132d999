"""Printed numbers stand in columns of their own, and only beside their own variant and protocol."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import CellRecord, RunRecord

Make = Callable[..., RunRecord]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def coco_cell(rows: SimpleNamespace) -> Callable[..., CellRecord]:
    def make(model: str, protocol: str, ap: float | None) -> CellRecord:
        where = {"dataset": "coco-val2017", "protocol": protocol}
        if ap is None:
            return rows.missing(model, model, "how").model_copy(update=where)  # type: ignore[no-any-return]
        return rows.pose(model, model, ap, **where)  # type: ignore[no-any-return]

    return make


def _printed(catalog: Catalog, protocol: str) -> tuple[str, float]:
    """A variant with a printed AP under a protocol of COCO, and that number as a share."""
    card = catalog.datasets["coco-val2017"].protocols[protocol]
    for entry in catalog.models.values():
        for row in catalog.published_rows(entry.variant, card):
            if "oks/AP" in row.scores():
                return entry.id, row.scores()["oks/AP"]
    raise AssertionError(f"no card has a printed AP under {protocol}")


def test_a_printed_number_stands_beside_ours_in_its_own_column(
    make_record: Make, coco_cell: Callable[..., CellRecord], catalog: Catalog
) -> None:
    model, value = _printed(catalog, "detector-70")
    block = build(make_record([coco_cell(model, "detector-70", 0.5)]), catalog).blocks[0]
    kinds = {c.key: c.kind for c in block.columns}
    assert kinds["oks/AP"] == "score"
    assert kinds["published:oks/AP"] == "published"
    cell = block.rows[0].cells["published:oks/AP"]
    assert cell.value == pytest.approx(value)
    assert 0 < cell.value < 1
    assert cell.confidence in ("verified", "single-source", "derived", "conflicting")
    table, entry = next(
        catalog.published[i] for i in catalog.datasets["coco-val2017"].protocols["detector-70"].published
    )
    assert f"{table.table} ({table.caption.rstrip('.')})" in cell.source
    assert ("Table " in cell.source) == table.table[0].isdigit()
    assert any(size["input_size"] in cell.source for size in entry.row_attributes.values())


def test_another_protocol_shows_no_printed_number(
    make_record: Make, coco_cell: Callable[..., CellRecord], catalog: Catalog
) -> None:
    model, _ = _printed(catalog, "detector-70")
    block = build(make_record([coco_cell(model, "gt-box", 0.5)]), catalog).blocks[0]
    assert not [c for c in block.columns if c.kind == "published"]


def test_a_row_without_weights_still_shows_its_printed_number(
    make_record: Make, coco_cell: Callable[..., CellRecord], catalog: Catalog
) -> None:
    model, value = _printed(catalog, "detector-70")
    record = make_record([coco_cell("movenet-thunder", "detector-70", 0.5), coco_cell(model, "detector-70", None)])
    table = build(record, catalog)
    row = table.blocks[0].rows[-1]
    assert (row.group, row.rank) == ("unavailable", None)
    assert row.cells["published:oks/AP"].value == pytest.approx(value)
    assert not row.cells["published:oks/AP"].best
    for name in FORMATS:
        assert f"{value * 100:.1f}" in render(table, name) or repr(value) in render(table, name)


def test_a_conflicting_number_is_marked_and_its_note_printed(
    make_record: Make, rows: SimpleNamespace, catalog: Catalog
) -> None:
    cells = [
        rows.missing(entry.id, entry.variant.title, "how").model_copy(update={"dataset": "humans-5k", "protocol": name})
        for entry in catalog.models.values()
        if entry.card.task == "pose"
        for name in catalog.datasets["humans-5k"].protocols
    ]
    blocks = build(make_record(cells), catalog).blocks
    found = [(b, c) for b in blocks for r in b.rows for c in r.cells.values() if c.confidence == "conflicting"]
    if not found:
        pytest.skip("no conflicting number is attached to a pose model")
    for block, cell in found:
        assert cell.notes
        assert block.footnotes[cell.notes[0] - 1]


def test_a_run_with_other_boxes_than_the_protocol_has_no_printed_number(
    make_record: Make, coco_cell: Callable[..., CellRecord], catalog: Catalog
) -> None:
    model, _ = _printed(catalog, "detector-70")
    own = catalog.datasets["coco-val2017"].protocols["detector-70"].options["boxes"]
    for boxes, has_column in (("", True), (own, True), ("gt", False)):
        record = make_record([coco_cell(model, "detector-70", 0.5)], request={"boxes": boxes})
        kinds = {column.kind for column in build(record, catalog).blocks[0].columns}
        assert ("published" in kinds) == has_column


def test_options_over_a_card_are_told(make_record: Make) -> None:
    block = build(make_record(request={"options": {"flip_test": False}})).blocks[0]
    assert "Options over the cards: flip_test=False." in block.remarks


def test_a_protocol_with_other_options_has_no_printed_number_and_says_so(
    make_record: Make, coco_cell: Callable[..., CellRecord], catalog: Catalog
) -> None:
    model, _ = _printed(catalog, "detector-70")
    for options, has_column in (({}, True), ({"min_area": 5}, False)):
        record = make_record([coco_cell(model, "detector-70", 0.5)], request={"data_options": options})
        block = build(record, catalog).blocks[0]
        assert any(column.kind == "published" for column in block.columns) is has_column
        assert any("Options over the protocol: min_area=5" in remark for remark in block.remarks) is not has_column
