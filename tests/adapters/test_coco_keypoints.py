from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.coco.keypoints import CocoKeypoints, _check_pin
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import CardError, ChecksumMismatch, DataMissing, DatasetRejected, SampleFault, UsageError
from sapiens_bench.types import Adapter


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="session")
def coco_root(shared: Path) -> Path:
    return shared / "data/coco"


# ------------------------------------------------------------------------------------------------ a small file of ours


def test_images_come_by_ascending_id_with_those_without_people(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(5, 3), n_images=3))
    assert isinstance(data, Adapter)
    assert data.keys == ["small/000000000001", "small/000000000002", "small/000000000003"]
    assert [data.image_id(i) for i in range(3)] == [1, 2, 3]
    assert [len(data[i].input.boxes_xyxy_px) for i in range(3)] == [0, 0, 1]
    assert data[0].target.keypoints_NK2_px.shape == (0, 17, 2)
    assert data.groups == data.keys


def test_box_corners_are_clipped_to_pixel_centres(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, bbox=[-10.0, 100.0, 200.0, 40.0])))
    np.testing.assert_array_equal(data[0].input.boxes_xyxy_px, np.array([[0, 100, 159, 119]], np.float32))
    np.testing.assert_array_equal(data[0].target.boxes_xyxy_px_N4, [[-10.0, 100.0, 190.0, 140.0]])


def test_crowds_and_people_without_points_are_kept_as_target_but_drive_nothing(
    coco: ModuleType, tmp_path: Path
) -> None:
    people = [
        coco.person(1, 1, iscrowd=1, segmentation={"size": [120, 160], "counts": [19200]}),
        coco.person(2, 1, num_keypoints=0, keypoints=[0] * 51, bbox=[0.0, 0.0, 0.0, 0.0]),
        coco.person(3, 1),
        coco.person(4, 1, keypoints=[-5.0, -5.0, 1] * 17),
    ]
    sample = coco.small(tmp_path, coco.document(*people))[0]
    assert sample.target.ids_N.tolist() == [1, 2, 3, 4]
    assert sample.target.is_crowd_N.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(sample.input.boxes_xyxy_px, [[50, 60, 90, 110]])


def test_detections_keep_all_scores_and_are_not_clipped(coco: ModuleType, tmp_path: Path) -> None:
    boxes = [
        {"bbox": [-5.0, -5.0, 500.0, 500.0], "category_id": 1, "image_id": 2, "score": 0.01},
        {"bbox": [1.0, 2.0, 3.0, 4.0], "category_id": 3, "image_id": 2, "score": 0.9},
        {"bbox": [1.0, 2.0, 3.0, 4.0], "category_id": 1, "image_id": 77, "score": 0.9},
        {"bbox": [1.0, 2.0, 0.0, 4.0], "category_id": 1, "image_id": 2, "score": 0.9},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="boxes.json")
    assert len(data[0].input.boxes_xyxy_px) == 0
    np.testing.assert_array_equal(data[1].input.boxes_xyxy_px, [[-5, -5, 495, 495]])
    np.testing.assert_allclose(data[1].input.box_scores, [0.01])
    assert data.boxes == "boxes.json"
    assert len(data.boxes_sha256) == 64
    assert [note.partition(" was left")[0] for note in data.notes] == [
        "boxes.json: 1 box of other categories",
        "boxes.json: 1 box of images that are not annotated",
        "boxes.json: 1 box without extent",
        "boxes.json: only 0 of 1 images with people have a box: is it the box file of this data set?",
    ]


def test_broken_detections_are_refused_with_every_fault(coco: ModuleType, tmp_path: Path) -> None:
    rows = [{"bbox": [1, 2, 3], "category_id": 1, "image_id": 1, "score": 1}] * 30 + [7]
    (tmp_path / "boxes.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DatasetRejected, match="10 more") as caught:
        coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="boxes.json")
    assert sum("is not 4 finite numbers" in fault for fault in caught.value.faults) == 20
    with pytest.raises(DataMissing, match="absent"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="absent.json")


def test_jitter_is_seeded_by_person_and_bounded(coco: ModuleType, tmp_path: Path) -> None:
    both = coco.document(coco.person(1, 1), coco.person(2, 2))
    a = coco.small(tmp_path, both, boxes="jitter:0.1,7")
    b = coco.small(tmp_path, both, boxes="jitter:0.1,7")
    alone = coco.small(tmp_path, coco.document(coco.person(2, 2)), boxes="jitter:0.1,7")
    other = coco.small(tmp_path, both, boxes="jitter:0.1,8")
    for i in range(2):
        np.testing.assert_array_equal(a[i].input.boxes_xyxy_px, b[i].input.boxes_xyxy_px)
        assert (a[i].input.boxes_xyxy_px != other[i].input.boxes_xyxy_px).all()
        x1, y1, x2, y2 = a[i].input.boxes_xyxy_px[0]
        assert abs((x1 + x2) / 2 - 70) <= 4.001
        assert abs((y1 + y2) / 2 - 85) <= 5.001
        assert 0.899 <= (x2 - x1) / 40 <= 1.101
        assert 0.899 <= (y2 - y1) / 50 <= 1.101
    np.testing.assert_array_equal(alone[1].input.boxes_xyxy_px, a[1].input.boxes_xyxy_px)
    assert a.manifest_sha256 == b.manifest_sha256 != other.manifest_sha256


def test_jitter_numbers_never_change_between_versions(coco: ModuleType, tmp_path: Path) -> None:
    found = coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="jitter:0.1,7")[0].input.boxes_xyxy_px
    np.testing.assert_allclose(found, EXPECTED_JITTER, atol=1e-4)


@pytest.mark.parametrize("boxes", ["jitter:", "jitter:2", "jitter:-0.1", "jitter:nan", "jitter:0.1,x"])
def test_jitter_that_cannot_be_read_is_a_usage_error(coco: ModuleType, tmp_path: Path, boxes: str) -> None:
    with pytest.raises(UsageError, match="jitter:<fraction>"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes=boxes)


def test_all_faults_are_listed_not_only_the_first(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(
        coco.person(0, 1), coco.person(3, 1, area="x"), coco.person(3, 9), coco.person(4, 1, bbox=[1, 2, 3])
    )
    content["images"][0]["file_name"] = "../a.png"
    with pytest.raises(DatasetRejected) as caught:
        coco.small(tmp_path, content)
    said = str(caught.value)
    for part in (
        "label.path",
        "label.id_zero",
        "taken by another annotation",
        "label.area",
        "label.bbox",
        "image_id 9",
        "renumber: true",
    ):
        assert part in said


def test_renumber_gives_ids_from_one_on(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(0, 1), coco.person(7, 1))
    data = coco.small(tmp_path, content, protocol_options={"renumber": True})
    assert data[0].target.ids_N.tolist() == [1, 2]
    content["annotations"][1]["id"] = 0
    with pytest.raises(DatasetRejected, match="id 0"):
        coco.small(tmp_path, content, protocol_options={"renumber": True})


def test_a_faulty_label_costs_its_image_only(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, area=0.0), coco.person(2, 2)))
    with pytest.raises(SampleFault) as caught:
        data[0]
    assert (caught.value.code, caught.value.side) == ("label.bbox", "input")
    assert data[1].target.ids_N.tolist() == [2]


def test_repeated_file_stems_are_told_apart_by_image_id(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1))
    for image in content["images"]:
        image["file_name"] = "a.png"
    assert coco.small(tmp_path, content).keys == ["small/a#1", "small/a#2"]


def test_annotation_file_must_have_the_pinned_hash(coco: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ChecksumMismatch, match="pins"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), card={"checksums": {"labels.json": "0" * 64}})


def test_a_packed_annotation_file_is_pinned_by_the_hash_of_the_file(tmp_path: Path) -> None:
    path, content = tmp_path / "a.json.gz", hashlib.sha256(b"{}").hexdigest()
    path.write_bytes(gzip.compress(b"{}"))
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    _check_pin({"a.json.gz": pin}, "a.json.gz", content, path)
    with pytest.raises(ChecksumMismatch, match=f"{pin}, the card pins 0000"):
        _check_pin({"a.json.gz": "0" * 64}, "a.json.gz", content, path)


def test_manifest_changes_with_the_labels_and_with_the_boxes(coco: ModuleType, tmp_path: Path) -> None:
    first = coco.small(tmp_path, coco.document(coco.person(1, 1))).manifest_sha256
    assert coco.small(tmp_path, coco.document(coco.person(1, 1))).manifest_sha256 == first
    assert coco.small(tmp_path, coco.document(coco.person(1, 1)), boxes="jitter:0.1").manifest_sha256 != first
    assert coco.small(tmp_path, coco.document(coco.person(1, 1, area=901.0))).manifest_sha256 != first


def test_unknown_protocol_options_and_splits_are_refused(coco: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="box"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), protocol_options={"box": "gt"})
    with pytest.raises(CardError, match=r"'\.\.'"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), protocol_options={"images": "../images"})
    with pytest.raises(UsageError, match="no splits"):
        coco.small(tmp_path, coco.document(coco.person(1, 1)), split="train")


# ----------------------------------------------------------------------------------------------------- the 308 format


def goliath(
    coco: ModuleType, tmp_path: Path, space: SpaceCard, entry: dict[str, Any], info: dict[str, Any] | None = None
) -> CocoKeypoints:
    content = coco.document(entry)
    content["info"] = {"goliath_info": info or {}}
    return coco.small(tmp_path, content, space=space)


def test_the_308_points_are_read_from_their_own_field(coco: ModuleType, tmp_path: Path, catalog: Catalog) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (308, 3)) * [1, 1, 0.02]
    entry = coco.person(1, 1, goliath_wholebody_kpts=points.ravel().tolist(), num_keypoints=344)
    target = goliath(coco, tmp_path, catalog.space("goliath308"), entry)[0].target
    np.testing.assert_array_equal(target.keypoints_NK2_px[0], points[:, :2])
    np.testing.assert_allclose(target.visible_NK[0], points[:, 2], rtol=1e-6)


def test_the_308_format_wants_id_equal_to_image_id_and_our_groups(
    coco: ModuleType, tmp_path: Path, catalog: Catalog
) -> None:
    space, points = catalog.space("goliath308"), [50.0, 50.0, 2] * 308
    with pytest.raises(DatasetRejected, match="id must equal image_id"):
        goliath(coco, tmp_path, space, coco.person(5, 1, goliath_wholebody_kpts=points))
    sound = coco.person(1, 1, goliath_wholebody_kpts=points)
    assert len(goliath(coco, tmp_path, space, sound, {"body_keypoint_ids": list(space.groups["body"])})) == 2
    with pytest.raises(DatasetRejected, match="body_keypoint_ids"):
        goliath(coco, tmp_path, space, sound, {"body_keypoint_ids": list(range(17))})


# ------------------------------------------------------------------------------------------------ against pycocotools


@pytest.mark.parametrize("protocol", ["gt-box", "detector-56"])
def test_real_files_equal_what_pycocotools_loads(
    coco: ModuleType, catalog: Catalog, coco_root: Path, protocol: str
) -> None:
    from pycocotools.coco import COCO

    data = coco.opened(catalog, "coco-val2017", protocol, coco_root)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(coco_root / "annotations/person_keypoints_val2017.json"))
    assert [data.image_id(i) for i in range(len(data))] == sorted(reference.getImgIds())
    for i in range(len(data)):
        sample, anns = data[i], reference.loadAnns(reference.getAnnIds(imgIds=[data.image_id(i)], catIds=[1]))
        target = sample.target
        assert target.ids_N.tolist() == [a["id"] for a in anns]
        assert target.area_N.tolist() == [a["area"] for a in anns]
        stored = np.array([a["keypoints"] for a in anns]).reshape(-1, 17, 3)
        np.testing.assert_array_equal(target.keypoints_NK2_px, stored[..., :2])
        np.testing.assert_array_equal(target.visible_NK, stored[..., 2])
        n_driven = sum(a["num_keypoints"] > 0 and not a["iscrowd"] for a in anns)
        if protocol == "gt-box":
            assert len(sample.input.boxes_xyxy_px) == n_driven
    assert sum(len(data[i].input.boxes_xyxy_px) for i in range(len(data))) == (12 if protocol == "gt-box" else 118)


def test_wholebody_starts_with_the_17_and_subsets_follow_their_map(
    coco: ModuleType, catalog: Catalog, coco_root: Path
) -> None:
    body = coco.opened(catalog, "coco-val2017", "gt-box", coco_root)
    whole = coco.opened(catalog, "coco-wholebody-val", "gt-box", coco_root)
    subset = coco.opened(catalog, "coco-wholebody-val", "gt-box-wb63", coco_root)
    index = catalog.space_map("coco-wholebody133", "wb63").index
    raw = json.loads((coco_root / "annotations/coco_wholebody_val_v1.0.json").read_text(encoding="utf-8"))
    by_id = {a["id"]: a for a in raw["annotations"]}
    for i in range(len(body)):
        few, many, part = body.target(i), whole.target(i), subset.target(i)
        assert few.ids_N.tolist() == many.ids_N.tolist()
        np.testing.assert_array_equal(many.keypoints_NK2_px[:, :17], few.keypoints_NK2_px)
        np.testing.assert_array_equal(part.keypoints_NK2_px, many.keypoints_NK2_px[:, index])
        np.testing.assert_array_equal(body[i].input.boxes_xyxy_px, whole[i].input.boxes_xyxy_px)
        for row, identity in enumerate(many.ids_N.tolist()):
            entry = by_id[identity]
            for start, field in ((17, "foot_kpts"), (23, "face_kpts"), (91, "lefthand_kpts"), (112, "righthand_kpts")):
                stored = np.array(entry[field]).reshape(-1, 3)
                end = start + len(stored)
                np.testing.assert_array_equal(many.keypoints_NK2_px[row, start:end], stored[:, :2])
                np.testing.assert_allclose(many.visible_NK[row, start:end], stored[:, 2], rtol=1e-6)


def test_a_picture_of_another_size_is_that_image_s_fault(
    coco: ModuleType, catalog: Catalog, coco_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(coco_root / "annotations", tmp_path / "annotations")
    (tmp_path / "val2017").mkdir()
    for picture in (coco_root / "val2017").glob("*.jpg"):
        shutil.copyfile(picture, tmp_path / "val2017" / picture.name)
    broken = tmp_path / "val2017/000000000785.jpg"
    broken.write_bytes(broken.read_bytes()[:5000])
    Image.new("RGB", (333, 500)).rotate(90, expand=True).resize((333, 500)).save(tmp_path / "val2017/000000040083.jpg")
    (tmp_path / "val2017/000000196141.jpg").unlink()
    data = coco.opened(catalog, "coco-val2017", "gt-box", tmp_path)
    codes = []
    for i in range(3):
        with pytest.raises(SampleFault) as caught:
            data[i]
        codes.append(caught.value.code)
    assert codes == ["image.truncated", "image.exif_policy", "image.missing"]
    assert data[3].input.image_HW3.shape == (392, 640, 3)


EXPECTED_JITTER = [[50.52126, 64.09734, 89.27991, 113.80455]]  # Philox keyed by SHA-256("small|0.1|7|1")
