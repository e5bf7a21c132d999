"""The loop: what becomes of each image, and what must not change the result."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.engine.events import CellFinished, CellStarted, ShardDone
from sapiens_bench.errors import FingerprintMismatch, SampleFault, TooManyErrors, UsageError, WeightsMissing
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.store.rows import read_rows

CELL = Path("toy/toy/plain")


def rows_of(out: Path, model: str = "toy-plain") -> Any:
    return read_rows(out / "rows" / CELL / model)


def shard_bytes(out: Path, model: str = "toy-plain") -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / "rows" / CELL / model).glob("shard-*"))}


def only(record: RunRecord) -> CellRecord:
    assert len(record.cells) == 1
    return record.cells[0]


def test_every_image_leaves_one_row_and_a_score_with_interval(toy: ModuleType, tmp_path: Path) -> None:
    events: list[Any] = []
    record = toy.go(tmp_path, on_event=events.append, options={"bias": 0.25})
    cell = only(record)
    assert (record.status, cell.status, cell.counts.ok, cell.counts.planned) == ("done", "done", 30, 30)
    score = cell.scores["grey/mae"]
    assert score.value == pytest.approx(0.25, abs=1e-6)
    assert score.low == pytest.approx(0.25, abs=1e-6)
    assert score.n_groups == 15
    assert [e.number for e in events if isinstance(e, ShardDone)] == [0, 1, 2, 3, 4, 5]
    assert read_run(tmp_path).model_dump_json() == record.model_dump_json()
    assert record.hardware.device == "cpu"
    assert record.cards["toy-family"]["wrapper"] == "./toy.py:ToyModel"
    assert record.packages["torch"]


@pytest.mark.parametrize(
    "other",
    [{"workers": 1}, {"workers": 4}, {"batch_size": 1}, {"batch_size": 64}],
    ids=lambda o: "-".join(f"{k}{v}" for k, v in o.items()),
)
def test_workers_and_batch_size_do_not_change_the_bytes(toy: ModuleType, tmp_path: Path, other: dict[str, int]) -> None:
    toy.go(tmp_path / "a")
    toy.go(tmp_path / "b", **other)
    assert shard_bytes(tmp_path / "a") == shard_bytes(tmp_path / "b")


def test_shard_size_does_not_change_scores(toy: ModuleType, tmp_path: Path) -> None:
    a = only(toy.go(tmp_path / "a", shard_size=7, options={"bias": 0.1}))
    b = only(toy.go(tmp_path / "b", shard_size=64, options={"bias": 0.1}))
    assert a.scores == b.scores
    assert a.fingerprint == b.fingerprint
    assert rows_of(tmp_path / "a").equals(rows_of(tmp_path / "b"))


def test_a_second_run_computes_nothing_and_says_the_same(toy: ModuleType, tmp_path: Path) -> None:
    first = toy.go(tmp_path, options={"bias": 0.1})
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").rglob("shard-*")}
    events: list[Any] = []
    second = toy.go(tmp_path, on_event=events.append, options={"bias": 0.1})
    assert not [e for e in events if isinstance(e, ShardDone)]
    assert [e.n_done for e in events if isinstance(e, CellStarted)] == [30]
    assert only(second).scores == only(first).scores
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").rglob("shard-*")} == before


def test_a_corrupt_shard_is_computed_again(toy: ModuleType, tmp_path: Path) -> None:
    toy.go(tmp_path)
    before = shard_bytes(tmp_path)
    path = tmp_path / "rows" / CELL / "toy-plain" / "shard-00002.parquet"
    path.write_bytes(path.read_bytes()[:100])
    events: list[Any] = []
    toy.go(tmp_path, on_event=events.append)
    assert [e.number for e in events if isinstance(e, ShardDone)] == [2]
    assert shard_bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prepare_faults": (7,)}, "image.truncated"),
        ({"forward_faults": (7,)}, "model.exception"),
        ({"finish_faults": (7,)}, "model.exception"),
        ({"say": {"7": "nan"}}, "pred.nonfinite"),
        ({"say": {"7": "array"}}, "pred.shape"),
        ({"say": {"7": 1234.0}}, "pred.exception"),
    ],
    ids=["prepare", "forward", "finish", "nan", "shape", "metric"],
)
def test_a_fault_of_the_model_charges_one_image_as_a_miss(
    toy: ModuleType, tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    cell = only(toy.go(tmp_path, options=options))
    assert (cell.counts.ok, cell.counts.input_errors, cell.counts.prediction_errors) == (29, 0, 1)
    assert [(e.key, e.code, e.side) for e in cell.errors] == [("toy/00007", code, "prediction")]
    assert cell.scores["grey/mae"].value == pytest.approx(1 / 30, abs=1e-6)  # the miss costs 1, the others 0


def test_a_fault_of_the_picture_excludes_it_for_every_model(toy: ModuleType, tmp_path: Path) -> None:
    record = toy.go(
        tmp_path, {"input_faults": (3,), "exceptions": (4,)}, models=("toy-plain", "toy-biased", "toy-oracle")
    )
    for cell in record.cells:
        assert (cell.counts.ok, cell.counts.input_errors, cell.counts.prediction_errors) == (28, 2, 0)
        assert [(e.key, e.code) for e in cell.errors] == [
            ("toy/00003", "image.truncated"),
            ("toy/00004", "input.exception"),
        ]
        assert "\x1b" not in cell.errors[0].detail
    assert [c.scores["grey/mae"].value for c in record.cells] == pytest.approx([0, 0.5, 0], abs=1e-6)
    assert record.datasets["toy"].n_excluded == 2


def test_an_input_error_of_one_cell_leaves_the_score_of_the_others(toy: ModuleType, tmp_path: Path) -> None:
    """A picture that could be read for one model and not for the next is scored for neither."""
    toy.go(tmp_path, {"exceptions": (5,)}, models=("toy-plain",))  # rows with one input error
    sound = toy.go(tmp_path / "sound", models=("toy-plain", "toy-biased"))
    for shard in (tmp_path / "rows" / CELL / "toy-plain").glob("shard-00001*"):
        target = tmp_path / "sound" / "rows" / CELL / "toy-plain" / shard.name
        planned = toy.plan(tmp_path / "sound", models=("toy-plain", "toy-biased"))
        _recommit(shard, target, planned.cells[0].cell.fingerprint)
    mixed = toy.go(tmp_path / "sound", models=("toy-plain", "toy-biased"))
    assert [c.counts.input_errors for c in mixed.cells] == [1, 0]
    assert mixed.datasets["toy"].n_scored == 29
    groups = {c.model: c.scores["grey/mae"].n_groups for c in mixed.cells}
    assert groups == {"toy-plain": 15, "toy-biased": 15}
    assert sound.datasets["toy"].n_scored == 30


def _recommit(source: Path, target: Path, fingerprint: str) -> None:
    from sapiens_bench.store.rows import commit_shard, item_key, read_rows

    folder = source.parent
    number = int(source.name[6:11])
    rows = [r for r in read_rows(folder).to_pylist() if r["index"] // 5 == number]
    for row in rows:
        row["grey/parts"] = None if row["grey/parts"] is None else np.array(row["grey/parts"])
        row["error_code"] = row["error_code"] and "label.empty"  # a cause that does not go away
    key = item_key(fingerprint, [r["key"] for r in rows])
    commit_shard(target.parent, number, rows, {"fingerprint": fingerprint, "item_key": key}, predictions=5)


def test_too_many_errors_end_the_run_after_everything_is_written(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(TooManyErrors, match=r"toy-plain on toy: 1 of 30 \(image.truncated\)"):
        toy.go(tmp_path, {"input_faults": (3,)}, max_errors=None)
    assert read_run(tmp_path).status == "done"
    assert only(read_run(tmp_path)).counts.input_errors == 1
    assert only(toy.go(tmp_path, {"input_faults": (3,)}, max_errors=0.05)).status == "done"


def test_images_without_anything_to_score_are_no_failures_unless_all_are_or_none_is_allowed(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sapiens_bench.testing.toy.SampleFault", lambda *_: SampleFault("label.empty", "no pixel"))
    record = toy.go(tmp_path / "some", {"input_faults": (3, 4, 5)}, max_errors=None)
    assert (record.status, only(record).counts.input_errors) == ("done", 3)
    with pytest.raises(TooManyErrors, match="3 of 30"):
        toy.go(tmp_path / "strict", {"input_faults": (3, 4, 5)}, max_errors=0.0)
    with pytest.raises(TooManyErrors, match="30 of 30"):
        toy.go(tmp_path / "all", {"input_faults": tuple(range(30))}, max_errors=None)


def test_a_model_that_cannot_be_built_is_refused_and_the_others_go_on(toy: ModuleType, tmp_path: Path) -> None:
    events: list[Any] = []
    models = ("toy-broken", "toy-unknown", "toy-absent", "toy-plain")
    record = toy.go(tmp_path, on_event=events.append, models=models)
    found = {c.model: (c.status, c.how) for c in record.cells}
    assert found["toy-plain"] == ("done", "")
    assert found["toy-broken"][0] == "refused"
    assert "no such layer" in found["toy-broken"][1]
    assert found["toy-unknown"][0] == "refused"
    assert "of-the-future" in found["toy-unknown"][1]
    assert found["toy-absent"][0] == "weights missing"
    assert "Ask for it." in found["toy-absent"][1]
    assert record.status == "done"
    assert {e.record.model for e in events if isinstance(e, CellFinished)} == {"toy-broken", "toy-plain"}


def test_when_nothing_can_run_the_reason_is_raised(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="toy-absent"):
        toy.go(tmp_path, models=("toy-absent",))
    assert not tmp_path.joinpath("rows").exists()


def test_another_experiment_in_the_folder_is_named_by_its_field(toy: ModuleType, tmp_path: Path) -> None:
    toy.go(tmp_path)
    with pytest.raises(FingerprintMismatch, match=r"options.bias: nothing there, 0.5 now"):
        toy.go(tmp_path, options={"bias": 0.5})
    with pytest.raises(FingerprintMismatch, match=r"shard_size: 5 there, 6 now"):
        toy.go(tmp_path, shard_size=6)
    with pytest.raises(FingerprintMismatch, match=r"keys"):
        toy.go(tmp_path, limit=10)


def test_only_the_row_folder_would_be_enough_to_tell_experiments_apart(toy: ModuleType, tmp_path: Path) -> None:
    toy.go(tmp_path)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(FingerprintMismatch, match=r"shard_size: 5 there, 6 now"):
        toy.go(tmp_path, shard_size=6)


def test_predictions_are_kept_beside_the_rows_with_their_shape(toy: ModuleType, tmp_path: Path) -> None:
    toy.go(tmp_path, {"input_faults": (0,)}, options={"finish_faults": (1,)})
    found = dict(read_predictions(tmp_path / "preds" / CELL / "toy-plain"))
    assert len(found) == 29  # what was measured: misses too, but nothing of an image that could not be read
    assert np.isnan(found["toy/00001"]["value"]).all()
    assert found["toy/00002"]["value"].shape == (1, 1)
    assert found["toy/00002"]["value"][0, 0] == pytest.approx(74 / 255)


def test_out_of_memory_halves_the_batch_and_says_so(toy: ModuleType, tmp_path: Path) -> None:
    record = toy.go(tmp_path, options={"most_crops": 2}, batch_size=8)
    assert only(record).counts.ok == 30
    assert only(record).scores["grey/mae"].value == pytest.approx(0, abs=1e-6)
    assert any("--batch-size 2" in note for note in record.notes)


def test_the_default_folder_is_the_same_for_the_same_question(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a = toy.plan(None)
    b = toy.plan(None, workers=1, batch_size=3, n_boot=7)
    c = toy.plan(None, seed=1)
    assert a.out == b.out
    assert a.out != c.out
    assert a.out.parent == Path("results/runs")
    assert not list(tmp_path.iterdir())  # planning writes nothing


def test_limits_that_make_no_sense_are_refused(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="limit must be at least 1"):
        toy.plan(tmp_path, limit=0)


def test_undefined_scores_are_nan_and_null(toy: ModuleType, tmp_path: Path) -> None:
    cell = only(toy.go(tmp_path, {"n": 2, "input_faults": (0, 1)}))
    assert np.isnan(cell.scores["grey/mae"].value)
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["cells"][0]["scores"]["grey/mae"]["value"] is None


def test_memory_does_not_grow_with_the_data_set(toy: ModuleType, tmp_path: Path) -> None:
    def peak(n: int) -> int:
        tracemalloc.start()
        toy.go(tmp_path / str(n), {"n": n, "size": 200}, n_boot=0, shard_size=64, workers=4)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)  # imports
    small, large = peak(64), peak(640)
    assert large < small * 1.25 + 1_000_000
