"""Two folders are enough for a score: truth and predictions, without a card, a declaration or pictures."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from sapiens_bench.adapters.dense.score import results_card, truth_card
from sapiens_bench.api import evaluate
from sapiens_bench.errors import UsageError
from sapiens_bench.store.record import CellRecord


def scored(task: str, truth: Path, preds: Path, out: Path, space: str = "", **options: Any) -> CellRecord:
    """One run from two folders, the way the command line does it."""
    data, root = truth_card(task, truth, space=space)
    model, weights_root = results_card(task, preds, space=space, options=options)
    cards = out / "cards"
    cards.mkdir(parents=True)
    for card in (data, model):
        plain = card.model_dump(mode="json", by_alias=True, exclude_unset=True)
        (cards / f"{card.id}-{card.schema_.partition('/')[0]}.yaml").write_text(yaml.safe_dump(plain))
    record = evaluate(
        task=task, models=(model.id,), datasets=(data.id,), data_root=root, weights_root=weights_root, cards=(cards,),
        out=out / "run", n_boot=0, workers=1, device="cpu", max_errors=1.0,
    )  # fmt: skip
    return record.cells[0]


@pytest.fixture
def balls(sphere: ModuleType) -> dict[str, Any]:
    return {"a": sphere.perspective(), "b": sphere.perspective(x=-0.3)}


def save(folder: Path, maps: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    for name, array in maps.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_depth_maps_against_depth_maps(tmp_path: Path, balls: dict[str, Any]) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", {k: np.nan_to_num(3 * b.depth_HW + 1, nan=9.0) for k, b in balls.items()})
    cell = scored("depth", truth, preds, tmp_path / "out")
    assert (cell.dataset, cell.model, cell.counts.ok) == ("truth", "mine", 2)
    assert cell.scores["depth/rmse"].value == pytest.approx(0, abs=1e-5)


def test_normals_in_any_frame_against_predictions_in_ours(tmp_path: Path, balls: dict[str, Any]) -> None:
    turned = np.array([1, -1, -1], np.float32)
    truth = save(tmp_path / "gt", {k: b.normals_HW3 * turned for k, b in balls.items()})
    preds = save(tmp_path / "mine", {f"{k}_normal": np.nan_to_num(b.normals_HW3) for k, b in balls.items()})
    cell = scored("normal", truth, preds, tmp_path / "out")
    assert cell.scores["normal/mean_deg"].value == pytest.approx(0, abs=1e-3)


def test_label_maps_against_the_output_of_the_demo(tmp_path: Path, balls: dict[str, Any]) -> None:
    truth = tmp_path / "gt/labels"
    truth.mkdir(parents=True)
    for name, ball in balls.items():
        Image.fromarray(ball.labels_HW).save(truth / f"{name}.png")
    preds = save(tmp_path / "mine", {f"{k}_seg": b.labels_HW.astype(np.int64) for k, b in balls.items()})
    assert scored("seg", truth.parent, preds, tmp_path / "out", "body28").scores["seg/miou"].value == 1.0
    with pytest.raises(UsageError, match="give --space"):
        truth_card("seg", truth)


def test_a_declared_folder_without_pictures_and_one_of_its_role_folders(
    tmp_path: Path, sphere: ModuleType, balls: dict[str, Any]
) -> None:
    import shutil

    root = Path(sphere.write_folder(tmp_path / "data", balls))
    shutil.rmtree(root / "images")
    preds = save(tmp_path / "mine", {k: np.nan_to_num(b.depth_HW, nan=9.0) for k, b in balls.items()})
    for number, truth in enumerate((root, root / "depths")):
        cell = scored("depth", truth, preds, tmp_path / f"out{number}")
        assert cell.scores["depth/rmse"].value == pytest.approx(0, abs=1e-6)
        assert cell.counts.ok == 2
    labels = save(tmp_path / "labels", {k: b.labels_HW for k, b in balls.items()})
    card, _ = truth_card("seg", root)
    assert card.protocols["seg"].space == "body28"  # as declared
    assert scored("seg", root, labels, tmp_path / "seg", "body28").scores["seg/miou"].value == 1.0


def test_a_sample_without_a_prediction_is_a_miss_and_not_left_out(tmp_path: Path, balls: dict[str, Any]) -> None:
    truth = save(tmp_path / "gt", {k: b.depth_HW for k, b in balls.items()})
    preds = save(tmp_path / "mine", {"a": np.nan_to_num(balls["a"].depth_HW, nan=9.0)})
    cell = scored("depth", truth, preds, tmp_path / "out")
    assert (cell.counts.ok, cell.counts.prediction_errors) == (1, 1)
    assert cell.errors[0].code == "pred.missing"


def test_what_cannot_be_scored_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not for 'pose'"):
        truth_card("pose", tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        truth_card("depth", tmp_path / "absent")
    with pytest.raises(UsageError, match="no such folder of predictions"):
        results_card("depth", tmp_path / "absent")


def test_the_id_of_the_truth_is_no_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    assert truth_card("depth", tmp_path)[0].id == "ground-truth"
