"""Arrays whose axes lie a little differently than asked for: what is unambiguous is put right, the rest is told apart.

Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


def fitted(array: NDArray[Any], wanted: Shape, *, channels_first: bool = False) -> NDArray[Any] | None:
    """The array with the shape ``wanted``, [H, W] or [H, W, 3], or None when it does not fit.

    Singleton axes in front and at the end are dropped: (1, H, W), (1, 1, H, W), (H, W, 1), (1, H, W, 3). Nothing else
    is guessed.

    Args:
        channels_first: (3, H, W) is declared, or cannot be anything else.
    """
    for shape in _without_singletons(array.shape):
        if shape == wanted:
            return array.reshape(shape)
        if channels_first and len(wanted) == 3 and shape == (wanted[2], wanted[0], wanted[1]):
            return np.ascontiguousarray(np.moveaxis(array.reshape(shape), 0, -1))
    return None


def _without_singletons(shape: Shape) -> Iterator[Shape]:
    """The shape with fewer and fewer axes of length 1 in front and at the end, the whole one first."""
    for dropped in range(len(shape)):
        for front in range(dropped + 1):
            end = len(shape) - (dropped - front)
            if all(n == 1 for n in (*shape[:front], *shape[end:])):
                yield shape[front:end]


def one_of_equal_channels(array: NDArray[Any], size_hw: Shape) -> NDArray[Any] | None:
    """[H, W] of an [H, W, 3] array whose channels are equal, as OpenCV writes grey pictures; else None."""
    if array.shape != (*size_hw, 3):
        return None
    first = array[..., 0]
    return first if all(np.array_equal(first, array[..., i]) for i in (1, 2)) else None


def misfit(found: Shape, wanted: Shape) -> str:
    """Both shapes, and what the one found may be."""
    text = f"shape {found}, needed is {wanted}"
    hw = wanted[:2]
    flat = tuple(n for n in found if n != 1)
    if hw[0] != hw[1] and flat[:2] == hw[::-1] and flat[2:] == wanted[2:]:
        return f"{text}: height and width are swapped"
    if len(found) == 3 and len(wanted) == 3 and found[0] == 3 and found[1:] == hw:
        return f"{text}: channels come first"
    if len(found) == 3 and len(wanted) == 2 and found[1:] == hw:
        return f"{text}: {found[0]} maps in one; class scores need an argmax first"
    if len(flat) == len(wanted) and flat[2:] == wanted[2:]:
        return f"{text}: another size"
    return text
