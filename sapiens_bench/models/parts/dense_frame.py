"""Whole pictures to network input and maps back to the picture's size: the arithmetic that dense families share.

Axes: B images, C channels, h x w network pixels, H x W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext

ALL_CLASSES_MOST = 1 << 30  # bytes of one picture's scores
BLOCK = 4  # cells a side, of a map of scores
LARGEST = 1e37  # scores up to this stay finite when they are resized
ROUNDING = 1e-5  # of the largest score: far above what two bilinear steps in float32 are off by
Pipeline = Literal["full", "lite"]  # two bilinear steps back to the picture, over the input size, or one


def input_spec(context: ModelContext) -> InputSpec:
    """Input size and normalisation of the card.

    Raises:
        CardError: it has none.
    """
    spec = context.variant.input or context.card.input
    if spec is None:
        raise CardError(f"{context.variant.id}: the card needs 'input' (height, width, mean, std).")
    return spec


def normalised(image_HW3: NDArray[Any], spec: InputSpec) -> NDArray[np.float32]:
    """RGB in 0..255 -> network numbers, channels in the network's order."""
    ordered = image_HW3 if spec.channel_order == "rgb" else image_HW3[..., ::-1]
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    return np.asarray((ordered.astype(np.float32) - mean) / std, np.float32)


def cv2_stretch(image_HW3: NDArray[np.uint8], size_hw: tuple[int, int], how: int | None = None) -> NDArray[np.uint8]:
    """cv2 resize; without ``how`` area averaging for smaller pictures and cubic for larger ones."""
    height, width = size_hw
    if how is None:
        smaller = height * width < image_HW3.shape[0] * image_HW3.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image_HW3, (width, height), interpolation=how), np.uint8)


def padded_frame(height: int, width: int, input_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a picture that keeps its aspect in the middle of the input; sizes rounded down."""
    scale = min(input_hw[0] / height, input_hw[1] / width)
    tall, wide = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = (input_hw[0] - tall) // 2, (input_hw[1] - wide) // 2
    return top, left, top + tall, left + wide


def resize(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear resize of [B, C, h, w] with half-pixel centres, no antialias, float32."""
    return functional.interpolate(maps.float(), size=size_hw, mode="bilinear", align_corners=False)


def without_padding(raw: Tensor, input_hw: tuple[int, int], inside: Iterable[int]) -> Tensor:
    """The part of a raw map [1, C, h, w] that shows the picture; enlarged to input pixels first where it is padded."""
    top, left, bottom, right = inside
    if (top, left, bottom, right) == (0, 0, *input_hw):
        return raw
    full = raw if tuple(raw.shape[-2:]) == input_hw else resize(raw, input_hw)
    return full[..., top:bottom, left:right]


def to_original(head_output: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int], pipeline: Pipeline) -> Tensor:
    """Head output [B, C, h, w] at the original size: over the input size first in the full pipeline."""
    if pipeline == "full":
        head_output = resize(head_output, input_hw)
    return resize(head_output, size_hw)


def labels_at_original(
    head_output: Tensor,
    input_hw: tuple[int, int],
    size_hw: tuple[int, int],
    pipeline: Pipeline,
    inside: tuple[int, int, int, int] | None = None,
) -> Tensor:
    """Arg max over classes at the original size, uint8 [H, W], for one image [1, C, h, w].

    Class by class, so that a 4K picture needs memory for two maps and not for 28, and only of those that can win
    somewhere; the first of equal classes wins, as with argmax. NaN in any class gives 255, so that it can be told from
    class 0. On a GPU all classes at once where they fit: launching hundreds of small kernels for each picture would
    take longer than they run.

    Args:
        inside: the part of the input that shows the picture, to be cut out first; None: all of it.
    """

    whole = head_output if inside is None else without_padding(head_output, input_hw, inside)
    fits = head_output.is_cuda and 4 * head_output.shape[1] * size_hw[0] * size_hw[1] <= ALL_CLASSES_MOST
    if fits or head_output.is_meta:  # without values, when operations are counted, no class can be told to be out
        return best_of_all(to_original(whole, input_hw, size_hw, pipeline))
    steps = 1 + (pipeline == "full") + (inside not in (None, (0, 0, *input_hw)))
    shrinks = steps > 1 and (input_hw[0] < head_output.shape[2] or input_hw[1] < head_output.shape[3])
    bounds = bounds_of(head_output[0].float())
    is_finite = bounds.largest < LARGEST  # NaN is not; bilinear means of finite numbers are finite
    rivals = possible_winners(bounds) if is_finite and not shrinks else list(range(head_output.shape[1]))
    of_rivals = whole[0, rivals].contiguous()[:, None, None]  # one copy where channels lie last, not one for each class
    best = to_original(of_rivals[0], input_hw, size_hw, pipeline)[0, 0]
    labels = torch.full_like(best, rivals[0], dtype=torch.uint8)
    spoilt = ~torch.isfinite(best)
    for c, maps in zip(rivals[1:], of_rivals[1:], strict=True):
        score = to_original(maps, input_hw, size_hw, pipeline)[0, 0]
        labels = torch.maximum(labels, (score > best).view(torch.uint8) * c)  # faster than filling where it is better
        best = torch.maximum(best, score)
        spoilt = spoilt if is_finite else spoilt | ~torch.isfinite(score)
    return labels if is_finite else labels.masked_fill(spoilt, 255)


class Bounds(NamedTuple):
    """What scores are like in the blocks of a map."""

    low_Chw: Tensor  # least of each class
    high_Chw: Tensor  # highest
    largest: float  # size of a score, NaN if one is


def bounds_of(scores_Chw: Tensor) -> Bounds:
    """Bounds in every four neighbouring blocks: all that a bilinear sample in the first of them can be made of."""
    high, low = scores_Chw, scores_Chw
    for axis in (1, 2):
        high, low = _of_blocks(high, axis, torch.amax), _of_blocks(low, axis, torch.amin)
    largest = max(float(high.max()), -float(low.min()))
    return Bounds(_of_two_by_two(low, torch.minimum), _of_two_by_two(high, torch.maximum), largest)


def possible_winners(bounds: Bounds) -> list[int]:
    """The classes that can be the highest anywhere after up to ``BLOCK`` bilinear steps, in order.

    A sample lies between the least and the highest of the cells around it: two a side after one step, one more after
    each further step, as long as none but the last shrinks. A class whose highest is everywhere below another's least
    never wins.
    """
    least = bounds.low_Chw.amax(0) - ROUNDING * bounds.largest
    can_win = (bounds.high_Chw >= least).flatten(1).any(1)
    return [int(c) for c in can_win.nonzero()[:, 0]]


def _of_blocks(maps_Chw: Tensor, axis: int, choose: Callable[..., Tensor]) -> Tensor:
    """``choose`` (amax or amin) of every BLOCK cells along an axis, and of the fewer at its end."""
    whole = maps_Chw.shape[axis] // BLOCK * BLOCK
    parts = [choose(torch.unflatten(maps_Chw.narrow(axis, 0, whole), axis, (-1, BLOCK)), axis + 1)] if whole else []
    if whole < maps_Chw.shape[axis]:
        parts.append(choose(maps_Chw.narrow(axis, whole, maps_Chw.shape[axis] - whole), axis, keepdim=True))
    return torch.cat(parts, axis) if len(parts) > 1 else parts[0]


def _of_two_by_two(maps: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Each cell with its right, lower and lower right neighbour, where there are any."""
    wide = choose(maps[..., :-1], maps[..., 1:]) if maps.shape[-1] > 1 else maps
    return choose(wide[..., :-1, :], wide[..., 1:, :]) if maps.shape[-2] > 1 else wide


def best_of_all(scores: Tensor) -> Tensor:
    """Arg max over classes [1, C, H, W], uint8 [H, W]; 255 where a score is not finite."""
    labels = scores.argmax(dim=1)[0].to(torch.uint8)
    return labels.masked_fill(~torch.isfinite(scores).all(dim=1)[0], 255)


def unit_normals(maps: Tensor) -> Tensor:
    """n / (|n| + 1e-5) over the channel axis of [B, 3, H, W]: after the resize, as in Sapiens' official demo."""
    length: Tensor = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return maps / (length + 1e-5)


def pack(maps: Sequence[Tensor], sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
    """Maps of different sizes in one array, each in its top left corner; cut off again in ``finish``."""
    tall, wide = max(h for h, _ in sizes_hw), max(w for _, w in sizes_hw)
    packed = maps[0].new_zeros((len(maps), *maps[0].shape[:-2], tall, wide))
    for i, (h, w) in enumerate(sizes_hw):
        packed[i, ..., :h, :w] = maps[i]
    return packed


def sizes_of(size_hw: Tensor) -> list[tuple[int, int]]:
    """Picture sizes [B, 2] as numbers."""
    return [(int(h), int(w)) for h, w in size_hw.tolist()]
