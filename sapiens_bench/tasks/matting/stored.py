"""Mattes as people store them: 8- or 16-bit pictures (full range), or arrays of 0..1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.matting.types import MattingPrediction
from sapiens_bench.tasks.stored_options import StoredOptions

MEMBERS = ("alpha", "alphas", "matte", "pha")


class StoredMattes(StoredOptions):
    """Of ``predictions`` for matting."""

    channel: Literal["grey", "alpha"] = "grey"
    """What of a picture is the matte: its grey values (one channel, or three that are equal), or its alpha channel."""


def read_matte(path: Path, size_hw: tuple[int, int], options: StoredMattes) -> MattingPrediction:
    """The matte in a file, at the picture's size.

    Raises:
        SampleFault: ``label.shape``, ``label.mode``, ``label.array``, ``image.*``.
    """
    alpha = alpha_of(path, None if options.resize else size_hw, from_alpha=options.channel == "alpha")
    return MattingPrediction(options.resized(alpha, size_hw, path))


def alpha_of(path: Path, size_hw: tuple[int, int] | None, *, from_alpha: bool, **limits: Any) -> NDArray[np.float32]:
    """Alpha of a file, float32 [H, W].

    Raises:
        SampleFault: as ``read_matte``.
    """
    from sapiens_bench.pixels.stored_shares import read_shares  # lists of tasks need no image library

    shares = read_shares(path, 1, MEMBERS, size_hw, **limits)
    if from_alpha:
        if shares.alpha_HW is None:
            raise SampleFault("label.mode", f"{shares.name}: no alpha channel that varies, and channel=alpha is asked")
        return shares.alpha_HW
    if shares.alpha_HW is not None:
        text = f"{shares.name}: its alpha varies; say channel=alpha, or store the matte as grey values"
        raise SampleFault("label.mode", text)
    return shares.values
