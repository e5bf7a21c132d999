"""Person box -> crop matrix and back: the one place of the half-pixel conventions.

Coordinates count pixel centres: the top-left pixel's centre is (0, 0). Matrices are 2x3 and map image to crop.
Three conventions live here, because published models were trained under three:

- ``udp_matrix``      sizes are measured between outermost pixel centres (size - 1); Sapiens, ViTPose.
- ``classic_matrix``  sizes are pixel counts and no half pixel is added; SimCC models (DWPose, RTMPose).
- ``square_matrix``   sizes are pixel counts and half pixels are exact; MoveNet, BlazePose.

Axes: N boxes or points.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError

LARGE_CROP = 5  # one with at least this share (1/5) of the picture's pixels


class CenterScale(NamedTuple):
    """Padded crop regions: centres and sides of the (unrotated) rectangles, in image pixels."""

    center_N2: NDArray[np.float32]
    scale_N2: NDArray[np.float32]  # (width, height)


def box_to_center_scale(boxes_xyxy_N4: NDArray[Any], padding: float = 1.25, aspect: float | None = 0.75) -> CenterScale:
    """Centres and padded, aspect-fixed sides of person boxes, float32.

    Args:
        boxes_xyxy_N4: corners in image pixels, [N, 4], or one box [4].
        padding: factor on both sides.
        aspect: width / height of the crop; the shorter side grows to it. None keeps the box's own aspect.

    Source: equals ``GetBBoxCenterScale`` of MMPose 1.x, which Sapiens v1 uses, to the bit.
    """
    boxes = np.atleast_2d(np.asarray(boxes_xyxy_N4, dtype=np.float32))
    if boxes.shape[-1] != 4:
        raise ShapeError(f"boxes have shape {boxes.shape}, expected [..., 4]")
    center = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
    scale = (boxes[:, 2:] - boxes[:, :2]) * np.float32(padding)
    if aspect is not None:
        width, height = scale[:, 0], scale[:, 1]
        is_wide = width > height * np.float32(aspect)
        scale = np.stack(
            [
                np.where(is_wide, width, height * np.float32(aspect)),
                np.where(is_wide, width / np.float32(aspect), height),
            ],
            axis=1,
        )
    return CenterScale(center, scale)


def udp_matrix(
    center_xy: NDArray[Any], scale_wh: NDArray[Any], size_wh: tuple[int, int], rotation_deg: float = 0.0
) -> NDArray[np.float32]:
    """Image -> crop matrix of unbiased data processing: ``centre -/+ scale/2`` go to (0, 0) and ``size - 1``.

    Args:
        center_xy, scale_wh: one region of ``box_to_center_scale``.
        size_wh: crop size in pixels.
        rotation_deg: rotation of the image content about the centre; positive is clockwise on screen.

    Source: Huang et al., The Devil is in the Details (CVPR 2020), eq. 6-7; float32 as MMPose returns it.
    """
    return _about_center(
        center_xy, scale_wh, (size_wh[0] - 1.0, size_wh[1] - 1.0), rotation_deg, shift_px=(0.0, 0.0)
    ).astype(np.float32)


def classic_matrix(
    center_xy: NDArray[Any], scale_wh: NDArray[Any], size_wh: tuple[int, int], rotation_deg: float = 0.0
) -> NDArray[np.float64]:
    """Image -> crop matrix of the three-point method: the centre goes to size/2, one factor for both axes.

    The factor is crop width / region width (the region's height is not looked at: its aspect was fixed before).
    Unlike ``udp_matrix``, a positive rotation turns the sampled region clockwise, so the content counter-clockwise.

    Source: MMPose 1.x ``get_warp_matrix``, in closed form.
    """
    factor = size_wh[0] / float(scale_wh[0])
    region = np.array([size_wh[0] / factor, size_wh[1] / factor])
    return _about_center(center_xy, region, (float(size_wh[0]), float(size_wh[1])), -rotation_deg, shift_px=(0.0, 0.0))


def square_matrix(center_xy: NDArray[Any], side_px: float, size: int, rotation_deg: float = 0.0) -> NDArray[np.float64]:
    """Image -> square crop matrix with exact half pixels: pixel u looks at ``centre + ((u + 0.5)/size - 0.5) side``.

    Args:
        center_xy: centre of the square in pixel-centre coordinates.
        side_px: its side in image pixels.
        size: crop side in pixels.
        rotation_deg: rotation of the image content about the centre; positive is clockwise on screen.
    """
    side = np.array([side_px, side_px], dtype=np.float64)
    return _about_center(center_xy, side, (float(size), float(size)), rotation_deg, shift_px=(-0.5, -0.5))


def _about_center(
    center_xy: NDArray[Any],
    scale_wh: NDArray[Any],
    extent_wh: tuple[float, float],
    rotation_deg: float,
    shift_px: tuple[float, float],
) -> NDArray[np.float64]:
    """``diag(extent/scale) (R (x - centre) + scale/2) + shift`` as a 2x3 matrix in float64."""
    center = np.asarray(center_xy, dtype=np.float64).reshape(2)
    scale = np.asarray(scale_wh, dtype=np.float64).reshape(2)
    if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ShapeError(f"crop region needs a finite centre and positive sides, got centre {center}, sides {scale}")
    factor = np.asarray(extent_wh, dtype=np.float64) / scale
    angle = np.deg2rad(rotation_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * factor[:, None]
    offset = factor * scale / 2 - linear @ center + np.asarray(shift_px)
    return np.concatenate([linear, offset[:, None]], axis=1)


def warp(
    image_HWC: NDArray[Any], matrix: NDArray[Any], size_wh: tuple[int, int], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """The crop: bilinear, black outside; same dtype and channels as the image.

    Args:
        image_HWC: [H, W] or [H, W, C].
        matrix: image -> crop, 2x3.
        size_wh: crop size in pixels.
        out: an array of the crop's shape and type to write it into.

    OpenCV versions differ by up to 3 grey levels on 1-5 % of the pixels (4.10 against 5.0), so its version is recorded.
    """
    is_rgb = image_HWC.shape[2:] == (3,) and image_HWC.dtype == np.uint8
    if is_rgb and _is_large(image_HWC, size_wh):
        # OpenCV warps four channels in less than half the time of three, each channel by the same arithmetic.
        crop = _warped(cv2.cvtColor(image_HWC, cv2.COLOR_RGB2RGBA), matrix, size_wh)
        return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB, dst=out))
    return _warped(image_HWC, matrix, size_wh, out)


def _is_large(image_HWC: NDArray[Any], size_wh: tuple[int, int]) -> bool:
    """A crop for which it pays to go through the whole picture once more."""
    return bool(LARGE_CROP * size_wh[0] * size_wh[1] >= image_HWC.shape[0] * image_HWC.shape[1])


def _warped(
    image: NDArray[Any], matrix: NDArray[Any], size_wh: tuple[int, int], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    crop: NDArray[Any] = cv2.warpAffine(
        image, matrix, size_wh, dst=out, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return crop
