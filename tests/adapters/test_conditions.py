"""Pictures made worse on purpose: known values, the same bits everywhere, and a truth that does not move."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.adapters.conditions import lens, light
from sapiens_bench.adapters.conditions.condition import CORRUPTIONS, RESOLUTION, Condition, read_condition
from sapiens_bench.adapters.conditions.conditioned import PICTURE, SHIFT, Conditioned, changed
from sapiens_bench.adapters.conditions.draws import USUAL_SIDE_PX, Draw
from sapiens_bench.adapters.conditions.lens import HIDDEN
from sapiens_bench.adapters.conditions.light import SIGMA
from sapiens_bench.errors import CardError, UnknownName, UsageError
from sapiens_bench.types import ModelInput, Sample

# Of the scene below at level 3; a change is a change of every study: raise condition.VERSION with it.
DIGESTS = {
    "noise": "4ed7f032e691ab46",
    "impulse": "894087ece57ab2ce",
    "low_light": "89ada919617d5c3d",
    "exposure": "dd15d72af20528f9",
    "contrast": "7b97510dbc3bc428",
    "colour_cast": "efbe01dc1b6e0d19",
    "fog": "9100537705b0cd7b",
    "blur": "04acdf8ba8e4b216",
    "defocus": "6e3cd01fc8db6d2e",
    "motion": "10b30cfc1df8cbba",
    "jpeg": "eb6c85e9646dfd7b",
    "resize": "69321a6bb1153cba",
    "occlusion": "5e41041adb530cdc",
    "resolution": "f192959bd6e2fc3d",
}
ON_PICTURES = [name for name, (_, moves) in CORRUPTIONS.items() if not moves]
BOX = np.array([[20, 10, 80, 110]], np.float32)


def scene() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Gradients, an edge and a checkerboard, from whole numbers alone; 120 x 160."""
    y, x = np.mgrid[:120, :160]
    channels = [x * 255 // 159, y * 255 // 119, ((x // 7 + y // 5) % 2) * 180 + (x > 90) * 40]
    return np.stack(channels, 2).astype(np.uint8)


def given_input(image: np.ndarray[Any, Any], key: str = "picture", boxes: Any = BOX) -> ModelInput:
    image.setflags(write=False)  # as the engine hands samples out
    return ModelInput(key, image, boxes, np.ones(len(boxes), np.float32))


def corrupted(name: str, level: int, **fields: Any) -> np.ndarray[Any, Any]:
    return changed(given_input(scene(), **fields), Condition(name=name, level=level)).image_HW3


@pytest.mark.parametrize("radius", [1, 3.7, 9.6, 131])
def test_a_defocused_pixel_is_the_mean_over_its_disc(radius: float) -> None:
    """9.6 takes more than 16 bits for the disc, 131 for a row of it."""
    height, width = 70, 12
    image = np.random.default_rng(1).integers(250, 256, (height, width, 3)).astype(np.uint8)
    reach = int(radius)
    padded = np.pad(image.astype(np.int64), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    sums, n = np.zeros((height, width, 3), np.int64), 0
    for dy in range(-reach, reach + 1):
        half = int(np.sqrt(radius * radius - dy * dy))
        for dx in range(-half, half + 1):
            sums += padded[reach + dy :, reach + dx :][:height, :width]
            n += 1
    np.testing.assert_array_equal(_disc_of(image, radius), (sums + n // 2) // n)


def _disc_of(image: np.ndarray[Any, Any], radius: float) -> np.ndarray[Any, Any]:
    draw = Draw.of("defocus", 0, "key", image, BOX)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lens, "RADIUS_PX", (radius * USUAL_SIDE_PX / min(image.shape[:2]),))
        return lens.defocus(image, 1, draw)


class OneSample:
    """An adapter with one sample."""

    keys: Sequence[str] = ("one",)
    groups: Sequence[str] = ("g",)
    manifest_sha256 = "m"
    notes = ("read upside down",)
    target = {"depth": np.arange(4.0)}

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample(0, "one", "g", given_input(scene(), "one"), self.target)

    def without_pictures(self) -> str:
        return "the set without the condition"


@pytest.mark.parametrize("name", [*ON_PICTURES, RESOLUTION])
def test_a_picture_under_a_condition_has_the_same_bits_everywhere(name: str) -> None:
    out = corrupted(name, 48 if name == RESOLUTION else 3)
    assert (out.dtype, out.shape) == (np.uint8, (120, 160, 3))
    assert hashlib.sha256(np.ascontiguousarray(out).tobytes()).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", ON_PICTURES)
def test_a_higher_severity_changes_a_picture_more(name: str) -> None:
    clean = scene().astype(int)
    change = [np.abs(corrupted(name, level) - clean).mean() for level in range(1, 6)]
    assert change[0] > 0
    assert change == sorted(change)


def test_draws_belong_to_the_picture_and_the_seed() -> None:
    first, other = corrupted("noise", 2, key="a"), corrupted("noise", 2, key="b")
    assert (first == corrupted("noise", 2, key="a")).all()
    assert (first != other).mean() > 0.9
    reseeded = changed(given_input(scene(), "a"), Condition(name="noise", level=2, seed=1)).image_HW3
    assert (first != reseeded).mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(grey=st.integers(0, 255), level=st.integers(1, 5), height=st.integers(9, 40), width=st.integers(9, 40))
def test_what_mixes_neighbours_leaves_a_flat_picture_as_it_is(grey: int, level: int, height: int, width: int) -> None:
    flat = np.full((height, width, 3), grey, np.uint8)
    for name in ("blur", "defocus", "motion", "resize"):
        assert (changed(given_input(flat), Condition(name=name, level=level)).image_HW3 == grey).all(), name


def test_noise_has_the_sigma_it_names() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    for level, sigma in enumerate(SIGMA[:3], 1):
        out = changed(given_input(flat), Condition(name="noise", level=level)).image_HW3.astype(float)
        assert out.mean() == pytest.approx(128, abs=0.5)
        assert out.std() == pytest.approx(sigma, rel=0.02)


def test_defocus_spreads_a_point_over_a_disc() -> None:
    point = np.zeros((480, 480, 3), np.uint8)
    point[240, 240] = 255
    out = changed(given_input(point), Condition(name="defocus", level=2)).image_HW3  # radius 4 at this size
    y, x = np.nonzero(out[..., 0])
    assert {(dy, dx) for dy, dx in zip(y - 240, x - 240)} == {
        (dy, dx) for dy in range(-4, 5) for dx in range(-4, 5) if dy * dy + dx * dx <= 16
    }
    assert set(out[out > 0].tolist()) == {(255 + 24) // 49}  # 49 pixels in the disc


def test_occlusion_hides_its_share_of_a_box_and_nothing_beside_it() -> None:
    boxes = np.array([[-0.5, -0.5, 99.5, 59.5]], np.float32)
    flat = np.full((120, 160, 3), 7, np.uint8)
    out = changed(given_input(flat, boxes=boxes), Condition(name="occlusion", level=3)).image_HW3
    hidden = (out != 7).any(2)
    assert hidden.sum() == pytest.approx(HIDDEN[2] ** 2 * 100 * 60, rel=0.05)
    assert not hidden[60:].any()
    assert not hidden[:, 100:].any()


def test_crop_shift_moves_boxes_as_a_whole_and_leaves_the_picture() -> None:
    x = given_input(scene(), boxes=np.array([[10, 10, 60, 110], [0, 0, 160, 120]], np.float32))
    y = changed(x, Condition(name="crop_shift", level=4))
    assert y.image_HW3 is x.image_HW3
    step = (y.boxes_xyxy_px - x.boxes_xyxy_px).reshape(2, 2, 2)
    np.testing.assert_allclose(step[:, 0], step[:, 1], atol=1e-4)
    size = x.boxes_xyxy_px[:, 2:] - x.boxes_xyxy_px[:, :2]
    np.testing.assert_allclose(np.linalg.norm(step[:, 0] / size, axis=1), SHIFT[3], atol=1e-3)


def test_resolution_of_a_picture_that_has_less_changes_nothing() -> None:
    assert (corrupted(RESOLUTION, 120) == scene()).all()
    assert (corrupted(RESOLUTION, 30) != scene()).any()


def test_the_truth_keys_and_groups_are_those_of_the_set_below() -> None:
    base = OneSample()
    for name in CORRUPTIONS:
        held = Conditioned(base, Condition(name=name, level=5), is_whole_image=False)
        sample = held[0]
        assert sample.target is base.target
        assert (sample.key, sample.group, held.keys, held.groups) == ("one", "g", base.keys, base.groups)
        assert (len(held), held.notes) == (1, base.notes)


def test_a_set_under_a_condition_is_another_set() -> None:
    conditions = [Condition(name="blur", level=1), Condition(name="blur", level=2), Condition(name="fog", level=1)]
    held = [Conditioned(OneSample(), c, is_whole_image=False).manifest_sha256 for c in conditions]
    assert len({*held, OneSample.manifest_sha256}) == 4


def test_nothing_that_bypasses_the_condition_is_handed_through() -> None:
    assert not hasattr(
        Conditioned(OneSample(), Condition(name="fog", level=1), is_whole_image=True), "without_pictures"
    )


def test_every_picture_corruption_has_its_code() -> None:
    assert {*ON_PICTURES, RESOLUTION} == set(PICTURE)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"name": "bluur", "level": 1}, UnknownName, "Did you mean 'blur'"),
        ({"name": "blur", "level": 6}, UsageError, "1 to 5"),
        ({"name": "blur", "level": 0}, CardError, "level"),
        ({"name": "blur"}, CardError, "level"),
        ({"name": "blur", "level": 1, "sede": 2}, CardError, "seed"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_is_right(given: dict[str, Any], error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        read_condition(given)


def test_boxes_cannot_be_moved_where_a_task_has_none() -> None:
    with pytest.raises(UsageError, match="whole picture"):
        Conditioned(OneSample(), Condition(name="crop_shift", level=1), is_whole_image=True)


@pytest.mark.parametrize("sigma", [3.0, 4.4, 6.4, 8.0, 17.35])
def test_a_wide_blur_has_the_bits_of_opencvs(sigma: float) -> None:
    size = 2 * int(np.ceil(3 * sigma)) + 1
    draws = np.random.default_rng(2)
    for image in (draws.integers(0, 256, (90, 70, 3)), draws.choice([0, 255], (70, 90, 3)), np.full((40, 40, 3), 255)):
        picture = image.astype(np.uint8)
        draw = Draw.of("blur", 0, "key", picture, BOX)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lens, "SIGMA_PX", (sigma * USUAL_SIDE_PX / min(picture.shape[:2]),))
            found = lens.blur(picture, 1, draw)
        assert lens._taps(size, sigma) is not None
        wanted = cv2.GaussianBlur(picture, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_array_equal(found, wanted)


def test_the_shot_noise_of_the_dark_is_that_of_its_formula() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    for level in (1, 5):
        bits = Draw.of("low_light", 0, "key", image, BOX).twelve_bits(image.shape)
        dimmed = np.rint(255 * np.clip((np.arange(256) / 255) ** 2.2 * light.DIMMED[level - 1], 0, 1) ** (1 / 2.2))
        grey = dimmed[image]
        sigma = np.rint(256 * light.SHOT[level - 1] * (1 + np.sqrt(grey)))
        steps = np.array([round(256 * NormalDist().inv_cdf((i + 0.5) / 4096)) for i in range(4096)])
        wanted = np.clip(grey + np.floor((steps[bits] * sigma + 32768) / 65536), 0, 255)
        found = light.low_light(image, level, Draw.of("low_light", 0, "key", image, BOX))
        np.testing.assert_array_equal(found, wanted)
