"""What a corruption may use beside the picture: random bits of the picture's key, its size, its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.draws import stream

USUAL_SIDE_PX = 480  # lengths are given for a picture whose shorter side is this, and grow with it
_BITS = 12


@dataclass(frozen=True, slots=True)
class Draw:
    """Of one picture under one corruption; the severity is no part of the key, so severities of a picture are nested.

    The generator is Philox keyed by SHA-256; whole numbers only leave it, so every machine gets the same.
    """

    rng: np.random.Generator
    shorter_px: int
    boxes_xyxy_px: NDArray[np.float32]  # [N, 4]

    @classmethod
    def of(cls, corruption: str, seed: int, key: str, image_HW3: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Draw:
        rng = stream("condition", corruption, seed, key)
        return cls(rng, min(image_HW3.shape[:2]), boxes)

    def length(self, usual_px: float) -> float:
        """A length in pixels of this picture."""
        return usual_px * self.shorter_px / USUAL_SIDE_PX

    def sixteen_bits(self, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Whole numbers 0 to 65535, all equally likely."""
        n = int(np.prod(shape))
        words = np.asarray(self.rng.bit_generator.random_raw((n + 3) // 4), "<u8")
        return np.asarray(words.view("<u2")[:n].reshape(shape), np.uint16)

    def twelve_bits(self, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Whole numbers 0 to 4095, all equally likely."""
        return self.sixteen_bits(shape) & np.uint16(2**_BITS - 1)
