"""Small arrays that every forward pass needs on its device, brought there once: each copy would make the host wait."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def constant(values: NDArray[Any], device: torch.device) -> Tensor:
    """The array on ``device``, in its own dtype; the same tensor each time, not to be changed."""
    array = np.ascontiguousarray(values)
    return _kept(array.tobytes(), array.shape, array.dtype.str, device)


@lru_cache(maxsize=64)
def _kept(data: bytes, shape: tuple[int, ...], dtype: str, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # so that it may be used in training, too
        return torch.from_numpy(np.frombuffer(data, dtype).reshape(shape).copy()).to(device)
