"""Pictures beside a COCO file: found, turned, identified."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.types import KnowsFiles


def said(data: Any, part: str) -> bool:
    return any(part in note for note in data.notes)


def test_names_may_carry_their_folder_and_pictures_may_lie_in_the_root(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), n_images=1)
    coco.small(tmp_path, content)
    content["images"][0]["file_name"] = "images/000000000001.png"
    assert coco.small(tmp_path, content)[0].input.image_HW3.shape == (120, 160, 3)
    assert coco.small(tmp_path, content, protocol_options={"images": "."})[0].input.image_HW3.size


def test_names_are_found_in_the_spelling_of_the_disk(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1), n_images=1)
    content["images"][0]["file_name"] = "caf\u00e9.png"
    data = coco.small(tmp_path, content)
    (tmp_path / "images/caf\u00e9.png").rename(tmp_path / "images/cafe\u0301.png")
    assert data[0].input.image_HW3.size
    assert data.identity(0) != "missing"


def test_a_missing_picture_names_the_one_with_another_ending(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1), n_images=1))
    (tmp_path / "images/000000000001.png").rename(tmp_path / "images/000000000001.JPG")
    with pytest.raises(SampleFault, match=r"No such file or directory \(000000000001\.JPG is there\)"):
        data[0]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_is_noticed_even_when_it_is_square(coco: ModuleType, tmp_path: Path, orientation: int) -> None:
    content = coco.document(coco.person(1, 1), n_images=1)
    content["images"][0] |= {"width": 120, "height": 120, "file_name": "a.jpg"}
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[:60, :60] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation

    def open_with(**choices: Any) -> Any:
        data = coco.small(tmp_path, content, **choices)
        Image.fromarray(pixels).save(tmp_path / "images/a.jpg", exif=exif, quality=95)
        return data

    with pytest.raises(SampleFault, match="exif: apply") as caught:
        open_with(card={"exif": None})[0]
    assert caught.value.code == "image.exif_policy"
    turned = open_with(protocol_options={"exif": "apply"})[0].input.image_HW3
    stored = open_with(protocol_options={"exif": "ignore"})[0].input.image_HW3
    assert stored[:60, :60].mean() > 250
    assert (turned[:60, :60].mean() > 250) == (orientation == 5)  # transposed: the corner stays


@pytest.mark.parametrize(("declared", "way"), [((90, 120), "viewed"), ((120, 90), "stored")])
def test_a_turned_picture_whose_size_decides_is_read_and_told(
    coco: ModuleType, tmp_path: Path, declared: tuple[int, int], way: str
) -> None:
    content = coco.document(coco.person(1, 1, bbox=[1, 1, 30, 30]), n_images=1)
    content["images"][0] |= {"width": declared[0], "height": declared[1], "file_name": "sub/a.jpg"}
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images/sub").mkdir(parents=True)
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(tmp_path / "images/sub/a.jpg", exif=exif)
    data = coco.small(tmp_path, content, card={"exif": None})
    assert said(data, f"sub/a.jpg, orientation 6, read as {way}")
    assert data[0].input.image_HW3.shape[1::-1] == declared
    for stated in ({"exif": "apply"}, {"exif": "ignore"}):
        assert not said(coco.small(tmp_path, content, protocol_options=stated), "orientation")
    (tmp_path / "images/sub/a.jpg").unlink()  # results made elsewhere need no picture
    assert not said(coco.small(tmp_path, content, card={"exif": None}), "orientation")


def test_identity_changes_with_the_picture_and_costs_no_look_at_it(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)))
    assert isinstance(data, KnowsFiles)
    before, path = [data.identity(i) for i in range(2)], tmp_path / "images/000000000001.png"
    path.write_bytes(b"no picture at all")
    assert data.identity(0) != before[0]
    assert data.identity(1) == before[1]
    os.utime(path, ns=(1, 1))
    touched = data.identity(0)
    os.utime(path, ns=(1, 2))
    assert data.identity(0) != touched
    path.unlink()
    assert data.identity(0) not in before


def test_without_declared_sizes_the_picture_tells_and_that_is_said(coco: ModuleType, tmp_path: Path) -> None:
    content = coco.document(coco.person(1, 1, bbox=[50.0, 60.0, 400.0, 50.0]), n_images=1)
    coco.small(tmp_path, content)
    del content["images"][0]["width"], content["images"][0]["height"]
    (tmp_path / "labels.json").write_text(json.dumps(content))
    data = coco.small(tmp_path, json.dumps(content).encode())
    np.testing.assert_array_equal(data[0].input.boxes_xyxy_px, [[50, 60, 450, 110]])
    assert said(data, "declares no sizes")


def test_without_pictures_none_is_opened(coco: ModuleType, tmp_path: Path) -> None:
    data = coco.small(tmp_path, coco.document(coco.person(1, 1)))
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(SampleFault, match=r"image\.missing"):
        data[0]
    sample = data.without_pictures()[0]
    assert sample.input.image_HW3.size == 0
    assert len(sample.target.ids_N) == 1
