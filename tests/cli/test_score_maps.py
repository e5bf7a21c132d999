"""Two folders are enough for a score: truth and predictions, without a card, a declaration or pictures."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.api import evaluate
from sapiens_bench.errors import DataMissing, UsageError, WeightsMissing
from sapiens_bench.report.footnotes import row_notes
from sapiens_bench.store.record import CellRecord, read_run

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def balls(sphere: ModuleType) -> dict[str, Any]:
    return {"a": sphere.perspective(), "b": sphere.perspective(x=-0.3)}


@pytest.fixture
def scored(call: Call, tmp_path: Path) -> Callable[..., CellRecord]:
    """``score`` as typed; the first cell of its record."""

    def run(task: str, truth: Path, preds: Path, *more: str, code: int = 0) -> CellRecord:
        out = tmp_path / "runs" / str(len(list((tmp_path / "runs").glob("*"))) if (tmp_path / "runs").exists() else 0)
        found, printed, said = call("score", "--task", task, "--truth", truth, preds, "--out", out, *more)
        assert found == code, printed + said
        return read_run(out).cells[0]

    return run


def save(folder: Path, maps: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    for name, array in maps.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def depths(balls: dict[str, Any], scale: float = 1, shift: float = 0) -> dict[str, Any]:
    return {k: np.nan_to_num(scale * b.depth_HW + shift, nan=9.0).astype(np.float32) for k, b in balls.items()}


def test_depth_maps_against_depth_maps(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", depths(balls, 3, 1))
    cell = scored("depth", truth, preds)
    assert (cell.dataset, cell.model, cell.protocol, cell.counts.ok) == ("gt", "mine", "scale_shift", 2)
    assert cell.scores["depth/rmse"].value == pytest.approx(0, abs=1e-5)


def test_metric_depth_is_scored_as_it_is_where_asked(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: 1000 * b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", depths(balls, 1, 0.5))
    metric = ("--option", "depth_kind=metric_depth", "--data-option", "unit=mm")
    assert scored("depth", truth, preds, "--protocol", "none", *metric).scores["depth/rmse"].value == pytest.approx(0.5)
    assert scored("depth", truth, preds, *metric).scores["depth/rmse"].value == pytest.approx(0, abs=1e-5)


def test_depth_in_millimetres_that_is_taken_for_metres_is_told_and_the_options_named_mend_it(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", depths(balls, 1000))
    wrong = scored("depth", truth, preds, "--protocol", "none")
    (note,) = [note for note in row_notes(wrong) if "times the depth" in note]
    named = re.search("(--option .*) \\(", note)
    assert named is not None
    right = scored("depth", truth, preds, "--protocol", "none", *named[1].split())
    assert right.scores["depth/rmse"].value == pytest.approx(0, abs=1e-5)
    assert row_notes(right) == []


@pytest.mark.parametrize(("kind", "is_told"), [("metric_depth", True), ("affine_invariant_depth", False)])
def test_zeros_that_would_be_scored_as_a_depth_are_told(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord], kind: str, is_told: bool
) -> None:
    """A picture of counts says nothing where it is 0; an array of metres does."""
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = depths(balls)
    preds["b"][::7] = 0
    scored("depth", truth, save(tmp_path / "mine", preds), "--option", f"depth_kind={kind}")
    said = " ".join(read_run(tmp_path / "runs" / "0").notes)
    assert ("1 of the 2 depth maps looked at hold zeros (b.npy)" in said) is is_told


def test_maps_of_network_size_are_resized_where_asked(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: b.labels_HW for k, b in balls.items()})
    halves = save(tmp_path / "half", {k: b.labels_HW[::2, ::2] for k, b in balls.items()})
    space = ("--space", "body28")
    refused = scored("seg", truth, halves, *space, code=3)
    assert {error.code for error in refused.errors} == {"pred.shape"}
    assert "resize=nearest" in refused.errors[0].detail
    resized = scored("seg", truth, halves, *space, "--resize", "nearest")
    assert resized.counts.ok == 2
    assert resized.scores["seg/miou"].value > 0.8


def test_normals_in_any_frame_against_predictions_in_ours(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    turned = np.array([1, -1, -1], np.float32)
    truth = save(tmp_path / "gt", {k: b.normals_HW3 * turned for k, b in balls.items()})
    preds = save(tmp_path / "mine", {f"{k}_normal": np.nan_to_num(b.normals_HW3) for k, b in balls.items()})
    assert scored("normal", truth, preds).scores["normal/mean_deg"].value == pytest.approx(0, abs=1e-3)


def test_predictions_in_other_axes_are_refused_with_an_option_that_works(
    tmp_path: Path, balls: dict[str, Any], call: Call, scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: b.normals_HW3 for k, b in balls.items()})
    turned = np.array([1, -1, -1], np.float32)
    preds = save(tmp_path / "mine", {k: np.nan_to_num(b.normals_HW3) * turned for k, b in balls.items()})
    code, out, err = call("score", "--task", "normal", "--truth", truth, preds, "--out", tmp_path / "refused")
    assert code != 0
    assert "axis_sign: [1, -1, -1]" in out + err
    followed = scored("normal", truth, preds, "--option", "axis_sign=[1,-1,-1]")
    assert followed.scores["normal/mean_deg"].value == pytest.approx(0, abs=1e-3)


def test_label_maps_against_the_output_of_the_demo(
    tmp_path: Path, balls: dict[str, Any], call: Call, scored: Callable[..., CellRecord]
) -> None:
    truth = tmp_path / "gt/labels"
    truth.mkdir(parents=True)
    for name, ball in balls.items():
        Image.fromarray(ball.labels_HW).save(truth / f"{name}.png")
    preds = save(tmp_path / "mine", {f"{k}_seg": b.labels_HW.astype(np.int64) for k, b in balls.items()})
    for place in (truth, truth.parent):
        assert scored("seg", place, preds, "--space", "body28").scores["seg/miou"].value == 1.0
    code, _, err = call("score", "--task", "seg", "--truth", truth, preds)
    assert code == 2
    assert "--space body28" in err


def test_a_declared_folder_without_pictures_and_one_of_its_role_folders(
    tmp_path: Path, sphere: ModuleType, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    root = Path(sphere.write_folder(tmp_path / "data", balls))
    shutil.rmtree(root / "images")
    preds = save(tmp_path / "mine", depths(balls))
    for truth in (root, root / "depths"):
        cell = scored("depth", truth, preds)
        assert cell.scores["depth/rmse"].value == pytest.approx(0, abs=1e-6)
        assert cell.counts.ok == 2
    labels = save(tmp_path / "labels", {k: b.labels_HW for k, b in balls.items()})
    assert scored("seg", root, labels).scores["seg/miou"].value == 1.0  # in the set that is declared


def test_a_sample_without_a_prediction_is_a_miss_and_not_left_out(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", {"a": depths(balls)["a"]})
    cell = scored("depth", truth, preds, "--max-errors", "1")
    assert (cell.counts.ok, cell.counts.prediction_errors) == (1, 1)
    assert cell.errors[0].code == "pred.missing"


def test_a_limit_on_pixels_names_its_flag(
    tmp_path: Path, balls: dict[str, Any], scored: Callable[..., CellRecord]
) -> None:
    truth = tmp_path / "gt"
    truth.mkdir()
    for name, ball in balls.items():
        Image.fromarray(ball.labels_HW).save(truth / f"{name}.png")
    preds = save(tmp_path / "mine", {k: b.labels_HW for k, b in balls.items()})
    cell = scored("seg", truth, preds, "--space", "body28", "--max-pixels", "100", code=3)
    assert cell.errors[0].code == "image.too_large"
    assert "--max-pixels" in cell.errors[0].detail


def test_several_folders_are_several_rows_and_the_same_command_finds_its_run(
    tmp_path: Path, balls: dict[str, Any], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    places = [save(tmp_path / name / "depth", depths(balls, scale)) for name, scale in (("one", 1), ("two", 2))]
    typed = ("score", "--task", "depth", "--truth", truth, *places, "--n-boot", "20")
    assert call(*typed)[0] == 0
    assert call(*typed)[0] == 0
    (run,) = (tmp_path / "results/runs").iterdir()
    assert [(cell.model, cell.title, cell.status) for cell in read_run(run).cells] == [
        ("depth", "depth", "done"),
        ("two-depth", "two/depth", "done"),
    ]
    np.save(places[0] / "a.npy", depths(balls, 1, 5)["a"][::2])
    os.utime(places[0] / "a.npy", ns=(1, 1))
    assert call(*typed, "--max-errors", "1")[0] == 0
    assert len(list((tmp_path / "results/runs").iterdir())) == 2  # other files, another run


def test_a_folder_of_predictions_stands_for_a_model_of_any_data_set(
    tmp_path: Path, sphere: ModuleType, balls: dict[str, Any]
) -> None:
    root = Path(sphere.write_folder(tmp_path / "data", balls))
    preds = save(tmp_path / "mine", {k: b.labels_HW for k, b in balls.items()})
    common: dict[str, Any] = {"task": "seg", "n_boot": 0, "workers": 1, "device": "cpu"}
    record = evaluate(
        **common, models=(f"predictions:{preds}", "floor-background"), datasets=("folder",), data_root=root,
        out=tmp_path / "a",
    )  # fmt: skip
    right = {"mine": True, "floor-background": False}
    assert {cell.model: cell.scores["seg/miou"].value == 1 for cell in record.cells} == right
    record = evaluate(
        **common, models=(f"predictions[body28]:{preds}", "floor-background"), datasets=(f"truth:{root}",),
        out=tmp_path / "b",
    )  # fmt: skip
    assert {cell.model: cell.scores["seg/miou"].value == 1 for cell in record.cells} == right
    assert {cell.dataset for cell in record.cells} == {"data"}


def test_a_model_that_looks_at_pictures_needs_them_in_the_folder_of_truth(
    tmp_path: Path, sphere: ModuleType, balls: dict[str, Any]
) -> None:
    root = Path(sphere.write_folder(tmp_path / "data", balls))
    shutil.rmtree(root / "images")
    with pytest.raises(DataMissing, match="no folder images"):
        evaluate(task="depth", models="floor-median-depth", datasets=f"truth:{root}", out=tmp_path / "x")


def test_what_cannot_be_scored_says_so(tmp_path: Path, balls: dict[str, Any]) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})

    def run(task: str, model: str, dataset: str) -> None:
        evaluate(task=task, models=model, datasets=dataset, out=tmp_path / "x", n_boot=0)

    with pytest.raises(UsageError, match="absent is no folder"):
        run("depth", f"predictions:{truth}", f"truth:{tmp_path / 'absent'}")
    with pytest.raises(WeightsMissing, match="absent is no folder"):
        run("depth", f"predictions:{tmp_path / 'absent'}", f"truth:{truth}")
    with pytest.raises(UsageError, match="no set"):
        run("depth", f"predictions[body28]:{truth}", f"truth:{truth}")
    with pytest.raises(UsageError, match=r"predictions\[body28\]"):
        evaluate(task="seg", models=f"predictions:{truth}", out=tmp_path / "x")
