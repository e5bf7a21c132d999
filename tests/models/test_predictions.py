from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import CardError, CheckpointRejected, SampleFault, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.models.predictions import Predictions
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.pose.types import AnnotationIndex
from sapiens_bench.types import Model, ModelInput


def built(task: str, weights: Path | None, index: AnnotationIndex | None = None, **options: Any) -> Predictions:
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1",
                "id": "stored",
                "title": "stored",
                "task": task,
                "licence": {"name": "CC0-1.0"},
                "wrapper": "predictions",
                "trained_on": "nothing",
                "variants": [{"id": "stored", "title": "stored"}],
            }
        )
    )
    space = Catalog.load().space("coco17") if task == "pose" else None
    kind = options_class(OPTIONS["predictions"], task_kind(task))
    assert kind is not None
    read = read_options(kind, options, "model stored")
    return Predictions(ModelContext(card, card.variants[0], weights, {}, "cpu", "fp32", space, read, index=index))


def of_images(**ids: int) -> AnnotationIndex:
    """An annotation file whose images have these file stems and ids; category 1 is the person, 18 a dog."""
    return AnnotationIndex({f"s/{stem}": i for stem, i in ids.items()}, {1: "person", 18: "dog"}, frozenset({1}))


def asked(key: str, n_boxes: int = 1) -> ModelInput:
    boxes = np.tile(np.array([0, 0, 10, 10], np.float32), (n_boxes, 1))
    return ModelInput(key, np.zeros((12, 16, 3), np.uint8), boxes, np.ones(n_boxes, np.float32))


def answer(model: Predictions, key: str, n_boxes: int = 1) -> Any:
    prepared = model.prepare(asked(key, n_boxes))
    assert prepared.tensors == {}
    return model.finish({}, prepared.geometry)


def results(path: Path, *entries: dict[str, Any]) -> Path:
    points = [v for j in range(17) for v in (1.0 * j, 2.0 * j, 0.5)]
    full = [{"image_id": 785, "category_id": 1, "score": 0.7, "keypoints": points, **entry} for entry in entries]
    path.write_text(json.dumps(full), encoding="utf-8")
    return path


def test_results_are_found_by_the_number_of_the_key(tmp_path: Path) -> None:
    model = built("pose", results(tmp_path / "r.json", {"bbox": [1, 2, 3, 4]}, {"image_id": 9}))
    assert isinstance(model, Model)
    found = answer(model, "coco-val2017/000000000785")
    np.testing.assert_array_equal(found.keypoints_NK2_px[0, :, 1], 2.0 * np.arange(17))
    np.testing.assert_array_equal(found.boxes_xyxy_px_N4, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(found.instance_scores_N, [0.7])
    assert len(answer(model, "set/a b#9").instance_scores_N) == 1
    np.testing.assert_array_equal(answer(model, "set/a b#9").boxes_xyxy_px_N4, [[0, 0, 16, 32]])


def test_stem_table_of_an_annotation_file_leads_to_ids(tmp_path: Path) -> None:
    images = {"images": [{"id": 785, "file_name": "sub/photo.jpg"}]}
    (tmp_path / "gt.json").write_text(json.dumps(images), encoding="utf-8")
    path = results(tmp_path / "r.json", {})
    assert len(answer(built("pose", path, annotations=str(tmp_path / "gt.json")), "s/sub-photo").instance_scores_N) == 1
    with pytest.raises(SampleFault, match=r"pred\.unknown_image"):
        answer(built("pose", path), "s/sub-photo")


def test_the_stored_score_is_final_unless_told_otherwise(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {})
    final, stored = (answer(built("pose", path, keypoint_scores=how), "s/785") for how in ("final", "stored"))
    assert (final.results.is_final, stored.results.is_final) == (True, False)
    assert (stored.keypoint_scores_NK == 0.5).all()


def test_nobody_found_is_no_fault(tmp_path: Path) -> None:
    model = built("pose", results(tmp_path / "r.json", {}))
    found = answer(model, "s/1")
    assert (len(found.instance_scores_N), found.results is not None) == (0, True)


def test_ids_are_those_of_the_annotation_file_never_of_a_file_name(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {"image_id": 1, "score": 0.1}, {"image_id": 2, "score": 0.2})
    model = built("pose", path, of_images(**{"000002": 1, "000001": 2}))
    assert answer(model, "s/000002").instance_scores_N.tolist() == [0.1]
    assert answer(model, "s/000001").instance_scores_N.tolist() == [0.2]
    assert model.notes == []


def test_results_of_other_images_are_left_out_and_said_or_refused_when_there_are_no_others(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {"image_id": 1}, {"image_id": 9})
    (note,) = built("pose", path, of_images(a=1)).notes
    assert note == "1 results of images that are not annotated were left out"
    with pytest.raises(CheckpointRejected, match="none of its 2 results belongs to an image"):
        built("pose", path, of_images(a=5))


def test_images_without_results_are_said(tmp_path: Path) -> None:
    model = built("pose", results(tmp_path / "r.json", {"image_id": 1}), of_images(a=1, b=2, c=3))
    assert model.notes == ["results for 1 of 3 images; people of the others are misses"]


@pytest.mark.parametrize(("category", "n", "said"), [(0, 2, "taken for 1 (person)"), ("person", 2, ""), (1.0, 2, "")])
def test_categories_by_id_name_or_the_only_one_there_is(tmp_path: Path, category: Any, n: int, said: str) -> None:
    path = results(tmp_path / "r.json", *[{"image_id": 1, "category_id": category}] * 2)
    model = built("pose", path, of_images(a=1))
    assert len(answer(model, "s/a").instance_scores_N) == n
    assert said in "".join(model.notes)


def test_dogs_are_left_out_and_a_file_of_dogs_is_refused(tmp_path: Path) -> None:
    one = {"image_id": 1}
    model = built("pose", results(tmp_path / "r.json", one, {**one, "category_id": 18}), of_images(a=1))
    assert len(answer(model, "s/a").instance_scores_N) == 1
    assert model.notes == ["1 results of other categories were left out"]
    with pytest.raises(CheckpointRejected, match="category_id 18"):
        built("pose", results(tmp_path / "r.json", {**one, "category_id": 18}), of_images(a=1))


@pytest.mark.parametrize(
    ("stem", "said"), [("0001", "0001"), ("0001", "0001.jpg"), ("a.rf.9", "a.rf.9.PNG"), ("a.rf.9", "a.rf.9")]
)
def test_text_ids_are_file_names_where_the_data_set_is_known(tmp_path: Path, stem: str, said: str) -> None:
    model = built("pose", results(tmp_path / "r.json", {"image_id": said}), of_images(**{stem: 7}))
    assert len(answer(model, f"s/{stem}").instance_scores_N) == 1
    assert "file name" in model.notes[0]


def test_results_without_a_score_are_refused(tmp_path: Path) -> None:
    entries = [{"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51}]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointRejected, match="no 'score'"):
        built("pose", tmp_path / "r.json", of_images(a=1))


def demo(path: Path, *instances: dict[str, Any], names: tuple[str, ...] = ()) -> Path:
    meta = {"keypoint_id2name": {str(i): name for i, name in enumerate(names)}} if names else {}
    path.write_text(json.dumps({"meta_info": meta, "instance_info": list(instances)}))
    return path


def test_a_demo_file_is_read_by_the_name_of_its_picture(tmp_path: Path) -> None:
    points, scores = [[float(j), 2.0 * j] for j in range(17)], [0.5] * 17
    (tmp_path / "out").mkdir()
    demo(tmp_path / "out/a.json", {"keypoints": points, "keypoint_scores": scores, "bbox_score": 0.8})
    demo(tmp_path / "out/b.json")
    model = built("pose", tmp_path / "out", of_images(a=4, b=5))
    found = answer(model, "s/a")
    np.testing.assert_array_equal(found.keypoints_NK2_px[0], points)
    assert found.instance_scores_N.tolist() == pytest.approx([0.4])
    assert len(answer(model, "s/b").instance_scores_N) == 0
    assert "ranked by their box score" in model.notes[0]


def test_a_list_of_instances_without_image_ids_is_about_the_picture_it_is_named_after(tmp_path: Path) -> None:
    pairs = [[float(i), 2.0] for i in range(17)]
    inferencer = [{"keypoints": pairs, "keypoint_scores": [0.5] * 17, "bbox": [[0, 0, 9, 9]], "bbox_score": 0.8}]
    (tmp_path / "p/").mkdir()
    (tmp_path / "p/a.json").write_text(json.dumps(inferencer))  # MMPose's inferencer
    pifpaf = [
        {"keypoints": [v for p in pairs for v in (*p, 0.5)], "bbox": [0, 0, 9, 9], "score": 0.7, "category_id": 1}
    ]
    (tmp_path / "p/b.jpg.predictions.json").write_text(json.dumps(pifpaf))
    (tmp_path / "p/c.json").write_text(json.dumps([{"keypoints": [[*p, 0.25] for p in pairs]}]))
    (tmp_path / "p/d.json").write_text("[]")  # nobody found
    model = built("pose", tmp_path / "p", of_images(a=1, b=2, c=3, d=4))
    for key, score in (("s/a", 0.8 * 0.5), ("s/b", 0.7), ("s/c", 0.25)):
        found = answer(model, key)
        assert found.instance_scores_N.tolist() == pytest.approx([score])
        np.testing.assert_array_equal(found.keypoints_NK2_px[0], pairs)
    assert len(answer(model, "s/d").keypoints_NK2_px) == 0


def test_a_single_demo_file_belongs_to_the_single_image(tmp_path: Path) -> None:
    path = demo(tmp_path / "mine.json", {"keypoints": [[1.0, 2.0]] * 17, "keypoint_scores": [1.0] * 17})
    assert len(answer(built("pose", path, of_images(a=4)), "s/a").instance_scores_N) == 1
    with pytest.raises(CheckpointRejected, match="picture's file name"):
        built("pose", path, of_images(a=4, b=5))


def test_points_follow_the_names_that_the_file_gives(tmp_path: Path) -> None:
    names = Catalog.load().space("coco17").names
    points = [[float(j), 0.0] for j in range(17)]
    path = demo(tmp_path / "a.json", {"keypoints": points, "keypoint_scores": [1.0] * 17}, names=names[::-1])
    found = answer(built("pose", path, of_images(a=4)), "s/a")
    assert found.keypoints_NK2_px[0, :, 0].tolist() == list(range(16, -1, -1))
    wrong = ("root", "right_hip", "right_knee", *(f"joint of {i}" for i in range(14)))
    path = demo(tmp_path / "a.json", {"keypoints": points, "keypoint_scores": [1.0] * 17}, names=wrong)
    with pytest.raises(CheckpointRejected, match="not those of the model's set"):
        built("pose", path, of_images(a=4))


def test_an_annotation_file_with_scores_may_be_the_results(tmp_path: Path) -> None:
    names = list(Catalog.load().space("coco17").names)
    entry = {"image_id": 1, "category_id": 1, "score": 1, "keypoints": [v for j in range(17) for v in (j, 0, 1)]}
    content = {"annotations": [entry], "categories": [{"id": 1, "name": "person", "keypoints": names[::-1]}]}
    (tmp_path / "r.json").write_text(json.dumps(content))
    found = answer(built("pose", tmp_path / "r.json", of_images(a=1)), "s/a")
    assert found.keypoints_NK2_px[0, 0, 0] == 16


@pytest.mark.parametrize("wrap", [1, 2, 3], ids=["flat in a list", "(17, 3)", "(1, 17, 3)"])
def test_points_that_are_lists_of_their_own_are_taken_one_after_the_other(tmp_path: Path, wrap: int) -> None:
    flat = [float(i) for i in range(51)]
    triples: list[Any] = [flat[i : i + 3] for i in range(0, 51, 3)]
    points = {1: [flat], 2: triples, 3: [triples]}[wrap]
    model = built(
        "pose", results(tmp_path / "r.json", {"image_id": 1, "keypoints": points, "score": 0.5}), of_images(a=1)
    )
    found = answer(model, "s/a")
    np.testing.assert_array_equal(found.keypoints_NK2_px[0], np.array(flat).reshape(-1, 3)[:, :2])
    assert any("lists of their own" in note for note in model.notes)


def test_shares_of_the_picture_are_refused_as_results(tmp_path: Path) -> None:
    entry = {"image_id": 1, "keypoints": [0.25, 0.75, 0.9] * 17, "score": 1}
    with pytest.raises(CheckpointRejected, match=r"every coordinate lies within 0\.\.1"):
        built("pose", results(tmp_path / "r.json", entry), of_images(a=1))
    zeros = {"image_id": 1, "keypoints": [0, 0, 0.1] * 17, "score": 1}  # nobody found anywhere
    assert len(answer(built("pose", results(tmp_path / "r.json", zeros), of_images(a=1)), "s/a").keypoints_NK2_px) == 1


def test_pairs_without_scores_are_not_taken_for_triples(tmp_path: Path) -> None:
    pairs = [[1.0, 2.0]] * 51  # 102 numbers would be 34 triples
    model = built("pose", results(tmp_path / "r.json", {"image_id": 1, "keypoints": pairs, "score": 1}), of_images(a=1))
    with pytest.raises(SampleFault, match=r"values that are no numbers|51 value"):
        answer(model, "s/a")


@pytest.mark.parametrize("points", [[1.0] * 48, "text", None, [True] * 51, ["1"] * 51])
def test_malformed_points_cost_their_image_only(tmp_path: Path, points: Any) -> None:
    model = built("pose", results(tmp_path / "r.json", {"keypoints": points}, {"image_id": 2}))
    with pytest.raises(SampleFault, match=r"pred\.shape"):
        answer(model, "s/785")
    assert len(answer(model, "s/2").instance_scores_N) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[1]", '[{"image_id": "785", "score": 1}]', "[{", '[{"image_id": true, "score": 1}]'],
)
def test_files_that_are_no_results_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointRejected, match=r"r\.json"):
        built("pose", tmp_path / "r.json")


def test_dense_predictions_are_read_from_files_named_by_key(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set/a.npy", np.full((12, 16), 2.0))
    depth = answer(built("depth", tmp_path, depth_kind="metric_depth"), "set/a")
    assert isinstance(depth, DepthPrediction)
    assert (depth.kind, depth.depth_HW.dtype) == ("metric_depth", np.float32)
    np.save(tmp_path / "set/n.npy", np.zeros((12, 16, 3)))
    assert answer(built("normal", tmp_path), "set/n").normals_HW3.shape == (12, 16, 3)
    Image.fromarray(np.full((12, 16), 27, np.uint8)).save(tmp_path / "set/s.png")
    assert (answer(built("seg", tmp_path), "set/s").labels_HW == 27).all()


def test_absent_broken_and_escaping_dense_files_are_that_image_s_fault(tmp_path: Path) -> None:
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    model = built("depth", tmp_path)
    for key, code in (("a", "pred.missing"), ("b", "pred.unreadable"), ("../b", "pred.unreadable")):
        with pytest.raises(SampleFault) as caught:
            answer(model, key)
        assert (caught.value.code, caught.value.side) == (code, "prediction")
    with pytest.raises(SampleFault, match=r"pred\.missing"):
        answer(built("seg", tmp_path), "a")


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="stored"):
        built("pose", None)
    with pytest.raises(CheckpointRejected, match="not a folder"):
        built("depth", tmp_path / "absent")
    with pytest.raises(CardError, match="kind"):
        built("normal", tmp_path, kind="x")
    with pytest.raises(CardError, match="kind"):
        built("depth", tmp_path, kind="x")
