"""A small picture, how tests save one, and how they read it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.codecs import labels_of, stored_of
from sapiens_bench.pixels.decode import open_picture

SCENE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def saved(folder: Path, array: np.ndarray, name: str, **options: object) -> Path:
    Image.fromarray(array).save(folder / name, **options)
    return folder / name


def read_labels(path: Path, **options: Any) -> np.ndarray:
    return labels_of(stored_of(open_picture(path, **options)))


def code_of(call: object, *args: object, **options: object) -> str:
    with pytest.raises(SampleFault) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.side == "input"
    return caught.value.code
