"""Our scoring against recorded outputs of the official evaluation codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.checks.golden.pose_metrics import GoldenItem, evaluation_items, nms_items
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.tasks.pose.official import evaluate_predictions, evaluate_results
from sapiens_bench.tasks.pose.scoring import PoseScoring


def test_every_pose_number_of_the_official_evaluation_is_reproduced(shared: Path, spaces: dict[str, SpaceCard]) -> None:
    items = list(evaluation_items(shared / "golden" / "sapiens-v1" / "eval", spaces))
    assert [i for i in items if not i.is_equal] == []
    names = {"/".join(i.name.split("/")[:2]) for i in items}
    assert {
        f"coco17/{v}" for v in ("default", "nms_none", "soft_nms", "score_bbox", "score_keypoint", "no_area")
    } <= names
    assert {"coco17/n_results", "wholebody133/keypoints_face", "goliath308/keypoints_wholebody_goliath"} <= names
    assert len(items) > 200


def test_a_wrong_expected_number_is_noticed(shared: Path, spaces: dict[str, SpaceCard], tmp_path: Path) -> None:
    shutil.copytree(shared / "golden" / "sapiens-v1" / "eval", tmp_path / "eval")
    path = tmp_path / "eval" / "expected.json"
    path.chmod(0o644)
    path.parent.chmod(0o755)
    expected = json.loads(path.read_text())
    expected["coco17"]["default"]["AP"] += 1e-6
    path.write_text(json.dumps(expected))
    assert [i.name for i in evaluation_items(tmp_path / "eval", spaces) if not i.is_equal] == ["coco17/default/AP"]


def test_oks_nms_keeps_the_official_instances_in_the_official_order(shared: Path) -> None:
    items = list(nms_items(shared / "golden" / "sapiens-v1" / "codec" / "oks_nms.json"))
    assert [i for i in items if not i.is_equal] == []
    assert len(items) > 20


def test_the_whole_body_example_is_reproduced_in_every_part(shared: Path, spaces: dict[str, SpaceCard]) -> None:
    folder = shared / "data" / "coco_wholebody_example"
    truth, results = (json.loads((folder / f"example_{n}.json").read_text()) for n in ("gt", "pred"))
    scores = evaluate_results(truth, results, spaces["coco-wholebody133"])
    renamed = {"lefthand": "left_hand", "righthand": "right_hand", "wholebody": "whole"}
    expected = json.loads((folder / "expected_stats.json").read_text())["stats"]
    assert set(expected) == {"body", "foot", "face", "lefthand", "righthand", "wholebody"}
    for part, numbers in expected.items():
        for name, value in numbers.items():
            assert scores.parts[renamed.get(part, part)][name] == pytest.approx(value, abs=1e-9), (part, name)


def test_undefined_equals_minus_one_and_nothing_else() -> None:
    assert GoldenItem("x", -1.0, float("nan")).is_equal
    assert not GoldenItem("x", 0.0, float("nan")).is_equal
    assert not GoldenItem("x", -1.0, 0.0).is_equal


def test_missing_files_fields_and_images_are_named(spaces: dict[str, SpaceCard], tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"expected\.json not found"):
        list(evaluation_items(tmp_path, spaces))
    truth = {"images": [{"id": 1}], "annotations": [{"image_id": 1}]}
    with pytest.raises(DatasetRejected, match="1 of 1 entries lack 'keypoints'"):
        evaluate_predictions(truth, [], spaces["coco17"], PoseScoring())
    truth["annotations"] = []
    with pytest.raises(DatasetRejected, match="image 7 is not in the annotation file"):
        evaluate_results(truth, [{"image_id": 7, "keypoints": [0.0] * 51}], spaces["coco17"])
    with pytest.raises(DatasetRejected, match="numbers of shape"):
        evaluate_results(truth, [{"image_id": 1, "keypoints": [0.0] * 48}], spaces["coco17"])
    with pytest.raises(DatasetRejected, match="not finite"):
        evaluate_results(truth, [{"image_id": 1, "score": float("nan"), "keypoints": [0.0] * 51}], spaces["coco17"])
