"""One mechanism for everything that is missing or doubtful."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.store.causes import (
    all_failed,
    cell_causes,
    complaint,
    ended,
    error_rows,
    fix_of,
    row_causes,
    run_causes,
    sentence,
)
from sapiens_bench.store.frames import image_scores
from sapiens_bench.store.record import Cause, CellRecord, Counts, DatasetRecord, RunRecord, ScoreRecord, write_run
from sapiens_bench.store.rows import commit_shard


def row(index: int, code: str = "", side: str = "", **values: Any) -> dict[str, Any]:
    status = "error" if code else "ok"
    base = {"index": index, "key": f"s{index}", "group": "g", "status": status, "error_code": code}
    return base | {"error_detail": f"detail {index}" if code else "", "error_side": side} | values


ROWS = [
    row(0), row(1, "image.missing", "input"), row(2, "pred.shape", "prediction"), row(3, "image.missing", "input"),
    row(4, "image.missing", "input"),
]  # fmt: skip


def cell(**values: Any) -> CellRecord:
    place = {"task": "pose", "dataset": "set", "protocol": "plain", "model": "model", "title": "A model"}
    return CellRecord.model_validate({**place, "status": "done", **values})


def test_each_kind_of_error_is_told_once_with_its_first_case_and_its_count() -> None:
    found = row_causes(pa.Table.from_pylist(ROWS))
    assert [(c.kind, c.side, c.count, c.first_key, c.detail) for c in found] == [
        ("image.missing", "input", 3, "s1", "detail 1"),
        ("pred.shape", "prediction", 1, "s2", "detail 2"),
    ]
    assert all(c.fix for c in found)
    assert row_causes(pa.Table.from_pylist([row(0)])) == []


def test_the_same_code_on_both_sides_is_two_causes() -> None:
    rows = [row(0, "image.missing", "input"), row(1, "image.missing", "prediction")]
    assert [c.side for c in row_causes(pa.Table.from_pylist(rows))] == ["input", "prediction"]


def test_every_code_family_has_advice_and_an_unknown_code_has_none() -> None:
    for code in ("image.missing", "image.new_kind", "label.value", "mesh.texture", "scan.empty", "pred.range",
                 "model.exception", "input.exception"):  # fmt: skip
        assert fix_of(code), code
    assert fix_of("plugin.own") == ""


def test_a_picture_without_a_focal_length_is_not_sent_to_look_for_a_label_file() -> None:
    assert "--scoring frame=camera" in fix_of("label.focal")
    assert "label file" not in fix_of("label.focal")


def test_notes_of_the_run_the_data_and_the_boxes_come_before_the_cells() -> None:
    missing = cell(status="weights missing", error_kind="WeightsMissing", how="m.bin not found. Get it.")
    absent = cell(status="data missing", dataset="other", how="Not here.")
    failed = cell(causes=[Cause(kind="image.missing", side="input", count=2, first_key="a", detail="no file")])
    record = RunRecord(
        status="done", task="pose", cells=[missing, absent, failed], notes=["memory ran out"],
        datasets={"set": DatasetRecord(notes=["2 scans found, 526 expected"], boxes_notes=["1 box left out"])},
    )  # fmt: skip
    found = [(f.dataset, f.model, f.cause.side, f.cause.kind) for f in run_causes(record)]
    assert found == [
        ("", "", "run", "note"),
        ("set", "", "data", "note"),
        ("set", "", "boxes", "note"),
        ("set", "model", "model", "WeightsMissing"),
        ("other", "model", "data", "data missing"),
        ("set", "model", "input", "image.missing"),
    ]
    assert run_causes(record)[1].cause.detail == "2 scans found, 526 expected"


def test_a_cell_of_which_every_image_failed_has_no_tick_and_says_why() -> None:
    score = {"oks/AP": ScoreRecord(value=0.0, title="AP")}
    told = {"first_key": "s0", "detail": "16 points, expected 17", "fix": fix_of("pred.shape")}
    causes = [Cause(kind="pred.shape", side="prediction", count=4, **told)]
    failed = cell(counts=Counts(planned=4, prediction_errors=4), causes=causes, scores=score)
    assert all_failed(failed)
    assert complaint(failed).startswith(
        "every image failed: pred.shape (4 images, first s0: 16 points, expected 17). Give predictions"
    )
    fine = cell(counts=Counts(planned=4, ok=1, prediction_errors=3), causes=causes)
    assert not all_failed(fine)
    assert complaint(fine) == ""
    assert not all_failed(cell(status="refused", how="no"))
    assert not all_failed(cell(counts=Counts(planned=0)))


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (Cause(kind="note", side="data", detail="2 scans found"), "2 scans found."),
        (Cause(kind="a.b", side="input", first_key="k", detail="bad"), "a.b (k: bad)."),
        (Cause(kind="a.b", side="input", count=3, first_key="k", detail="bad.", fix="Mend it."),
         "a.b (3 images, first k: bad). Mend it."),
        (Cause(kind="a.b", side="input", count=None, first_key="k", fix="Mend it."), "a.b (k). Mend it."),
        (Cause(kind="WeightsMissing", side="model", detail="m.bin not found"), "WeightsMissing: m.bin not found."),
        (Cause(kind="x", side="model", fix="Do y."), "x. Do y."),
    ],
    ids=["note", "one", "many", "uncounted", "refusal", "bare"],
)  # fmt: skip
def test_a_cause_reads_as_a_sentence(cause: Cause, expected: str) -> None:
    assert sentence(cause) == expected


def test_all_error_rows_are_listed_with_their_cell(tmp_path: Path) -> None:
    folder = tmp_path / "rows" / "pose" / "set" / "plain" / "model"
    commit_shard(folder, 0, ROWS[:2], {"item_key": "k", "fingerprint": "f"})
    commit_shard(folder, 1, ROWS[2:], {"item_key": "k", "fingerprint": "f"})
    found = error_rows(tmp_path, cell())
    assert [(r.index, r.key, r.code, r.side) for r in found] == [
        (1, "s1", "image.missing", "input"), (2, "s2", "pred.shape", "prediction"), (3, "s3", "image.missing", "input"),
        (4, "s4", "image.missing", "input"),
    ]  # fmt: skip
    assert {r.model for r in found} == {"model"}
    assert cell_causes(cell()) == []


class Mean:
    """A metric whose score of one image is that image's value."""

    name = "m"
    version = 1
    scores = {"mean": None}

    def aggregate(self, rows: pa.Table) -> Any:
        value = rows["m/value"].to_numpy()
        return lambda weights: {"mean": float(np.average(value, weights=weights))}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    rows = [row(i, **{"m/value": i / 2, "m/bits": np.array([i, 7])}) for i in range(3)]
    rows[1] = row(1, "image.missing", "input")
    for model in ("one", "two"):
        folder = tmp_path / "rows" / "pose" / "set" / "plain" / model
        commit_shard(folder, 0, rows, {"item_key": "k", "fingerprint": "f"})
    return tmp_path


def test_the_images_of_a_cell_are_a_table_that_can_be_read(measured: Path) -> None:
    record = RunRecord(status="done", task="pose", cells=[cell(model="one"), cell(model="two")]).bind(
        measured,
        lambda cell: [Mean()],  # type: ignore[list-item]
    )
    frame = record.rows(record.cells[0])
    assert list(frame.columns) == [
        "index", "key", "group", "status", "error_code", "error_detail", "error_side", "m/value", "m/mean",
    ]  # fmt: skip
    assert frame["m/mean"].tolist()[::2] == [0.0, 1.0]
    assert np.isnan(frame["m/mean"][1])  # it left the metric: not zero
    everything = record.to_pandas(images=True)
    assert everything["model"].tolist() == ["one"] * 3 + ["two"] * 3
    assert list(everything.columns)[:4] == ["task", "dataset", "protocol", "model"]


def test_rows_of_a_folder_are_found_by_the_name_of_the_cell(measured: Path) -> None:
    from sapiens_bench.api import rows

    cells = [cell(model="one"), cell(model="two"), cell(model="one", protocol="other")]
    write_run(measured, RunRecord(status="done", task="pose", cells=cells))
    at = f"{cells[0].dataset}/{cells[0].protocol}"
    assert rows(measured, "two").equals(rows(str(measured), f"{at}/two"))
    assert rows(measured, f"{at}/one")["m/value"].size == 3
    with pytest.raises(UsageError, match=f"stands for several cells.*{at}/one"):
        rows(measured, "one")
    with pytest.raises(UnknownName, match="Did you mean 'two'"):
        rows(measured, "twoo")


def test_without_metrics_the_sums_are_there_and_no_scores(measured: Path) -> None:
    frame = RunRecord(status="done", task="pose").bind(measured).rows(cell(model="one"))
    assert "m/value" in frame
    assert "m/mean" not in frame
    assert "m/bits" not in frame
    assert image_scores(pa.Table.from_pylist(ROWS), ()) == {}


def test_a_run_is_a_table_of_scores() -> None:
    scores = {
        "oks/AP": ScoreRecord(value=0.5, low=0.4, high=0.6, title="AP"),
        "oks/AR": ScoreRecord(value=0.7, title="AR"),
    }
    record = RunRecord(status="done", task="pose", cells=[cell(scores=scores), cell(model="b", status="refused")])
    frame = record.to_pandas()
    assert frame["score"].tolist()[:2] == ["oks/AP", "oks/AR"]
    assert frame["value"].tolist()[:2] == [0.5, 0.7]
    assert frame["status"].tolist() == ["done", "done", "refused"]
    assert RunRecord(status="done", task="pose").to_pandas().empty
    assert RunRecord(status="done", task="pose").to_pandas(images=True).empty


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a note", "a note."), ("a note..", "a note."), ("write exif=...", "write exif=..."), (" x. ", "x.")],
)
def test_a_note_ends_once_and_keeps_its_ellipsis(text: str, shown: str) -> None:
    assert ended(text) == shown
