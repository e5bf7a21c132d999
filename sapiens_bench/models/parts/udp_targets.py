"""Heatmaps that a network with unbiased data processing is fitted to, all of a batch at once.

Axes: B people, K keypoints, h x w heatmap.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA_SHARE = 1 / 32  # of the map's height: 2 on 64 x 48 and 3 on 96 x 72, as MMPose's configurations have it
BLUR_PER_SIGMA = 2.75  # 11 for sigma 2 and 17 for sigma 3, as there


def sigma_of(map_height: int) -> float:
    """Deviation of the Gaussian, in heatmap pixels."""
    return map_height * SIGMA_SHARE


def blur_kernel_of(map_height: int) -> int:
    """Odd size of the Gaussian that the decoder blurs with."""
    return max(3, 2 * int(BLUR_PER_SIGMA * sigma_of(map_height)) + 1)


def udp_targets(points_BK3: Tensor, map_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Gaussians [B, K, h, w] and weights [B, K]; the same as ``heatmaps.encode`` of each person.

    Args:
        points_BK3: x and y in shares of the input's sides between the centres of its outermost pixels, and 1 where the
            point is labelled, else 0.
        map_hw: of the heatmap.

    Source: Huang et al., "The Devil is in the Details" (CVPR 2020), section 3; drawn within three sigma of the nearest
    pixel; a point whose square lies wholly outside the map weighs nothing.
    """
    sigma = sigma_of(map_hw[0])
    axes = [_bell(points_BK3[..., axis], map_hw[1 - axis], sigma) for axis in (0, 1)]
    (across, inside_x), (down, inside_y) = axes
    weight = (points_BK3[..., 2] > 0) & inside_x & inside_y
    maps = down[..., :, None] * across[..., None, :] * weight[..., None, None]
    return maps, weight.to(maps.dtype)


def _bell(share_BK: Tensor, size: int, sigma: float) -> tuple[Tensor, Tensor]:
    """One axis of the Gaussian [B, K, size], and whether its square touches the map."""
    centre = share_BK * (size - 1)
    nearest, radius = torch.trunc(centre + 0.5), 3 * sigma
    places = torch.arange(size, device=share_BK.device, dtype=share_BK.dtype)
    low, high = torch.trunc(nearest - radius), torch.trunc(nearest + radius + 1)
    drawn = (places >= low[..., None]) & (places < high[..., None])
    bell = torch.exp(-((places - centre[..., None]) ** 2) / (2 * sigma**2)) * drawn
    return bell, (low < size) & (high >= 0)
