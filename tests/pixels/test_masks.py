from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.masks import coco_mask


def test_polygons_equal_pycocotools() -> None:
    polygons = [[2.0, 2.0, 9.0, 2.0, 9.0, 8.0, 2.0, 8.0], [12.5, 1.0, 15.0, 9.0, 11.0, 9.0]]
    with warnings.catch_warnings():  # pycocotools' decoder under numpy 2
        warnings.simplefilter("ignore")
        expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 12, 20))).astype(bool)
    np.testing.assert_array_equal(coco_mask(polygons, (20, 12)), expected)
    assert expected.any()


@pytest.mark.parametrize("seed", range(6))
def test_compressed_and_plain_run_lengths_give_back_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((37, 53)) < (0.02, 0.5, 0.98)[seed % 3]
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(coco_mask({**packed, "counts": packed["counts"].decode()}, (53, 37)), mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8)]))).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    np.testing.assert_array_equal(coco_mask({"size": [37, 53], "counts": counts}, (53, 37)), mask)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        [[1.0, 2.0, 3.0, 4.0]],
        [[float("nan")] * 6],
        [["a"] * 6],
        {"size": [10, 10], "counts": [50, 51]},
        {"size": [10, 10], "counts": [-1, 101]},
        {"size": [9, 10], "counts": [90]},
        {"size": [10, 10], "counts": "P3"},
        {"size": [10, 10], "counts": "oooo"},
        {"size": [10, 10], "counts": "\x01"},
        {"size": [10, 10], "counts": 7},
    ],
)
def test_malformed_segmentations_are_that_label_s_fault(entry: Any) -> None:
    with pytest.raises(SampleFault) as caught:
        coco_mask(entry, (10, 10))
    assert caught.value.code == "label.segmentation"
