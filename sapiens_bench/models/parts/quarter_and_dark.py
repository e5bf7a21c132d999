"""Positions in heatmaps without UDP, as MMPose 1.x decodes them: quarter steps, and DARK's step of Newton.

Both start at the first maximum of a map. ``heatmaps.quarter_steps`` is the older rule of the same name, which leaves
a peak near one border where it is on both axes; this one decides for each axis by itself.
Source: open-mmlab/mmpose 1.3, ``mmpose/codecs/utils/refinement.py`` (``refine_keypoints``, ``refine_keypoints_dark``)
and ``post_processing.py`` (``gaussian_blur``); Zhang et al., DARK, CVPR 2020, equations 6 to 9.
Axes: B people, K keypoints, H x W heatmap, N = B x K.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sapiens_bench.models.parts.constants import constant
from sapiens_bench.models.parts.heatmaps import blur_matrix, first_maximum

LOWEST = 1e-10  # of the blurred map, before the logarithm


class Located(NamedTuple):
    """Positions in heatmap pixels float32 [B, K, 2], (-1, -1) where the maximum is not positive, and maxima [B, K]."""

    xy_BK2: Tensor
    score_BK: Tensor


class _Maxima(NamedTuple):
    flat_NP: Tensor  # the maps
    at_N: Tensor  # index of the first maximum
    x_N: Tensor
    y_N: Tensor
    score_N: Tensor


def _maxima(heatmaps: Tensor) -> _Maxima:
    b, k, h, w = heatmaps.shape
    flat = heatmaps.float().reshape(b * k, h * w)
    at = first_maximum(flat)
    score = flat.gather(1, at[:, None])[:, 0]
    return _Maxima(flat, at, at % w, torch.div(at, w, rounding_mode="floor"), score)


def _located(found: _Maxima, step_N2: Tensor, shape: torch.Size) -> Located:
    xy = torch.stack([found.x_N, found.y_N], 1) + step_N2
    xy = torch.where((found.score_N > 0)[:, None], xy, -torch.ones_like(xy)).float()
    return Located(xy.view(*shape[:2], 2), found.score_N.view(shape[:2]))


def quarter_steps_by_axis(heatmaps: Tensor) -> Located:
    """The maximum of every map [B, K, H, W], a quarter pixel towards the higher neighbour, each axis by itself.

    x stays in the first two columns, the last one and the first row; y likewise.
    """
    found, (h, w) = _maxima(heatmaps), heatmaps.shape[2:]
    x, y = found.x_N, found.y_N

    def towards(inside: Tensor, step: int) -> Tensor:
        at = torch.where(inside, found.at_N, torch.full_like(found.at_N, step))
        after = found.flat_NP.gather(1, (at + step).clamp(max=h * w - 1)[:, None])
        before = found.flat_NP.gather(1, (at - step)[:, None])
        return 0.25 * (after - before)[:, 0].sign() * inside

    in_x, in_y = (x > 1) & (x < w - 1) & (y > 0), (y > 1) & (y < h - 1) & (x > 0)
    return _located(found, torch.stack([towards(in_x, 1), towards(in_y, w)], 1), heatmaps.shape)


def dark_steps(heatmaps: Tensor, kernel: int) -> Located:
    """The maximum of every map [B, K, H, W] and one step of Newton on the logarithm of the blurred map.

    Second derivatives are taken over two pixels. A peak within two pixels of the border stays where it is.

    Args:
        kernel: odd size of the Gaussian; its sigma is OpenCV's automatic one.
    """
    found, (h, w) = _maxima(heatmaps), heatmaps.shape[2:]
    rows, columns = (constant(blur_matrix(size, kernel), heatmaps.device) for size in (h, w))
    blurred = (rows @ heatmaps.float() @ columns).reshape(found.flat_NP.shape)
    # The old maximum is restored: a constant after the logarithm, but for what is cut off below.
    logs = (blurred * (found.score_N / blurred.amax(dim=1))[:, None]).clamp(min=LOWEST).log().double()
    inside = (found.x_N > 1) & (found.x_N < w - 2) & (found.y_N > 1) & (found.y_N < h - 2) & (found.score_N > 0)
    at = torch.where(inside, found.at_N, torch.full_like(found.at_N, 2 * w + 2)).clamp(max=h * w - 1)

    def value(dx: int, dy: int) -> Tensor:
        return logs.gather(1, (at + dy * w + dx).clamp(0, h * w - 1)[:, None])[:, 0]

    dx, dy = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    dxx = (value(2, 0) - 2 * value(0, 0) + value(-2, 0)) / 4
    dyy = (value(0, 2) - 2 * value(0, 0) + value(0, -2)) / 4
    dxy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1) / determinant[:, None]
    moved = (inside & (determinant != 0))[:, None]
    return _located(found, torch.where(moved, step, torch.zeros_like(step)), heatmaps.shape)
