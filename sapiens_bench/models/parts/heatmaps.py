"""Heatmap -> keypoint decoding: UDP with distribution-aware refinement (DARK), computed only where it is read.

The reference blurs every map in full (11x11 Gaussian), rescales it to its old maximum, clips, takes the logarithm and
then reads nine values round the peak. Rescaling is a constant after the logarithm and cancels in every derivative, so
it matters only where clipping bites. We blur the nine values alone, and follow the reference operation by operation
for the few channels whose nine values come near a clip bound or are nearly flat. Splits in two: ``peaks`` runs on the
model's device and shrinks 308 maps to 308 windows; ``refine`` is float64 algebra on the host.

That care for last bits is for the CPU, where networks give the reference's own numbers. On a GPU they do not (sums are
taken in another order), and following the reference there would make every batch wait for the host. So a GPU blurs
every map in full for its factor and trusts its own float32: a peak moves by as much as the network's own rounding
moves it.

ViTPose's own code blurs likewise, but lets the blur see the map mirrored at its border (not zeros) and does not rescale
to the old maximum, so that clipping bites earlier: ``modulate="vitpose"``. ``quarter_steps`` is the older decoding
without a model of the peak.

Source: behaviour of MMPose 1.x ``UDPHeatmap.decode`` with ``refine_keypoints_dark_udp`` as Sapiens v1 uses it
(facebookresearch/sapiens, ``pose/mmpose/codecs``); methods: Huang et al., UDP, and Zhang et al., DARK, both CVPR 2020.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.models.parts.constants import constant

CLIP_LOW, CLIP_HIGH = 1e-3, 50.0
# A channel is recomputed from its full map when clipping could touch its nine values. The true factor (old maximum over
# blurred maximum of the whole map) lies between 1, as a blur raises no maximum, and the factor of the window alone.
# It is recomputed, too, when the peak is so flat that float32 rounding moves the result: one rounding of the logarithm
# (about 1e-7) divided by the smallest curvature is the shift in pixels. A sigma-6 Gaussian has curvature 0.025 here.
FLAT_CURVATURE = 0.01
_MAPS_AT_ONCE = 1024  # that are blurred in full
Modulation = Literal["mmpose1", "vitpose"]


class Peaks(NamedTuple):
    """What decoding needs of B x K heatmaps."""

    xy_BK2: Tensor  # int64, column and row of the first maximum in row-major order
    score_BK: Tensor  # float32, raw maximum (not clipped, may exceed 1 or be negative)
    log_patch_BK33: Tensor  # float32, log of the blurred, rescaled, clipped map round the peak, edges replicated


def gaussian_kernel(kernel: int) -> NDArray[np.float64]:
    """Normalised 1-D Gaussian of odd size ``kernel`` with OpenCV's automatic sigma (11 -> 2.0)."""
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    x = np.arange(kernel) - (kernel - 1) / 2
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def peaks(heatmaps: Tensor, kernel: int = 11, modulate: Modulation = "mmpose1", *, exact: bool | None = None) -> Peaks:
    """Maximum and blurred logarithmic 3x3 neighbourhood of every map.

    Args:
        heatmaps: float [B, K, H, W], any values; computed in float32.
        kernel: odd size of the Gaussian.
        modulate: how the map is blurred: "mmpose1" (zeros outside, old maximum restored) or "vitpose" (mirrored at
            the border, nothing restored).
        exact: follow the reference's roundings where the outcome hangs on them, on the host; None: on a CPU.
    """
    maps = heatmaps.float()
    b, k, h, w = maps.shape
    maps_NHW, flat = maps.reshape(b * k, h, w), maps.reshape(b * k, h * w)
    best = first_maximum(flat)
    score = flat.gather(1, best[:, None])[:, 0]
    x, y = best % w, torch.div(best, w, rounding_mode="floor")
    patch = _blurred_patch(maps_NHW, x, y, kernel, mirrored=modulate == "vitpose")
    is_exact = maps.device.type in ("cpu", "meta") if exact is None else exact  # counts are those of the CPU
    if modulate == "vitpose":
        scaled = patch
    else:
        highest = patch.amax(dim=(1, 2)) if is_exact else _blurred_maximum(maps_NHW, kernel)
        scaled = patch * (score / highest)[:, None, None]
    logs = scaled.clamp(CLIP_LOW, CLIP_HIGH).log()
    if is_exact:
        logs = _with_exact(logs, maps_NHW, (x, y), patch, scaled, kernel, modulate)
    return Peaks(torch.stack([x, y], 1).view(b, k, 2), score.view(b, k), logs.view(b, k, 3, 3))


def _with_exact(
    logs: Tensor,
    maps_NHW: Tensor,
    at: tuple[Tensor, Tensor],
    patch: Tensor,
    scaled: Tensor,
    kernel: int,
    modulate: Modulation,
) -> Tensor:
    """``logs``, those that hang on last bits replaced by the reference's own."""
    clear = (patch.amin(dim=(1, 2)) > CLIP_LOW) & (scaled.amax(dim=(1, 2)) < CLIP_HIGH)
    safe = clear & (_smallest_curvature(logs) > FLAT_CURVATURE)
    if modulate == "vitpose":  # no factor to know: a patch wholly below the bound is exactly flat
        safe |= patch.amax(dim=(1, 2)) < 0.99 * CLIP_LOW
    index = (~safe).nonzero()[:, 0]
    if len(index):
        x, y = (axis[index].cpu().numpy() for axis in at)
        exact = _exact_patches(maps_NHW[index].cpu().numpy(), x, y, kernel, modulate)
        logs[index] = torch.from_numpy(exact).to(logs.device)
    return logs


def _blurred_maximum(maps_NHW: Tensor, kernel: int) -> Tensor:
    """Maximum of every map after the Gaussian blur (zeros outside), [N]."""
    rows, columns = (constant(blur_matrix(size, kernel), maps_NHW.device) for size in maps_NHW.shape[1:])
    starts = range(0, max(1, len(maps_NHW)), _MAPS_AT_ONCE)
    parts = (maps_NHW[start : start + _MAPS_AT_ONCE] for start in starts)
    return torch.cat([(rows @ part @ columns).amax(dim=(1, 2)) for part in parts])


@lru_cache(maxsize=32)
def blur_matrix(size: int, kernel: int) -> NDArray[np.float32]:
    """The blur along one axis, zeros outside, as a symmetric matrix [size, size]."""
    weights, reach = gaussian_kernel(kernel), (kernel - 1) // 2
    bands = [np.eye(size, k=i - reach) * weights[i] for i in range(kernel)]
    return np.asarray(np.sum(bands, axis=0), np.float32)


def first_maximum(flat_NP: Tensor) -> Tensor:
    """Index of the first maximum of each row; numpy's is seven times faster than torch's on a CPU."""
    if flat_NP.device.type == "cpu":
        return torch.from_numpy(flat_NP.numpy().argmax(axis=1))
    return flat_NP.argmax(dim=1)  # documented to return the first of several maxima


def _smallest_curvature(log_patch_N33: Tensor) -> Tensor:
    """Smaller absolute eigenvalue of the Hessian, [N]; NaN where the patch is."""
    p = log_patch_N33
    dxx = p[:, 1, 2] - 2 * p[:, 1, 1] + p[:, 1, 0]
    dyy = p[:, 2, 1] - 2 * p[:, 1, 1] + p[:, 0, 1]
    cross = p[:, 2, 2] - p[:, 1, 2] - p[:, 2, 1] + 2 * p[:, 1, 1] - p[:, 1, 0] - p[:, 0, 1] + p[:, 0, 0]
    mean, spread = (dxx + dyy) / 2, torch.hypot((dxx - dyy) / 2, cross / 2)
    return (mean.abs() - spread).abs()


def _exact_patches(
    maps_NHW: NDArray[np.float32],
    x_N: NDArray[np.int64],
    y_N: NDArray[np.int64],
    kernel: int,
    modulate: Modulation = "mmpose1",
) -> NDArray[np.float32]:
    """The reference order of float32 operations, map by map: needed where the outcome hangs on the last bits."""
    pad = (kernel - 1) // 2
    patches = np.empty((len(maps_NHW), 3, 3), np.float32)
    for i, heatmap in enumerate(maps_NHW):
        if modulate == "vitpose":
            blurred = cv2.GaussianBlur(heatmap, (kernel, kernel), 0)
        else:
            framed = cv2.GaussianBlur(np.pad(heatmap, pad), (kernel, kernel), 0)
            blurred = framed[pad:-pad, pad:-pad]
            with np.errstate(divide="ignore", invalid="ignore"):
                blurred = blurred * (heatmap.max() / blurred.max())
        logs = np.pad(np.log(np.clip(blurred, CLIP_LOW, CLIP_HIGH)), 1, mode="edge")
        patches[i] = logs[y_N[i] : y_N[i] + 3, x_N[i] : x_N[i] + 3]
    return patches


def _blurred_patch(maps: Tensor, x: Tensor, y: Tensor, kernel: int, mirrored: bool = False) -> Tensor:
    """Gaussian blur (outside the map zeros, or the mirrored map) of the 3x3 round each peak, [N, 3, 3].

    A place of the 3x3 that lies outside the map repeats the value at the border.
    """
    n, h, w = maps.shape
    reach = (kernel - 1) // 2 + 1
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    rows, columns = y[:, None] + offsets, x[:, None] + offsets
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    rows, columns = (
        (_mirror(rows, h), _mirror(columns, w)) if mirrored else (rows.clamp(0, h - 1), columns.clamp(0, w - 1))
    )
    flat = rows[:, :, None] * w + columns[:, None, :]
    window = maps.reshape(n, h * w).gather(1, flat.reshape(n, -1)).view(n, 2 * reach + 1, 2 * reach + 1)
    if not mirrored:
        window = torch.where(inside, window, window.new_zeros(()))
    weights = constant(gaussian_kernel(kernel).astype(np.float32), maps.device)
    blur = maps.new_zeros(3, kernel + 2)
    for i in range(3):
        blur[i, i : i + kernel] = weights
    patch = blur @ window @ blur.T
    # The reference pads the blurred map by its edge, so a neighbour beyond the border repeats the border value.
    step = torch.arange(-1, 2, device=maps.device)
    row = (y[:, None] + step).clamp(0, h - 1) - y[:, None] + 1
    column = (x[:, None] + step).clamp(0, w - 1) - x[:, None] + 1
    return patch.gather(1, row[:, :, None].expand(n, 3, 3)).gather(2, column[:, None, :].expand(n, 3, 3))


def _mirror(index: Tensor, size: int) -> Tensor:
    """Positions mirrored at the centres of the first and last pixel until they lie inside."""
    period = max(2 * (size - 1), 1)
    wrapped = index % period
    return torch.minimum(wrapped, period - wrapped).clamp(max=size - 1)


def quarter_steps(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of every map, moved a quarter pixel towards the higher neighbour on each axis; no model of the peak.

    Args:
        heatmaps: float [B, K, H, W].

    Returns:
        Positions in heatmap pixels float32 [B, K, 2], (-1, -1) where the maximum is not positive, and the maxima
        float32 [B, K]. A maximum in the first two or the last row or column is not moved along either axis.

    Source: behaviour of ViTPose's ``keypoints_from_heatmaps`` with ``post_process="default"``.
    """
    maps = heatmaps.float()
    b, k, h, w = maps.shape
    flat = maps.reshape(b * k, h * w)
    best = first_maximum(flat)
    score = flat.gather(1, best[:, None])[:, 0]
    x, y = best % w, torch.div(best, w, rounding_mode="floor")
    inner = (x > 1) & (x < w - 1) & (y > 1) & (y < h - 1)
    at = torch.where(inner, best, torch.zeros_like(best))

    def difference(step: int) -> Tensor:
        after = flat.gather(1, (at + step).clamp(0, h * w - 1)[:, None])
        before = flat.gather(1, (at - step).clamp(0, h * w - 1)[:, None])
        return (after - before)[:, 0].sign() * inner

    xy = torch.stack([x + 0.25 * difference(1), y + 0.25 * difference(w)], 1)
    xy = torch.where((score > 0)[:, None], xy, -torch.ones_like(xy))
    return xy.view(b, k, 2), score.view(b, k)


def refine(
    xy_K2: NDArray[np.int64], score_K: NDArray[np.float32], log_patch_K33: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sub-pixel peak positions [K, 2] in heatmap pixels: one Newton step on the logarithm.

    A map whose maximum is not positive gives (-1, -1), an all-zero map NaN, as in the reference; the step has no bound.
    """
    p = log_patch_K33
    half = np.float32(0.5)
    gradient = np.stack([half * (p[:, 1, 2] - p[:, 1, 0]), half * (p[:, 2, 1] - p[:, 0, 1])], 1).astype(np.float64)
    centre = p[:, 1, 1]
    dxx = (p[:, 1, 2] - 2 * centre + p[:, 1, 0]).astype(np.float64)
    dyy = (p[:, 2, 1] - 2 * centre + p[:, 0, 1]).astype(np.float64)
    cross = p[:, 2, 2] - p[:, 1, 2] - p[:, 2, 1] + 2 * centre - p[:, 1, 0] - p[:, 0, 1] + p[:, 0, 0]
    dxy = (half * cross).astype(np.float64)
    epsilon = float(np.finfo(np.float32).eps)
    dxx, dyy = dxx + epsilon, dyy + epsilon
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = dxx * dyy - dxy * dxy
        step_x = (dyy * gradient[:, 0] - dxy * gradient[:, 1]) / determinant
        step_y = (dxx * gradient[:, 1] - dxy * gradient[:, 0]) / determinant
    location = (xy_K2.astype(np.float32) - np.stack([step_x, step_y], 1)).astype(np.float32)
    nowhere = (score_K <= 0) & np.isfinite(p).all(axis=(1, 2))
    location[nowhere] = -1.0
    return location


def to_input_space(
    location_K2: NDArray[np.float32], heatmap_size_wh: tuple[int, int], input_size_wh: tuple[int, int]
) -> NDArray[np.float64]:
    """Heatmap pixels -> network input pixels, float64: x / (W_heatmap - 1) * W_input.

    Not the inverse of the training encoder, which divides by (W_input - 1) / (W_heatmap - 1); the reference does the
    same, and ``to_image_space`` cancels the difference.
    """
    last = np.array([heatmap_size_wh[0] - 1, heatmap_size_wh[1] - 1])
    return np.asarray(location_K2 / last * np.array(input_size_wh))


def to_image_space(
    input_xy_K2: NDArray[np.float64],
    input_size_wh: tuple[int, int],
    center_2: NDArray[Any],
    scale_2: NDArray[Any],
) -> NDArray[np.float64]:
    """Network input pixels -> image pixels for a box given by centre and (padded, aspect-fixed) scale.

    Points [N, K, 2] of several boxes go with centres and scales [N, 1, 2].
    """
    return np.asarray(input_xy_K2 / np.array(input_size_wh) * scale_2 + center_2 - 0.5 * scale_2)


def merge_flipped(heatmaps: Tensor, of_flipped_input: Tensor, flip_index: Any) -> Tensor:
    """Mean of a map and the map of the mirrored input: mirrored back, channels swapped, no shift."""
    index = constant(np.asarray(flip_index, np.int64), heatmaps.device)
    return (heatmaps + of_flipped_input.flip(-1).index_select(1, index)) * 0.5


def encode(
    keypoints_K2: NDArray[np.floating[Any]],
    visible_K: NDArray[np.floating[Any]],
    input_size_wh: tuple[int, int],
    heatmap_size_wh: tuple[int, int],
    sigma: float = 6.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Training targets: unnormalised Gaussians [K, H, W] and weights [K].

    The Gaussian is drawn inside a square of three sigma; a keypoint whose square lies wholly outside the map gets
    weight 0, as does an unlabelled one.
    """
    width, height = heatmap_size_wh
    factor = (np.array(input_size_wh) - 1) / (np.array(heatmap_size_wh) - 1)
    radius = sigma * 3
    maps = np.zeros((len(keypoints_K2), height, width), np.float32)
    weights = np.asarray(visible_K, np.float32).copy()
    for i, point in enumerate(np.asarray(keypoints_K2)):
        if visible_K[i] < 0.5:
            continue
        mu = (point / factor + 0.5).astype(np.int64)
        left, top = (mu - radius).astype(np.int64)
        right, bottom = (mu + radius + 1).astype(np.int64)
        if left >= width or top >= height or right < 0 or bottom < 0:
            weights[i] = 0
            continue
        size = int(2 * radius + 1)
        axis = np.arange(size, dtype=np.float32)
        shift = point / factor - mu
        middle = size // 2
        gaussian = np.exp(
            -((axis[None] - middle - shift[0]) ** 2 + (axis[:, None] - middle - shift[1]) ** 2) / (2 * sigma**2)
        )
        x0, x1, y0, y1 = max(0, left), min(right, width), max(0, top), min(bottom, height)
        maps[i, y0:y1, x0:x1] = gaussian[y0 - top : y1 - top, x0 - left : x1 - left]
    return maps, weights
