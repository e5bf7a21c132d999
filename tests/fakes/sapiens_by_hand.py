"""The official top-down pipeline written out step by step, to compare the package's with.

Source: facebookresearch/sapiens, as specified: GetBBoxCenterScale, TopdownAffine(use_udp), flip test without shift,
UDPHeatmap decoding with blur kernel 11. Loops and whole maps instead of the package's patches and batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
FULL = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
ROUNDING = 2e-6  # of the logarithm of a float32 map, a few last bits
LITE = ((123.5, 116.5, 103.5), (58.5, 57.0, 57.5))


def keypoints(
    net: Callable[[torch.Tensor], torch.Tensor],
    image_rgb: Array,
    box_xyxy: Array,
    flip_index: Sequence[int],
    input_wh: tuple[int, int],
    lite: bool = False,
) -> tuple[Array, Array, Array]:
    """Keypoints [K, 2] in image pixels, their scores [K], and how far rounding may move them [K], of one person.

    Where a noise-like map is flat around its peak, the Newton step magnifies the last bits of float32.
    """
    height, width = image_rgb.shape[:2]
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float32)
    center = np.array([(x1 + x2) / 2, (y1 + y2) / 2], np.float32)
    w, h = (x2 - x1) * np.float32(1.25), (y2 - y1) * np.float32(1.25)
    aspect = width / height if lite else input_wh[0] / input_wh[1]
    w, h = (w, w / aspect) if w > h * aspect else (h * aspect, h)
    scale = np.array([w, h], np.float32)
    crop = crop_of(image_rgb[..., ::-1], center, scale, (width, height) if lite else input_wh)
    if lite:
        crop = cv2.resize(crop, input_wh, interpolation=cv2.INTER_LINEAR)
    mean, std = LITE if lite else FULL
    rgb = torch.from_numpy(np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1))).float()
    image = (rgb - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        # One call, as the package makes it: other batch sizes change last bits, and noise-like maps magnify them.
        both = net(torch.stack([image, image.flip(-1)]) if not lite else image[None]).numpy()
        maps = both[0]
        if not lite:
            maps = (maps + both[1][:, :, ::-1][list(flip_index)]) * 0.5
    located, scores, gain = decode(maps)
    size = np.array([maps.shape[2] - 1, maps.shape[1] - 1])
    return located / size * scale + center - 0.5 * scale, scores, gain * ROUNDING * (scale / size).max()


def crop_of(image_bgr: Array, center: Array, scale: Array, size_wh: tuple[int, int]) -> Array:
    """UDP crop: the padded box's corners fall on the centres of the first and the last pixel."""
    sx, sy = (size_wh[0] - 1) / float(scale[0]), (size_wh[1] - 1) / float(scale[1])
    left, top = float(center[0]) - float(scale[0]) / 2, float(center[1]) - float(scale[1]) / 2
    matrix = np.array([[sx, 0, -sx * left], [0, sy, -sy * top]], np.float32)
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(image_bgr), matrix, size_wh, flags=cv2.INTER_LINEAR))


def decode(maps: Array) -> tuple[Array, Array, Array]:
    """UDP/DARK on every channel: positions in heatmap pixels, scores, and what a step magnifies errors by."""
    located, scores, gain = np.zeros((len(maps), 2)), np.zeros(len(maps), np.float32), np.zeros(len(maps))
    for k, plane in enumerate(maps):
        y, x = np.unravel_index(int(plane.argmax()), plane.shape)
        scores[k] = plane[y, x]
        frame = np.zeros((plane.shape[0] + 10, plane.shape[1] + 10), np.float32)
        frame[5:-5, 5:-5] = plane
        blurred = cv2.GaussianBlur(frame, (11, 11), 0)[5:-5, 5:-5]
        blurred = np.log(np.clip(blurred * (plane.max() / blurred.max()), 1e-3, 50))
        p = np.pad(blurred, 1, mode="edge").astype(np.float64)
        v = p[y : y + 3, x : x + 3]
        dx, dy = 0.5 * (v[1, 2] - v[1, 0]), 0.5 * (v[2, 1] - v[0, 1])
        dxx, dyy = v[1, 2] - 2 * v[1, 1] + v[1, 0], v[2, 1] - 2 * v[1, 1] + v[0, 1]
        dxy = 0.5 * (v[2, 2] - v[1, 2] - v[2, 1] + 2 * v[1, 1] - v[1, 0] - v[0, 1] + v[0, 0])
        hessian = np.array([[dxx, dxy], [dxy, dyy]]) + np.finfo(np.float32).eps * np.eye(2)
        inverse = np.linalg.inv(hessian)
        step = inverse @ np.array([dx, dy])
        located[k] = np.array([x, y]) - step
        gain[k] = np.linalg.norm(inverse, 2) * (1 + np.linalg.norm(step))
    return located, scores, gain
