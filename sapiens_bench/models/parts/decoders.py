"""What pose networks answer with, and how it becomes positions in the crop.

One class for each kind of answer. ``on_device`` shrinks the answer to what is worth copying to the host (308 maps to
308 windows), ``in_input`` finishes there. Answers are tuples of tensors, float32, people along the first axis.
Axes: B or N people, K keypoints, H x W heatmap, X and Y bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.models.parts import heatmaps, simcc_vectors
from sapiens_bench.models.parts.constants import constant
from sapiens_bench.models.parts.quarter_and_dark import dark_steps, quarter_steps_by_axis

Answers = tuple[Tensor, ...]
Arrays = Mapping[str, NDArray[Any]]


class Decoder(Protocol):
    """One kind of answer."""

    def merged(self, plain: Answers, mirrored: Answers, flip_index: NDArray[Any]) -> Answers:
        """The answer for a crop averaged with that for its mirror image."""
        ...

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        """Small arrays of the same people; ``score`` [B, K], float32, is among them."""
        ...

    def in_input(self, outputs: Arrays, input_wh: tuple[int, int]) -> NDArray[np.float64]:
        """Positions [N, K, 2] in pixels of the network input, of which the crop's sides hold ``input_wh``."""
        ...


class UdpHeatmaps:
    """Heatmaps [B, K, H, W] of a UDP network, with distribution-aware refinement."""

    def __init__(self, modulate: heatmaps.Modulation = "mmpose1", blur_kernel: int = 11) -> None:
        self.modulate, self.blur_kernel = modulate, blur_kernel

    def merged(self, plain: Answers, mirrored: Answers, flip_index: NDArray[Any]) -> Answers:
        return (heatmaps.merge_flipped(plain[0], mirrored[0], flip_index),)

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        found = heatmaps.peaks(answers[0], self.blur_kernel, self.modulate)
        size = heatmap_wh(answers[0])
        return {"xy": found.xy_BK2, "score": found.score_BK, "patch": found.log_patch_BK33, "heatmap_wh": size}

    def in_input(self, outputs: Arrays, input_wh: tuple[int, int]) -> NDArray[np.float64]:
        n, k = outputs["score"].shape
        xy, patch = outputs["xy"].reshape(-1, 2), outputs["patch"].reshape(-1, 3, 3)
        located = heatmaps.refine(xy, outputs["score"].reshape(-1), patch)
        width, height = (int(side) for side in outputs["heatmap_wh"][0])
        return heatmaps.to_input_space(located, (width, height), input_wh).reshape(n, k, 2)


class PlainHeatmaps:
    """Heatmaps [B, K, H, W] of a network without UDP: quarter steps, and a mirrored map lies one pixel off."""

    def merged(self, plain: Answers, mirrored: Answers, flip_index: NDArray[Any]) -> Answers:
        # The mirrored map is moved right by one once mirrored back.
        shifted = torch.cat([mirrored[0][..., 1:], mirrored[0][..., -1:]], dim=-1)
        return (heatmaps.merge_flipped(plain[0], shifted, flip_index),)

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        xy, score = heatmaps.quarter_steps(answers[0])
        return {"xy": xy, "score": score, "heatmap_wh": heatmap_wh(answers[0])}

    def in_input(self, outputs: Arrays, input_wh: tuple[int, int]) -> NDArray[np.float64]:
        return np.asarray(outputs["xy"] / outputs["heatmap_wh"][:, None] * np.array(input_wh))


class MsraHeatmaps(PlainHeatmaps):
    """As MMPose 1.x decodes heatmaps without UDP: quarter steps by axis, or DARK.

    Args:
        dark_kernel: odd size of DARK's Gaussian; None: quarter steps.
    """

    def __init__(self, dark_kernel: int | None = None) -> None:
        self.dark_kernel = dark_kernel

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        maps, kernel = answers[0], self.dark_kernel
        found = quarter_steps_by_axis(maps) if kernel is None else dark_steps(maps, kernel)
        return {"xy": found.xy_BK2, "score": found.score_BK, "heatmap_wh": heatmap_wh(maps)}


class SimccVectors:
    """Two sets of vectors, [B, K, X] and [B, K, Y], decoded on the host."""

    def __init__(self, split_ratio: float, score: simcc_vectors.ScoreRule = "min") -> None:
        self.split_ratio, self.score = split_ratio, score

    def merged(self, plain: Answers, mirrored: Answers, flip_index: NDArray[Any]) -> Answers:
        x, y = simcc_vectors.merge_flipped(_arrays(plain), _arrays(mirrored), flip_index)
        return torch.from_numpy(x), torch.from_numpy(y)

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        found = simcc_vectors.decode(*_arrays(answers), self.score)
        return {"bins": torch.from_numpy(found.xy_BK2), "score": torch.from_numpy(found.score_BK)}

    def in_input(self, outputs: Arrays, input_wh: tuple[int, int]) -> NDArray[np.float64]:
        return np.asarray(outputs["bins"], np.float64) / self.split_ratio


class Coordinates:
    """Positions [B, K, 2], and scores as their third column, as a tensor of their own [B, K], or not at all (1).

    Args:
        units: pixels of the network input, or shares of its sides.
        width: of the network input.
    """

    def __init__(self, units: Literal["pixel", "share"], width: int) -> None:
        self.units, self.width = units, width

    def merged(self, plain: Answers, mirrored: Answers, flip_index: NDArray[Any]) -> Answers:
        """Column u of a picture is column width - 1 - u of its mirror image, as in MMPose's ``flip_coordinates``."""
        index = constant(np.asarray(flip_index, np.int64), plain[0].device)
        unit = self.width if self.units == "pixel" else 1.0
        back = mirrored[0][:, index].clone()
        back[..., 0] = unit - unit / self.width - back[..., 0]
        scores = tuple((a + b[:, index]) * 0.5 for a, b in zip(plain[1:], mirrored[1:], strict=True))
        return (plain[0] + back) * 0.5, *scores

    def on_device(self, answers: Answers) -> dict[str, Tensor]:
        positions = answers[0]
        if positions.shape[-1] == 3:
            return {"xy": positions[..., :2], "score": positions[..., 2].contiguous()}
        score = answers[1].reshape(positions.shape[:2]) if len(answers) > 1 else torch.ones_like(positions[..., 0])
        return {"xy": positions, "score": score}

    def in_input(self, outputs: Arrays, input_wh: tuple[int, int]) -> NDArray[np.float64]:
        xy = outputs["xy"].astype(np.float64)
        return xy * np.array(input_wh, np.float64) if self.units == "share" else xy


def heatmap_wh(maps: Tensor) -> Tensor:
    """Width and height of the maps, once for each person, as the engine wants every output."""
    return torch.tensor([maps.shape[-1], maps.shape[-2]]).expand(len(maps), 2)


def _arrays(answers: Answers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = (answer.float().cpu().numpy() for answer in answers)
    return x, y
