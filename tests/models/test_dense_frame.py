"""Labels at the picture's size: those of the plain way, in which every class is brought there."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sapiens_bench.models.parts.dense_frame import (
    best_of_all,
    bounds_of,
    labels_at_original,
    possible_winners,
    resize,
    to_original,
    without_padding,
)

SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))
ODD = {"nan": float("nan"), "inf": float("inf"), "none": 0.0}


def scores(seed: int, n_classes: int, hw: tuple[int, int], *, is_smooth: bool) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    if not is_smooth:
        return torch.randn(1, n_classes, *hw, generator=draw).round()  # many ties
    return resize(4 * torch.randn(1, n_classes, 3, 3, generator=draw), hw)


@given(
    st.integers(0, 9999), st.integers(1, 28), SIDES, SIDES, st.booleans(), st.sampled_from(["full", "lite"]),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), st.sampled_from(sorted(ODD)),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_classes_that_are_passed_over_would_have_won_nowhere(
    seed: int, n_classes: int, hw: tuple[int, int], size: tuple[int, int], is_smooth: bool, pipeline: str,
    dtype: torch.dtype, odd: str,
) -> None:  # fmt: skip
    maps = scores(seed, n_classes, hw, is_smooth=is_smooth).to(dtype)
    maps[0, seed % n_classes, 0, 0] += ODD[odd]
    input_hw = (4 * hw[0], 4 * hw[1]) if seed % 4 else (17, 9)
    way = "full" if pipeline == "full" else "lite"
    one_by_one = [to_original(maps[:, c : c + 1], input_hw, size, way) for c in range(n_classes)]
    found = labels_at_original(maps, input_hw, size, way)
    assert found.dtype == torch.uint8
    assert torch.equal(found, best_of_all(torch.cat(one_by_one, 1)))


@given(st.integers(0, 9999), st.integers(2, 28), SIDES, SIDES, st.booleans(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_padding_is_cut_off_before_the_classes_are_compared(
    seed: int, n_classes: int, hw: tuple[int, int], size: tuple[int, int], is_smooth: bool, channels_last: bool
) -> None:
    maps = scores(seed, n_classes, hw, is_smooth=is_smooth)
    maps = maps.contiguous(memory_format=torch.channels_last) if channels_last else maps
    tall, wide = 4 * hw[0], 4 * hw[1]
    inside = (tall // 4, wide // 5, tall - tall // 4, wide - wide // 5)
    cut = without_padding(maps, (tall, wide), inside)
    plain = torch.cat([resize(cut[:, c : c + 1], size) for c in range(n_classes)], 1)
    assert torch.equal(labels_at_original(maps, (tall, wide), size, "lite", inside), best_of_all(plain))


def test_only_classes_with_a_place_of_their_own_are_compared() -> None:
    maps = torch.zeros(1, 6, 40, 40)
    maps[0, 2] = 5
    maps[0, 4, 30:, 30:] = 9
    assert possible_winners(bounds_of(maps[0])) == [2, 4]
    assert labels_at_original(maps, (160, 160), (80, 80), "lite").unique().tolist() == [2, 4]
