"""Pictures of maps: colours where they belong, one sheet of all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sapiens_bench.probe.picture import depth_picture, label_picture, normal_picture, save_rows

MASK = np.array([[True, True], [True, False]])


def test_labels_have_the_colours_of_their_set_and_unknown_ones_are_black() -> None:
    picture = label_picture(np.array([[0, 1], [255, 1]], np.uint8), [(1, 2, 3), (9, 8, 7)])
    assert picture.tolist() == [[[1, 2, 3], [9, 8, 7]], [[0, 0, 0], [9, 8, 7]]]


def test_near_is_brighter_than_far_and_the_rest_is_grey() -> None:
    picture = depth_picture(np.array([[1.0, 2.0], [3.0, 9.0]]), MASK)
    grey = picture.astype(int).sum(axis=2)
    assert grey[0, 0] > grey[0, 1] > grey[1, 0]
    assert picture[1, 1].tolist() == [60, 60, 60]


def test_a_normal_towards_the_viewer_is_light_blue() -> None:
    normals = np.zeros((2, 2, 3))
    normals[..., 2] = 1
    assert normal_picture(normals, MASK)[0, 0].tolist() == [128, 128, 255]


def test_rows_become_one_jpeg(tmp_path: Path) -> None:
    red = np.full((100, 50, 3), [200, 0, 0], np.uint8)
    path = save_rows([[red, red], [red, red]], tmp_path / "sheet.jpg", height=40)
    sheet = cv2.imread(str(path))
    assert sheet is not None
    assert sheet.shape == (84, 44, 3)
    assert abs(sheet[20, 10].astype(int) - [0, 0, 200]).max() < 12
