"""Annotation files as people have them: each kind of oddity, what becomes of it, and what is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.coco.peek import peek
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault


@pytest.fixture(scope="module")
def coco17() -> SpaceCard:
    return Catalog.load().space("coco17")


def said(data: Any, part: str) -> bool:
    return any(part in note for note in data.notes)


ANTELOPE, PERSON = {"id": 1, "name": "antelope"}, {"id": 2, "name": "Person "}


def test_the_person_is_found_by_name_and_never_by_a_number(coco: ModuleType, tmp_path: Path) -> None:
    people = [coco.person(1, 1, category_id=1), coco.person(2, 2, category_id=2)]
    data = coco.small(tmp_path, coco.document(*people, categories=[ANTELOPE, PERSON]))
    assert [len(data[i].target.ids_N) for i in range(2)] == [0, 1]
    assert data.index.scored == {2}


def test_the_only_category_is_scored_whatever_its_number(coco: ModuleType, tmp_path: Path) -> None:
    for categories in ([{"id": 0, "name": "person"}], [{"id": 0, "name": "hand"}], [{"id": 7}]):
        content = coco.document(coco.person(1, 1, category_id=categories[0]["id"]), categories=categories)
        data = coco.small(tmp_path, content)
        assert len(data[0].target.ids_N) == 1
        assert said(data, "'hand'") == (categories[0].get("name") == "hand")


def test_without_a_person_among_several_the_file_is_refused_until_one_is_named(
    coco: ModuleType, tmp_path: Path
) -> None:
    content = coco.document(
        coco.person(1, 1, category_id=4), coco.person(2, 1, category_id=9),
        categories=[{"id": 4, "name": "rider"}, {"id": 9, "name": "walker"}],
    )  # fmt: skip
    with pytest.raises(DatasetRejected, match=r"'rider' \(id 4\), 'walker' \(id 9\)(?s:.*)category=NAME"):
        coco.small(tmp_path, content)
    for asked, ids in (("Walker", [2]), (4, [1]), ("all", [1, 2])):
        data = coco.small(tmp_path, content, protocol_options={"category": asked})
        assert data[0].target.ids_N.tolist() == ids
    assert said(data, "means over the categories")
    assert data[0].target.category_N.tolist() == data[0].input.box_categories.tolist() == [4, 9]
    with pytest.raises(DatasetRejected, match="no category 'runner'"):
        coco.small(tmp_path, content, protocol_options={"category": "runner"})


def test_nobody_of_the_scored_category_is_a_fault_of_the_file(coco: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected, match="no annotation has category 2"):
        coco.small(tmp_path, coco.document(coco.person(1, 1), categories=[ANTELOPE, PERSON]))


def test_a_file_without_people_is_refused_with_the_files_that_have_them(coco: ModuleType, tmp_path: Path) -> None:
    content, path = coco.document(), tmp_path / "t.json"
    boxes_alone = coco.document(coco.person(1, 1, keypoints=None, num_keypoints=None))
    with pytest.raises(DatasetRejected, match=r"'annotations' is empty(?s:.*)person_keypoints_\*\.json"):
        coco.small(tmp_path, content)
    for seen in (content, {k: v for k, v in content.items() if k != "annotations"}, boxes_alone):
        path.write_text(json.dumps(seen))
        with pytest.raises(DatasetRejected, match=r"label\.people(?s:.*)person_keypoints_\*\.json"):
            peek(path, {})


def test_where_nobody_is_scored_it_is_said_why_there_is_no_score(coco: ModuleType, tmp_path: Path) -> None:
    nobody = [coco.person(1, 1, iscrowd=1), coco.person(2, 2, num_keypoints=0, keypoints=[0] * 51)]
    data = coco.small(tmp_path, coco.document(*nobody))
    assert said(data, "Nobody of the file is scored, so AP is undefined: of its 2 people 1 are crowds")
    one = coco.small(tmp_path, coco.document(*nobody, coco.person(3, 1)))
    assert not said(one, "Nobody")


def test_files_of_one_name_are_told_apart_by_their_ending(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), n_images=3)
    for image in content["images"]:
        image["file_name"] = {1: "a.png", 2: "a.jpg", 3: "b.png"}[image["id"]]
    assert coco.small(tmp_path, content).index.file_names == {1: "a.png", 2: "a.jpg"}
    assert coco.small(tmp_path, coco.document(coco.person(1, 1))).index.file_names == {}


def test_points_follow_the_names_that_the_category_lists(coco: ModuleType, tmp_path: Path, coco17: SpaceCard) -> None:
    listed = [name.replace("_", " ").title() for name in reversed(coco17.names)]
    category = {"id": 1, "name": "person", "keypoints": listed}
    data = coco.small(tmp_path, coco.document(coco.person(1, 1), categories=[category]), space=coco17)
    np.testing.assert_array_equal(data[0].target.keypoints_NK2_px[0, :, 0], 60.0 + np.arange(16, -1, -1))
    assert said(data, "another order")


def test_names_of_other_points_are_refused_and_other_spellings_are_said(
    coco: ModuleType, tmp_path: Path, coco17: SpaceCard
) -> None:
    swapped = ["left_ankle", *coco17.names[1:]]
    for listed, spelling in ((swapped, False), (["snout", *coco17.names[1:]], True)):
        category = {"id": 1, "name": "person", "keypoints": listed}
        content = coco.document(coco.person(1, 1), categories=[category])
        if spelling:
            assert said(coco.small(tmp_path, content, space=coco17), "'snout'")
            continue
        with pytest.raises(DatasetRejected, match="point 0 is 'left_ankle' there and 'nose' here"):
            coco.small(tmp_path, content, space=coco17)
        coco.small(tmp_path, content, space=coco17, protocol_options={"names": "ignore"})


def test_a_category_may_list_more_names_than_there_are_points(
    coco: ModuleType, tmp_path: Path, coco17: SpaceCard
) -> None:
    category = {"id": 1, "name": "person", "keypoints": [*coco17.names, "left_finger", "right_finger"]}
    data = coco.small(tmp_path, coco.document(coco.person(1, 1), categories=[category]), space=coco17)
    assert data.notes == ()


def pictures_of_a_day(coco: ModuleType, folder: Path, name: str) -> bytes:
    """An annotation file that names the one picture, which lies in ``images/day``."""
    content = coco.document(coco.person(1, 1), n_images=1)
    content["images"][0]["file_name"] = name
    (folder / "images/day").mkdir(parents=True)
    Image.new("RGB", coco.SIZE).save(folder / "images/day/one.png")
    return json.dumps(content).encode()


def test_a_dot_in_front_of_a_name_is_dropped(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, pictures_of_a_day(coco, tmp_path, "./day/one.png"))
    assert data[0].input.image_HW3.shape == (120, 160, 3)


@pytest.mark.parametrize("name", ["day\\one.png", ".\\day\\one.png"])
def test_a_backslash_is_refused_with_the_name_to_write(coco: ModuleType, tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetRejected, match=r"label\.path.*with slashes: 'day/one\.png'"):
        coco.small(tmp_path, pictures_of_a_day(coco, tmp_path, name))


def test_without_any_area_it_is_0_53_of_the_box_and_said(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, area=None)))
    assert data[0].target.area_N.tolist() == [40 * 50 * 0.53]
    assert said(data, "Areas are 0.53 x the box")


def test_a_single_missing_area_is_refused_with_the_way_out(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), coco.person(2, 1, area=None))
    with pytest.raises(DatasetRejected, match=r"annotation 2(?s:.*)area=0\.53 x box"):
        coco.small(tmp_path, content)
    data = coco.small(tmp_path, content, protocol_options={"area": "0.53 x box"})
    assert data[0].target.area_N.tolist() == [2000 * 0.53] * 2


def test_areas_that_do_not_fit_their_boxes_are_counted(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, area=1), coco.person(2, 2)))
    assert said(data, "People whose area does not fit their box: 1")


def test_num_keypoints_0_decides_as_in_pycocotools_and_wrong_counts_are_said(coco: ModuleType, tmp_path: Path) -> None:
    people = [coco.person(1, 1, num_keypoints=0), coco.person(2, 1, num_keypoints=3), coco.person(3, 2)]
    data = coco.small(tmp_path, coco.document(*people))
    assert data[0].target.is_scored_N.tolist() == [False, True]
    assert len(data[0].input.boxes_xyxy_px) == 1
    assert said(data, "num_keypoints 0 with labelled points: 1; ignored")
    assert said(data, "num_keypoints is not the number of labelled points: 1")


def test_an_absent_count_is_counted(coco: ModuleType, tmp_path: Path) -> None:
    nobody = coco.person(2, 1, num_keypoints=None, keypoints=[0] * 51)
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, num_keypoints=None), nobody))
    assert data[0].target.is_scored_N.tolist() == [True, False]
    assert len(data[0].input.boxes_xyxy_px) == 1


@pytest.mark.parametrize(("flag", "is_crowd"), [(False, False), (True, True), (0.0, False), (1.0, True), (1, True)])
def test_iscrowd_may_be_a_truth_value(coco: ModuleType, tmp_path: Path, flag: Any, is_crowd: bool) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, iscrowd=flag)))
    assert data[0].target.is_crowd_N.tolist() == [is_crowd]


def test_whole_numbers_may_be_written_as_floats(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(5.0, 1.0, num_keypoints=17.0, category_id=1.0))
    content["images"][0] |= {"id": 2.0, "width": 160.0}
    data = coco.small(tmp_path, content)
    assert data[0].target.ids_N.tolist() == [5]
    for wrong in (17.5, "17", True):
        with pytest.raises(DatasetRejected, match="num_keypoints"):
            coco.small(tmp_path, coco.document(coco.person(1, 1, num_keypoints=wrong)))


def test_hash_ids_of_64_bits_stay_apart_and_larger_ones_are_named(coco: ModuleType, tmp_path: Path) -> None:
    high = (1 << 64) - 1
    content = coco.document(coco.person(high, 1), coco.person(high - 1, 2))
    for image, identity in zip(content["images"], (high, 1 << 62), strict=True):
        image["id"] = identity
    content["annotations"][0]["image_id"], content["annotations"][1]["image_id"] = high, 1 << 62
    data = coco.small(tmp_path, content)
    assert [data.image_id(i) for i in range(2)] == [1 << 62, high]
    assert [int(data[i].target.ids_N[0]) for i in range(2)] == [high - 1, high]
    with pytest.raises(DatasetRejected, match="beyond 64 bits"):
        coco.small(tmp_path, coco.document(coco.person(1 << 64, 1)))
    with pytest.raises(DatasetRejected, match=r"float beyond 2\^53"):
        coco.small(tmp_path, coco.document(coco.person(float(1 << 60), 1)))


def test_annotations_of_unlisted_images_are_refused_or_skipped_as_told(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), coco.person(2, 9))
    with pytest.raises(DatasetRejected, match="unlisted=skip"):
        coco.small(tmp_path, content)
    data = coco.small(tmp_path, content, protocol_options={"unlisted": "skip"})
    assert sum(len(data[i].target.ids_N) for i in range(2)) == 1
    assert said(data, "not listed: 1")


def test_pictures_are_chosen_by_their_crowd_index(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), coco.person(2, 2), coco.person(3, 3), n_images=3)
    for image, index in zip(content["images"], (0.9, 0.2, 0.1), strict=True):  # ids 3, 2, 1
        image["crowdIndex"] = index
    for limits, ids in (((0, 0.2), [1]), ((0.2, 0.8), [2]), ((0.8, 100), [3])):
        data = coco.small(tmp_path, content, protocol_options={"crowd_index": list(limits)})
        assert [data.image_id(i) for i in range(len(data))] == ids
    del content["images"][0]["crowdIndex"]
    with pytest.raises(DatasetRejected, match="crowdIndex None is not a number"):
        coco.small(tmp_path, content, protocol_options={"crowd_index": [0, 1]})


FAULTS = [
    ({"area": 1e9}, "label.area"),
    ({"area": 1e200}, "label.area"),
    ({"keypoints": [1e200, 70.0, 2] + [60.0, 70.0, 2] * 16}, "label.keypoints"),
    ({"bbox": [1e6, 0.0, 40.0, 50.0]}, "label.bbox"),
    ({"bbox": [170.0, 0.0, 40.0, 50.0]}, "label.bbox"),  # nothing of it lies in the picture
    ({"bbox": [50.0, 60.0, 0.0, 50.0]}, "label.bbox"),
    ({"area": 0.0}, "label.bbox"),
    ({"keypoints": [0] * 51}, "label.num_keypoints"),
]


@pytest.mark.parametrize(("change", "code"), FAULTS)
def test_an_absurd_label_costs_its_image_and_is_named(
    coco: ModuleType, tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1, **change), coco.person(2, 2)))
    with pytest.raises(SampleFault) as caught:
        data[0]
    assert (caught.value.code, caught.value.side) == (code, "input")
    assert "annotation 1" in caught.value.detail
    assert len(data[1].target.ids_N) == 1
    as_crowd = coco.small(tmp_path, coco.document(coco.person(1, 1, iscrowd=1, **change), coco.person(2, 2)))
    assert len(as_crowd[0].target.ids_N) == 1  # a crowd is never scored, so nothing of it can mislead


def test_boxes_matter_only_where_they_are_used(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1, bbox=[170.0, 0.0, 40.0, 50.0]))
    assert len(coco.small(tmp_path, content, boxes="none")[0].target.ids_N) == 1


@pytest.mark.parametrize("change", [{"iscrowd": 1}, {"num_keypoints": 0}, {"iscrowd": 1, "num_keypoints": 0}])
def test_an_empty_list_of_points_is_none_for_people_who_are_not_scored(
    coco: ModuleType, tmp_path: Path, change: dict[str, Any]
) -> None:
    people = [coco.person(1, 1, keypoints=[], **change), coco.person(2, 1)]
    data = coco.small(tmp_path, coco.document(*people))
    assert data[0].target.is_scored_N.tolist() == [False, True]
    with pytest.raises(DatasetRejected, match="'keypoints' has 0 numbers"):
        coco.small(tmp_path, coco.document(coco.person(1, 1, keypoints=[]), coco.person(2, 1)))


def test_points_in_lists_of_their_own_say_how_to_write_them(coco: ModuleType, tmp_path: Path) -> None:
    nested = [[60.0, 70.0, 2]] * 17
    with pytest.raises(DatasetRejected, match="'keypoints' holds lists; write their numbers one after the other"):
        coco.small(tmp_path, coco.document(coco.person(1, 1, keypoints=nested)))


def test_shares_of_the_picture_are_refused_as_points(coco: ModuleType, tmp_path: Path) -> None:
    shares = [0.4, 0.6, 2] * 17
    with pytest.raises(DatasetRejected, match=r"all 34 labelled points lie within 0\.\.1"):
        coco.small(tmp_path, coco.document(coco.person(1, 1, keypoints=shares), coco.person(2, 2, keypoints=shares)))
    coco.small(tmp_path, coco.document(coco.person(1, 1, keypoints=shares), coco.person(2, 2)))  # one at fault


def test_a_pipe_in_place_of_the_annotations_is_refused_at_once(coco: ModuleType, tmp_path: Path) -> None:
    coco.small(tmp_path, coco.document(coco.person(1, 1)))
    (tmp_path / "labels.json").unlink()
    os.mkfifo(tmp_path / "labels.json")
    card = Catalog.load().dataset("coco-val2017")
    protocol = card.protocols["gt-box"].model_copy(update={"options": {"annotations": "labels.json"}})
    with pytest.raises(DataMissing, match="pipe"):
        coco.CocoKeypoints(coco.context(card, protocol, tmp_path))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"images": ' + "[" * 100_000 + "]" * 100_000 + "}", "deep"),
        ('{"images": [], "images": []}', "images"),
        ('{"images": [{"id": NaN}]}', "NaN"),
        ("[]", "list at the top level"),
        ('{"images": [1], "annotations": [2], "categories": []}', "1 entries of 'images' are not objects"),
        ('{"images": [], "annotations": [], "categories": []}', "empty"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is missing"),
    ],
)
def test_files_that_are_no_annotations_are_refused_in_words(
    coco: ModuleType, tmp_path: Path, text: str, part: str
) -> None:
    with pytest.raises(DatasetRejected, match=part):
        coco.small(tmp_path, text.encode())


def test_both_readers_agree_on_a_file_that_only_the_strict_one_can_take(coco: ModuleType, tmp_path: Path) -> None:
    """Escaped names and a byte order mark leave the fast path; nothing may change with it."""
    content = coco.document(coco.person(1, 1), coco.person(2, 2))
    plain = coco.small(tmp_path, content)
    escaped = json.dumps(content).replace('"keypoints"', '"\\u006beypoints"').encode("utf-8-sig")
    other = coco.small(tmp_path, escaped)
    for i in range(2):
        np.testing.assert_array_equal(plain[i].target.keypoints_NK2_px, other[i].target.keypoints_NK2_px)
