"""The table object: order, ranks, marks, footnotes, headings."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.report.tables import Chosen, Emphasis, build
from sapiens_bench.store.record import Cause, Counts, DatasetRecord, ErrorExample, RunRecord

Make = Callable[..., RunRecord]


def test_networks_are_ranked_by_the_headline_score_and_others_stand_below(make_record: Make) -> None:
    rows = build(make_record()).blocks[0].rows
    assert [(r.title, r.group, r.rank) for r in rows] == [
        ("MoveNet Thunder", "network", 1),
        ("BlazePose Full", "network", 2),
        ("Mean pose", "floor", None),
        ("Oracle", "diagnostic", None),
        ("Sapiens-1B", "unavailable", None),
        ("Sapiens-2B", "unavailable", None),
    ]


def test_lower_is_better_scores_rank_upwards(make_record: Make, rows: SimpleNamespace) -> None:
    def cell(name: str, rmse: float) -> object:
        scores = {"depth/rmse": rows.score(rmse, title="RMSE", percent=False, higher_is_better=False)}
        return rows.pose(name, name, scores=scores, headline="depth/rmse")

    table = build(make_record([cell("far", 0.3), cell("near", 0.1)], task="depth"))
    assert [r.model for r in table.blocks[0].rows] == ["near", "far"]


def test_a_record_alone_sets_nothing_in_bold(make_record: Make) -> None:
    """It tells no lead from noise: that takes the rows (publish/best.py)."""
    block = build(make_record()).blocks[0]
    assert not any(c.best or c.second for row in block.rows for c in row.cells.values())
    assert block.best_means == ""


def test_equal_scores_share_a_rank(make_record: Make, rows: SimpleNamespace) -> None:
    table = build(make_record([rows.pose("a", "A", 0.5), rows.pose("b", "B", 0.5), rows.pose("c", "C", 0.4)]))
    assert [r.rank for r in table.blocks[0].rows] == [1, 1, 3]


def test_undefined_headline_ranks_last_without_a_number(make_record: Make, rows: SimpleNamespace) -> None:
    table = build(make_record([rows.pose("a", "A", math.nan), rows.pose("b", "B", 0.1)]))
    assert [(r.model, r.rank) for r in table.blocks[0].rows] == [("b", 1), ("a", None)]
    assert table.blocks[0].rows[1].cells["oks/AP"].reason


def test_missing_rows_head_the_table_as_incomplete_and_take_no_rank(make_record: Make, rows: SimpleNamespace) -> None:
    short = rows.pose("a", "A", 0.9, status="incomplete", counts=Counts(planned=120, ok=64))
    table = build(make_record([short, rows.pose("b", "B", 0.1)], status="incomplete"))
    assert "184 of 240" not in table.incomplete
    assert "64 of 120" in table.incomplete
    row = next(r for r in table.blocks[0].rows if r.model == "a")
    assert row.is_incomplete
    assert row.rank is None
    assert any("INCOMPLETE" in note for note in table.blocks[0].footnotes)


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_an_unfinished_run_is_headed_incomplete_though_all_rows_are_there(make_record: Make, status: str) -> None:
    assert status in build(make_record(status=status)).incomplete


def test_a_complete_run_has_no_such_heading(make_record: Make) -> None:
    assert build(make_record()).incomplete == ""


def test_excluded_images_are_counted_beside_the_metric(make_record: Make, rows: SimpleNamespace) -> None:
    cell = rows.pose("a", "A", 0.5, counts=Counts(planned=120, ok=118, input_errors=2))
    facts = {"synthetic-humans": {"title": "S", "n_scored": 118, "n_excluded": 2}}
    block = build(make_record([cell], datasets=facts)).blocks[0]
    assert "118 images scored, 2 excluded for every model (picture or label at fault)." in block.remarks
    assert (block.rows[0].n_scored, block.rows[0].n_excluded) == (118, 2)


def test_what_weakens_a_row_is_in_its_footnotes(make_record: Make, rows: SimpleNamespace) -> None:
    cell = rows.pose("a", "A", 0.5, in_domain=True, approximate="33 -> 17", weights_pinned=False)
    block = build(make_record([cell])).blocks[0]
    said = " ".join(block.footnotes[n - 1] for n in block.rows[0].notes)
    assert "in-domain" in said
    assert "33 -> 17" in said
    assert "not pinned" in said


@pytest.mark.parametrize(("trained", "split", "alarmed"), [("tiny", "tiny", True), ("train", "tiny", False),
                                                           ("tiny", "", False), ("", "", True)])  # fmt: skip
def test_training_on_the_images_that_are_scored_is_an_alarm(
    make_record: Make, rows: SimpleNamespace, trained: str, split: str, alarmed: bool
) -> None:
    on = f"synthetic-humans:{trained}" if trained else "synthetic-humans"
    cell = rows.pose("a", "A", 0.5, in_domain=True, trained_on=on)
    alarms = build(make_record([cell], request={"split": split})).blocks[0].alarms
    assert any("very images that are scored" in text for text in alarms) is alarmed


def test_a_row_that_left_pixels_out_is_marked(make_record: Make, rows: SimpleNamespace) -> None:
    def cell(name: str, coverage: float) -> object:
        scores = {"depth/rmse": rows.score(0.1), "depth/coverage": rows.score(coverage, headline=False)}
        return rows.pose(name, name, scores=scores, headline="depth/rmse")

    block = build(make_record([cell("part", 0.875), cell("whole", 1.0)])).blocks[0]
    noted = {r.model: " ".join(block.footnotes[n - 1] for n in r.notes) for r in block.rows}
    assert "Coverage 87.50%" in noted["part"]
    assert noted["whole"] == ""


def test_equal_footnotes_share_a_number(make_record: Make, rows: SimpleNamespace) -> None:
    cells = [rows.pose(name, name, 0.5, in_domain=True) for name in "ab"]
    block = build(make_record(cells)).blocks[0]
    assert len(block.footnotes) == 1
    assert [r.notes for r in block.rows] == [(1,), (1,)]


def test_a_caveat_is_a_remark_and_a_subset_an_alarm_of_the_block(make_record: Make, rows: SimpleNamespace) -> None:
    cells = [rows.pose("a", "A", 0.5, caveat="our split")]
    block = build(make_record(cells, request={"limit": 8})).blocks[0]
    assert "Protocol: our split" in block.remarks
    assert any("first 8 images" in text for text in block.alarms)


@pytest.mark.parametrize(("groups", "alarmed", "cautioned"), [(2, True, True), (9, True, True), (10, False, True),
                                                              (99, False, True), (100, False, False)])  # fmt: skip
def test_intervals_over_few_groups_are_not_to_be_trusted(
    make_record: Make, rows: SimpleNamespace, groups: int, alarmed: bool, cautioned: bool
) -> None:
    cell = rows.pose("a", "A", scores={"oks/AP": rows.score(0.5, 0.1, n_groups=groups)})
    block = build(make_record([cell])).blocks[0]
    warning = f"A 95% interval over {groups} groups is not to be trusted."
    assert (warning in block.alarms) == alarmed
    (how,) = [text for text in block.remarks if text.startswith("Intervals: ")]
    assert ("Student's t" in how, f"{groups} independent groups, fewer than 100" in how) == (cautioned, cautioned)


def test_each_kind_of_interval_is_told_where_a_table_has_both(make_record: Make, rows: SimpleNamespace) -> None:
    scores = {"oks/AP": rows.score(0.5, 0.1, n_groups=120), "oks/AR": rows.score(0.5, 0.1, n_groups=40)}
    remarks = build(make_record([rows.pose("a", "A", scores=scores)])).blocks[0].remarks
    told = "percentile bootstrap, over 120 independent groups; below 100, Student's t with the jackknife's error."
    assert any(text.endswith(told) for text in remarks)


def test_what_excluded_images_died_of_is_told_with_the_fix(make_record: Make, rows: SimpleNamespace) -> None:
    detail = "orientation 6 without a word on the card; write exif: apply"
    errors = [
        ErrorExample(key="a.jpg", code="image.exif", detail=detail, side="input"),
        ErrorExample(key="b.jpg", code="image.exif", detail=detail, side="input"),
        ErrorExample(key="c.jpg", code="label.bbox", detail="width 0", side="input"),
    ]
    cells = [rows.pose(n, n, 0.5, counts=Counts(planned=120, ok=117, input_errors=3), errors=errors) for n in "ab"]
    remarks = build(make_record(cells)).blocks[0].remarks
    again = "then run the same command again: the image is tried again."
    assert (
        f"At fault: image.exif (a.jpg: {detail}). Mend or replace the picture, {again} "
        f"label.bbox (c.jpg: width 0). Mend the label file, {again}"
    ) in remarks


def test_what_a_model_died_of_is_told_beside_its_row(make_record: Make) -> None:
    block = build(make_record()).blocks[0]
    note = next(text for text in block.footnotes if "count as misses" in text)
    assert note == (
        "3 of 120 images on which MoveNet Thunder failed count as misses: pred.nonfinite (a). Find out why the model "
        "gives NaN or infinity (often fp16 or bf16); until then it is a miss."
    )


def test_a_score_of_a_cell_that_failed_everywhere_gives_the_cause(make_record: Make, rows: SimpleNamespace) -> None:
    errors = [ErrorExample(key="a", code="image.missing", detail="no such file", side="input")]
    cell = rows.pose("a", "A", math.nan, counts=Counts(planned=120, input_errors=120), errors=errors)
    found = build(make_record([cell])).blocks[0].rows[0].cells["oks/AP"]
    assert found.reason.startswith("every image failed: image.missing (a: no such file). Put the file there, then run")


def test_a_kind_of_error_is_told_with_its_count(make_record: Make, rows: SimpleNamespace) -> None:
    causes = [
        [Cause(kind="image.missing", side="input", count=n, first_key="a", detail="no file", fix="Put it back.")]
        for n in (2, 3)
    ]
    counts = [Counts(planned=120, ok=120 - n, input_errors=n) for n in (2, 3)]
    cells = [rows.pose(name, name, 0.5, counts=c, causes=k) for name, c, k in zip("ab", counts, causes)]
    remarks = build(make_record(cells)).blocks[0].remarks
    assert "At fault: image.missing (3 images, first a: no file). Put it back." in remarks


def test_what_the_adapter_says_about_itself_is_a_remark(make_record: Make, rows: SimpleNamespace) -> None:
    facts = {"synthetic-humans": {"boxes_notes": ["2 scans were found, the protocol expects 526"]}}
    remarks = build(make_record([rows.pose("a", "A", 0.5)], datasets=facts)).blocks[0].remarks
    assert "Note: 2 scans were found, the protocol expects 526." in remarks


def test_who_decides_what_is_bold_also_says_what_it_means(make_record: Make) -> None:
    asked = []

    def choose(place: object, rows: object, columns: object) -> Chosen:
        asked.append(place)
        return Chosen({("oracle", "oks/AR")}, {("mean-pose", "oks/AP")})

    block = build(make_record(), emphasis=Emphasis(choose, "Bold: by order.")).blocks[0]
    assert asked == [("synthetic-humans", "gt-box")]
    assert [r.model for r in block.measured if r.cells["oks/AP"].second] == ["mean-pose"]
    assert {r.model: [k for k, c in r.cells.items() if c.best] for r in block.measured} == {
        "movenet-thunder": [], "blazepose-full": [], "mean-pose": [], "oracle": ["oks/AR"],
    }  # fmt: skip
    assert block.best_means == "Bold: by order."
    nobody = build(make_record(), emphasis=Emphasis(lambda *about: Chosen(), "Bold: by order.")).blocks[0]
    assert nobody.best_means == ""


def test_the_command_that_helps_comes_from_the_card_and_not_from_its_advice(make_record: Make) -> None:
    record = make_record()
    remedies = build(record, Catalog.load()).blocks[0].remedies
    assert {r.command for r in remedies if "sapiens-1b" in r.models} == {
        "sapiens-bench weights get NAME --accept-licence CC-BY-NC-4.0"
    }
    assert {r.command for r in remedies if "sapiens-2b" in r.models} == {"sapiens-bench weights show NAME"}
    assert {r.command for r in build(record).blocks[0].remedies} == {""}


def test_a_single_group_is_said_to_have_no_interval(make_record: Make, rows: SimpleNamespace) -> None:
    lonely = {"oks/AP": rows.score(0.5, n_groups=1)}
    block = build(make_record([rows.pose("a", "A", scores=lonely)])).blocks[0]
    assert any("No intervals" in remark for remark in block.remarks)


def test_equal_advice_is_given_once(make_record: Make, rows: SimpleNamespace) -> None:
    cells = [rows.missing(name, name, "Do this.") for name in ("a", "b")]
    remedies = build(make_record(cells)).blocks[0].remedies
    assert [(r.titles, r.how) for r in remedies] == [(("a", "b"), "Do this.")]


def test_data_sets_are_never_mixed_in_one_block(make_record: Make, rows: SimpleNamespace) -> None:
    cells = [rows.pose("a", "A", 0.5), rows.pose("a", "A", 0.6, dataset="other"), rows.pose("b", "B", 0.4)]
    blocks = build(make_record(cells)).blocks
    assert [(b.dataset, len(b.rows)) for b in blocks] == [("synthetic-humans", 2), ("other", 1)]


def test_an_empty_run_gives_an_empty_table(make_record: Make) -> None:
    assert build(make_record([])).blocks == ()


def test_what_the_set_sees_stands_under_the_table(make_record: Make, rows: SimpleNamespace) -> None:
    record = make_record([rows.pose("a", "Model A", 0.5), rows.pose("b", "Model B", 0.6)])
    about = record.datasets.setdefault(record.cells[0].dataset, DatasetRecord())
    about.sees, about.sees_between = 0.0187, ["b", "a"]
    sentence = "This set sees >= 1.9 AP between Model B and Model A (a true difference called out in 80 % of cases)."
    assert sentence in build(record).blocks[0].remarks
    about.sees = float("nan")
    assert not any("sees >=" in text for text in build(record).blocks[0].remarks)


@pytest.mark.parametrize("kind", ["network", "floor", "diagnostic"])
def test_answers_in_another_form_are_asked_about_of_networks_alone(
    make_record: Make, rows: SimpleNamespace, kind: str
) -> None:
    """A floor answers in the form that is read, and finds nobody or is far off because it looks at no picture."""
    nobody = {"oks/AP": rows.score(0.0), "oks/AR50": rows.score(0.0, headline=False)}
    far = {"depth/abs_rel": rows.score(27.0, percent=False, higher_is_better=False)}
    for task, scores, headline, said in (
        ("pose", nobody, "oks/AP", "Nobody is found"),
        ("depth", far, "depth/abs_rel", "times the depth"),
    ):
        cell = rows.pose("m", "M", task=task, kind=kind, scores=scores, headline=headline)
        (block,) = build(make_record([cell], task=task)).blocks
        assert any(said in note for note in block.footnotes) == (kind == "network")
