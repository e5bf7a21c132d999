"""New views at every step, made on the device that trains: no view comes twice, and none is kept on disk.

The source is the plain view of each picture (``views.make_view``), a third larger than the trunk's input, with the
truth of every pixel. A step's draws follow from seed and step alone, so a training that is resumed sees what it would
have seen. What is drawn is what ``views`` draws, without the blur: zoom, shift, mirror, light, colours, noise.

Axes: B views, H x W source pixels, h x w input pixels, g x f cells of the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sapiens_bench.probe.views import ZOOM, Grid, draws
from sapiens_bench.tasks.seg.types import IGNORE

SUPERSAMPLING = 2  # samples a side of an input pixel: enlarging and shrinking leave no jagged edges
GREY_SHARE, NOISY_SHARE = 0.05, 0.3


def source_hw(input_hw: tuple[int, int]) -> tuple[int, int]:
    """Size of the source for a trunk's input: 4/3 of it, so that zoomed views are still sharp."""
    return math.ceil(input_hw[0] * 4 / 3), math.ceil(input_hw[1] * 4 / 3)


@dataclass(frozen=True)
class Draws:
    """What changes the views of one batch, [B] each unless said otherwise; ``plain`` changes nothing."""

    zoom: NDArray[np.float32]
    shift: NDArray[np.float32]  # [B, 2] down and across, in input sides
    mirrored: NDArray[np.float32]  # 0 or 1
    power: NDArray[np.float32]  # gamma
    gain: NDArray[np.float32]  # [B, 3]
    colour: NDArray[np.float32]  # 0: grey, 1: as it is
    noise: NDArray[np.float32]  # deviation, in 0..1

    @classmethod
    def plain(cls, n: int) -> Draws:
        one, none = np.ones(n, np.float32), np.zeros(n, np.float32)
        return cls(one, np.zeros((n, 2), np.float32), none, one, np.ones((n, 3), np.float32), one, none)

    @classmethod
    def of_step(cls, n: int, seed: int, step: int) -> Draws:
        """Those of a step of the training with a seed."""
        rng = draws("probe fresh views", seed, step)
        zoom = np.exp(rng.uniform(np.log(ZOOM[0]), np.log(ZOOM[1]), n))
        free = np.abs(zoom - 1)[:, None] * rng.random((n, 2))
        grey = rng.random(n) < GREY_SHARE
        found = (
            zoom,
            np.where(zoom[:, None] >= 1, -free, free),
            rng.random(n) < 0.5,
            np.exp(rng.uniform(-0.35, 0.35, n)),
            rng.uniform(0.85, 1.15, (n, 3)) * rng.uniform(0.75, 1.25, (n, 1)),
            np.where(grey, 0.0, rng.uniform(0.6, 1.4, n)),
            np.where(rng.random(n) < NOISY_SHARE, rng.uniform(0.005, 0.03, n), 0.0),
        )
        return cls(*(np.asarray(each, np.float32) for each in found))

    def part(self, which: slice) -> Draws:
        """Those of some of the views."""
        return Draws(*(getattr(self, each.name)[which] for each in fields(self)))

    def on(self, device: str | torch.device) -> Tensor:
        """All of them in one copy, [B, 11]."""
        columns = [self.zoom, *self.shift.T, self.mirrored, self.power, *self.gain.T, self.colour, self.noise]
        return torch.from_numpy(np.stack(columns, 1)).to(device, non_blocking=True)


def fresh_views(
    source: dict[str, Tensor],
    drawn: Draws,
    grid: Grid,
    flips: Tensor | None = None,
    noise_seed: int = 0,
    of: tuple[int, slice] | None = None,
) -> dict[str, Tensor]:
    """Changed views of source views: ``image`` [B, 3, h, w] float32 in 0..255, and the truth as ``make_view`` gives it.

    Args:
        source: as ``make_view`` makes them with stride 1, batched, on one device.
        flips: label -> its mirror image, [256] uint8 on that device; needed where a view with labels is mirrored.
        of: views of the whole batch and which of them these are, where others are made elsewhere.
    """
    image = source["image"]
    table = drawn.on(image.device)
    zoom, mirrored = table[:, 0], table[:, 3]
    down = _places(grid.input_hw[0] * SUPERSAMPLING, zoom, table[:, 1], None)
    across = _places(grid.input_hw[1] * SUPERSAMPLING, zoom, table[:, 2], mirrored)
    picture = _recoloured(_sampled(image, down, across), table[:, 4:], noise_seed, of or (len(image), slice(None)))
    found = {"image": picture}
    rows, seen_rows = _nearest(_places(grid.hw[0], zoom, table[:, 1], None), image.shape[2])
    columns, seen_columns = _nearest(_places(grid.hw[1], zoom, table[:, 2], mirrored), image.shape[3])
    seen = seen_rows[:, :, None] & seen_columns[:, None, :]
    at = (torch.arange(len(image), device=image.device)[:, None, None], rows[:, :, None], columns[:, None, :])
    if "seg" in source:
        labels = source["seg"][at]
        if flips is not None:
            labels = torch.where(mirrored[:, None, None] > 0, flips[labels.long()], labels)
        found["seg"] = labels.masked_fill(~seen, IGNORE)
    if "depth" in source:
        found["depth"] = source["depth"][at] * seen
    if "normal" in source:
        normals = source["normal"].permute(0, 2, 3, 1)[at].permute(0, 3, 1, 2) * seen[:, None]
        sign = torch.ones(len(image), 3, device=image.device)
        sign[:, 0] -= 2 * mirrored
        found["normal"] = normals * sign[:, :, None, None].to(normals.dtype)
    return found


def _places(n: int, zoom_B: Tensor, shift_B: Tensor, mirrored_B: Tensor | None) -> Tensor:
    """Where the n pixel centres of a side come from, [B, n] in source sides (0 ... 1 inside)."""
    at = ((torch.arange(n, device=zoom_B.device) + 0.5) / n).expand(len(zoom_B), n)
    if mirrored_B is not None:
        at = torch.where(mirrored_B[:, None] > 0, 1 - at, at)
    return (at - shift_B[:, None]) / zoom_B[:, None]


def _nearest(places_Bn: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Source pixel of every place, and whether it lies in the source."""
    index = torch.floor(places_Bn * size)
    return index.clamp(0, size - 1).long(), (index >= 0) & (index < size)


def _sampled(image: Tensor, down_Bn: Tensor, across_Bm: Tensor) -> Tensor:
    """Bilinear samples, averaged over the samples of each input pixel, the border repeated; [B, 3, h, w] in 0..1."""
    size = (len(image), down_Bn.shape[1], across_Bm.shape[1])
    grid = torch.stack([across_Bm[:, None, :].expand(size), down_Bn[:, :, None].expand(size)], -1) * 2 - 1
    found = F.grid_sample(image.float() / 255, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(found, SUPERSAMPLING)


def _recoloured(x: Tensor, table: Tensor, noise_seed: int, of: tuple[int, slice]) -> Tensor:
    """Other light, colours and noise; 0..1 in, whole numbers in 0..255 out."""
    power, gain, colour, noise = (table[:, first:last, None, None] for first, last in ((0, 1), (1, 4), (4, 5), (5, 6)))
    x = x.clamp(0, 1) ** power * gain
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * colour
    generator = torch.Generator(x.device).manual_seed(noise_seed)
    x = x + torch.randn((of[0], *x.shape[1:]), generator=generator, device=x.device)[of[1]] * noise
    return (x.clamp(0, 1) * 255).round()
