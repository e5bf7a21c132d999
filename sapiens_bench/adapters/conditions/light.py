"""Corruptions of single pixels: noise, light, contrast, colour, fog. Whole-number arithmetic and tables of 256 values.

Numbers are rounded once, when a table is made, so the last bits of a C library decide nothing. Tables for light work
on linear values (gamma 2.2).
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.conditions.draws import Draw

Image = NDArray[np.uint8]  # [H, W, 3]
SIGMA = (8, 16, 26, 40, 60)  # grey levels
IMPULSES = (0.01, 0.03, 0.06, 0.12, 0.2)  # share of pixels
DIMMED = (0.5, 0.3, 0.17, 0.09, 0.045)  # share of the light
SHOT = (0.5, 0.8, 1.1, 1.5, 2.0)  # sigma in grey levels = this x square root of the grey level, and as much in the dark
STOPS = (0.7, 1.2, 1.7, 2.3, 3.0)  # light x 2 ** stops
CONTRAST = (0.7, 0.5, 0.35, 0.22, 0.12)  # share of the distance from mid grey
CAST = (0.25, 0.5, 0.8, 1.2, 1.7)  # stops between red and blue
FOG = (0.25, 0.4, 0.55, 0.7, 0.83)  # mean share of white
_ONE = 256  # fixed point
_BLOCK = 1 << 15  # values worked on at a time where there are several steps: they stay in the processor's cache
_STEPS = 4096  # of the normal distribution: what twelve bits tell apart
_WHITE = 235


@lru_cache(maxsize=1)
def _normal() -> NDArray[np.int32]:
    """Quantiles of the normal distribution in 4096 equal steps, in 1 / 256 of sigma."""
    ends = NormalDist()
    return np.array([round(_ONE * ends.inv_cdf((i + 0.5) / _STEPS)) for i in range(_STEPS)], np.int32)


def noise(image: Image, level: int, draw: Draw) -> Image:
    steps, words, noisy = _steps(level), draw.sixteen_bits(image.shape), np.empty_like(image)
    rows = max(1, _BLOCK // image[0].size)
    added = np.empty((rows, *image.shape[1:]), np.int16)
    for top in range(0, len(image), rows):
        block = slice(top, top + rows)
        of_block = added[: len(image[block])]
        np.take(steps, words[block], mode="clip", out=of_block)
        noisy[block] = cv2.add(image[block], of_block, dtype=cv2.CV_8U)  # ends at 0 and 255
    return noisy


@lru_cache(maxsize=5)
def _steps(level: int) -> NDArray[np.int16]:
    """Sixteen random bits, of which the lower twelve count -> what is added, in grey levels."""
    steps = (_normal() * SIGMA[level - 1] + _ONE // 2) // _ONE
    return np.tile(steps.astype(np.int16), (1 << 16) // _STEPS)


def impulse(image: Image, level: int, draw: Draw) -> Image:
    bits = draw.twelve_bits(image.shape[:2])
    share = round(IMPULSES[level - 1] * 4096 / 2)
    out = image.copy()
    out[bits < share] = 0
    out[bits >= 4096 - share] = 255
    return out


def low_light(image: Image, level: int, draw: Draw) -> Image:
    start, noisy = _gain(DIMMED[level - 1]).astype(np.int32) * _STEPS, _shot(level)
    dark, bits = np.empty(image.shape, np.uint8), draw.twelve_bits(image.shape)
    rows = max(1, _BLOCK // image[0].size)
    for top in range(0, len(image), rows):
        block = slice(top, top + rows)
        at = np.asarray(cv2.LUT(image[block], start), np.int32)
        at |= bits[block]
        np.take(noisy, at, mode="clip", out=dark[block])
    return dark


@lru_cache(maxsize=5)
def _shot(level: int) -> NDArray[np.uint8]:
    """Grey level of a dimmed picture and twelve random bits -> grey level with its shot noise, [levels * 4096]."""
    grey = np.arange(int(_gain(DIMMED[level - 1]).max()) + 1, dtype=np.int32)[:, None]
    sigma = np.rint(_ONE * SHOT[level - 1] * (1 + np.sqrt(grey))).astype(np.int32)
    added = (_normal() * sigma + _ONE * _ONE // 2) >> 16  # of _ONE * _ONE
    return _byte(grey + added).ravel()


def exposure(image: Image, level: int, draw: Draw) -> Image:
    return _looked_up(image, _gain(2.0 ** STOPS[level - 1]))


def contrast(image: Image, level: int, draw: Draw) -> Image:
    return _looked_up(image, _byte(np.rint(128 + CONTRAST[level - 1] * (np.arange(256) - 128))))


def colour_cast(image: Image, level: int, draw: Draw) -> Image:
    """Red against blue by some stops, warm or cold by the picture's key; green as it is."""
    half = CAST[level - 1] / 2 * (1 if draw.rng.integers(2) else -1)
    table = np.stack([_gain(2.0**half), np.arange(256, dtype=np.uint8), _gain(2.0**-half)], 1)
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), np.uint8)


def fog(image: Image, level: int, draw: Draw) -> Image:
    """White over the picture, thicker here and thinner there: a coarse grid of random numbers, made smooth."""
    height, width = image.shape[:2]
    grid = draw.rng.integers(0, 256, (6, 6)).astype(np.uint8)
    patches = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    share = np.clip(round(_ONE * FOG[level - 1]) + (patches.astype(np.int32) - 128) // 4, 0, _ONE).astype(np.uint16)
    mixed = image * (_ONE - share)[..., None] + (_WHITE * share + _ONE // 2)[..., None]
    return np.asarray(mixed >> 8, np.uint8)


def _gain(factor: float) -> NDArray[np.uint8]:
    """Grey level -> grey level when there is ``factor`` times the light, [256]."""
    linear = (np.arange(256) / 255) ** 2.2 * factor
    return np.asarray(np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)), np.uint8)


def _looked_up(image: Image, table: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _byte(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
