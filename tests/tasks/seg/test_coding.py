"""Label maps that are counted otherwise than declared are told, and right ones are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.tasks.seg.coding import border_of, coding_doubt

BODY = Catalog.load().space("body28").names


def person(seed: int = 0) -> NDArray[np.uint8]:
    """A body of several parts that reaches the lower border, on background."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((60, 40), np.uint8)
    labels[10:60, 10:30] = rng.choice([1, 2, 3, 12, 21, 22, 27], (5, 2)).repeat(10, 0).repeat(10, 1)
    labels[10:14, 12:28] = 1
    return labels


def doubt(*maps: NDArray[Any], names: Any = BODY) -> str:
    return coding_doubt([border_of(labels, 255) for labels in maps], names, 255)


def shifted_down(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(labels == 0, 255, labels - np.uint8(1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("coded", "said"),
    [
        (shifted_down, "Is 0 the first class, Apparel"),
        (lambda labels: labels + 1, "counted from 1"),
        (lambda labels: (labels.astype(np.int64) + 7) % 28, "Is 7 the background?"),
    ],
    ids=["first class is 0", "counted from 1", "turned"],
)
def test_other_codings_are_doubted_by_what_fills_the_borders(coded: Any, said: str) -> None:
    found = doubt(*(coded(person(i)) for i in range(4)))
    assert found.startswith("LABELS IN DOUBT: of the borders of the 4 label maps")
    assert said in found


def test_an_exchanged_mask_is_doubted() -> None:
    mask = (person() > 0).astype(np.uint8)
    assert "Are the two exchanged?" in doubt(1 - mask, names=("Background", "Person"))
    assert doubt(mask, names=("Background", "Person")) == ""


def framed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(labels, 8, constant_values=255)


@pytest.mark.parametrize(
    "labels",
    [
        [person(i) for i in range(4)],
        [framed(person(i)[:, 4:36]) for i in range(4)],  # letterboxed: the frame is not scored
        [np.where(person(i) == 0, 255, person(i)) for i in range(4)],  # nobody labelled the background
        [person()[12:, 12:28], person(1)],  # one picture is cropped to the body
        [person(i)[15:, 11:29] for i in range(4)],  # all are, and no part fills the border
        [np.zeros((1, 1), np.uint8)],
        [np.full((5, 4), 255, np.uint8)],
        [],
    ],
    ids=["scene", "letterbox", "unlabelled", "one crop", "crops", "one pixel", "nothing scored", "none"],
)
def test_right_maps_are_not(labels: list[NDArray[np.uint8]]) -> None:
    assert doubt(*labels) == ""


def close_up(corner: int = 0, hole: int = 0) -> NDArray[np.uint8]:
    """A person who reaches beyond all sides: background in a corner, or seen between arm and body."""
    mask = np.ones((60, 80), np.uint8)
    mask[:corner, :corner] = 0
    mask[30 : 30 + hole, 20 : 20 + hole] = 0
    return mask


@pytest.mark.parametrize(
    "masks",
    [[close_up()], [close_up()] * 4, [close_up(corner=25)], [close_up(hole=12)], [close_up(20, 10), close_up(30)]],
    ids=["filled", "all filled", "corner", "hole", "both"],
)
@pytest.mark.parametrize("names", [("Background", "Person"), BODY], ids=["mask", "parts"])
def test_a_close_up_whose_border_is_all_person_is_not_doubted(masks: list[Any], names: Any) -> None:
    assert doubt(*masks, names=names) == ""
    assert doubt(*(np.pad(mask, 8, constant_values=255) for mask in masks), names=names) == ""  # fitted into a square


def test_a_face_framed_by_hair_is_not_doubted() -> None:
    head = np.full((60, 60), 3, np.uint8)  # hair
    head[15:50, 15:45] = 2  # face
    head[:8, :8] = 0
    assert doubt(head) == doubt(head, head[:, ::-1]) == ""


@given(st.integers(1, 49), st.integers(1, 9), st.integers(12, 30), st.integers(40, 50), st.booleans())
@settings(deadline=None)
def test_a_standing_person_exchanged_with_the_background_is_doubted_wherever_it_stands(
    left: int, top: int, width: int, height: int, is_below: bool
) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[60 - height if is_below else top : 60 if is_below else top + height, left : left + width] = 1
    assert doubt(mask, names=("Background", "Person")) == ""
    assert "Are the two exchanged?" in doubt(1 - mask, names=("Background", "Person"))


def test_a_set_without_background_is_never_doubted() -> None:
    assert doubt(person() + 1, names=tuple(name for name in BODY if name != "Background")) == ""


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([np.uint8, np.uint16, np.int64]))
@settings(deadline=None)
def test_the_border_is_whole_and_each_pixel_of_it_counts_once(height: int, width: int, kind: Any) -> None:
    labels = np.arange(height * width).reshape(height, width) % 250
    ring = max(1, min(height, width) // 50)
    inner = np.zeros((height, width), bool)
    inner[ring : height - ring, ring : width - ring] = True
    values, counts = np.unique(labels[~inner], return_counts=True)
    found = border_of(labels.astype(kind), 255).shares
    assert sum(found.values()) == pytest.approx(1)
    if min(height, width) > 1:
        assert found == pytest.approx(dict(zip(values.tolist(), counts / counts.sum(), strict=True)))
