"""Mattes as people store them: 8- or 16-bit pictures (full range), or arrays of 0..1. Axes: H height, W width."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.matting.types import MattingPrediction
from sapiens_bench.tasks.stored_options import StoredOptions

MEMBERS = ("alpha", "alphas", "matte", "pha")
_SHORT = ((1, 255), (1, 65535), (255, 65535))  # whole numbers that stop far below the largest of their type
_TRACE = 0.01  # of the pixels: what is fewer may be the noise of an empty matte


class StoredMattes(StoredOptions):
    """Of ``predictions`` for matting."""

    channel: Literal["grey", "alpha"] = "grey"
    """What of a picture is the matte: its grey values (one channel, or three that are equal), or its alpha channel (of
    an EXR file its A). Arrays are mattes either way."""


def read_matte(path: Path, size_hw: tuple[int, int], options: StoredMattes) -> MattingPrediction:
    """The matte in a file, at the picture's size.

    Raises:
        SampleFault: ``label.shape``, ``label.mode``, ``label.array``, ``pred.range``, ``image.*``.
    """
    size = None if options.resize else size_hw
    alpha = alpha_of(path, size, from_alpha=options.channel == "alpha", short="pred.range")
    return MattingPrediction(options.resized(alpha, size_hw, path))


def alpha_of(
    path: Path, size_hw: tuple[int, int] | None, *, from_alpha: bool, short: str = "label.value", **limits: Any
) -> NDArray[np.float32]:
    """Alpha of a file, float32 [H, W].

    Args:
        short: the code where whole numbers stop far below the largest of their type.

    Raises:
        SampleFault: as ``read_matte``, but ``short``.
    """
    from sapiens_bench.pixels import stored_shares  # lists of tasks need no image library

    if from_alpha and path.suffix.lower() == ".exr":
        return stored_shares.read_alpha_plane(path, size_hw, **limits)
    shares = stored_shares.read_shares(path, 1, MEMBERS, size_hw, **limits)
    if from_alpha and path.suffix.lower() not in stored_shares.ARRAYS:
        if shares.alpha_HW is None:
            raise SampleFault("label.mode", f"{shares.name}: no alpha channel that varies, and channel=alpha is asked")
        return _full_range(shares.alpha_HW, shares.name, short)
    if shares.alpha_HW is not None:
        text = f"{shares.name}: its alpha varies; say channel=alpha, or store the matte as grey values"
        raise SampleFault("label.mode", text)
    return _full_range(shares.values, shares.name, short)


def _full_range(alpha_HW: NDArray[np.float32], name: str, code: str) -> NDArray[np.float32]:
    """The matte, unless it stops at 1 of 255 or at 255 of 65535: read as shares, its people are as good as gone."""
    high = alpha_HW.max(initial=0)
    for top, full in _SHORT:
        if high == np.float32(top / full) and np.count_nonzero(alpha_HW) >= _TRACE * alpha_HW.size:
            text = f"whole numbers up to {top}, where {full} stands for 1: multiply by {full // top}, or store floats"
            raise SampleFault(code, f"{name}: {text}")
    return alpha_HW
