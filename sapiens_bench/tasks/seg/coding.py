"""Label maps whose numbers seem to be counted otherwise than declared, which would score other classes in silence.

The border of a picture of people is mostly background. Where the number of the background is never there and another
one is nearly everywhere, the coding is in doubt, unless the picture is a close-up: then the other number fills the
middle as much, and what background there is lies at the border, or is a small hole. A picture may be like that all the
same: it is told, never refused.

Axes: H height, W width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BACKGROUND = "background"
_RING = 50  # of the shorter side: how wide the border is
_RARE = 0.25  # share of the borders: a person cut off below may reach that
_MOST = 0.6
_BESIDE = 0.5
_STRAY = 0.01
_FEWER = 0.05  # of the pixels: a background covers so much less of the middle than of the border, and ...
_HOLE = 0.05  # ... exchanged with it, a person covers so much more: what is seen between arm and body is smaller


class Border(NamedTuple):
    """What one label map, as stored, says of its coding."""

    shares: dict[int, float]  # label -> share of the border's pixels
    inside: dict[int, float]  # label -> share of the others; empty where there are none
    has_zeros: bool  # anywhere
    beside: float  # share of 0 among the scored neighbours of pixels that are not scored; NaN where there are none


def border_of(stored_HW: NDArray[Any], ignored: int) -> Border:
    """Look at the outermost pixels of a map, and at what lies beside those that are not scored.

    A frame that is not scored, as of a picture fitted into another size, is no part of the map.

    Args:
        stored_HW: integers of any width.
        ignored: the number of pixels that are not scored.
    """
    shares, inside = _shares(_within_frame(stored_HW, ignored))
    beside = _zeros_beside(stored_HW, ignored) if shares.get(ignored, 0.0) > _RARE else math.nan
    return Border(shares, inside, bool((stored_HW == 0).any()), beside)


def _within_frame(stored_HW: NDArray[Any], ignored: int) -> NDArray[Any]:
    """The map without a frame of ``ignored``: straight, and in the middle or below and on the right of the rest."""
    rows, columns = (np.flatnonzero((stored_HW != ignored).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return stored_HW
    top, bottom, left, right = rows[0], len(stored_HW) - 1 - rows[-1], columns[0], stored_HW.shape[1] - 1 - columns[-1]
    is_centred = abs(top - bottom) <= 1 and abs(left - right) <= 1
    found = stored_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    is_straight = np.count_nonzero(edge == ignored) <= _STRAY * edge.size
    return found if is_straight and (is_centred or top == left == 0) else stored_HW


def _shares(stored_HW: NDArray[Any]) -> tuple[dict[int, float], dict[int, float]]:
    """Label -> share of the pixels, of the border and of the rest."""
    width = max(1, min(stored_HW.shape) // _RING)
    parts = (stored_HW[:width], stored_HW[-width:], stored_HW[width:-width, :width], stored_HW[width:-width, -width:])
    return _share(np.concatenate([part.ravel() for part in parts])), _share(stored_HW[width:-width, width:-width])


def _share(labels: NDArray[Any]) -> dict[int, float]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), (counts / max(1, labels.size)).tolist(), strict=True))


def _zeros_beside(stored_HW: NDArray[Any], ignored: int) -> float:
    n_pairs = n_zeros = 0
    is_out = stored_HW == ignored
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for here, there in ((a, b), (b, a)):
            beside = stored_HW[there][is_out[here] & ~is_out[there]]
            n_pairs += beside.size
            n_zeros += beside.size - int(np.count_nonzero(beside))
    return n_zeros / n_pairs if n_pairs else math.nan


def coding_doubt(borders: Sequence[Border], names: Sequence[str], ignored: int) -> str:
    """What speaks against the declared coding, and what may be meant; "" where nothing does.

    Args:
        borders: of the maps that were looked at.
        names: of the set they are declared to be in.
        ignored: the number of pixels that are not scored.
    """
    total: Counter[int] = Counter()
    for border in borders:
        total.update(border.shares)
    if not total or names[0].lower() != BACKGROUND or total[0] > _RARE * len(borders):
        return ""
    label, share = max(total.items(), key=lambda item: item[1])
    if share < _MOST * len(borders) or not (label == ignored or label < len(names)):
        return ""
    if _is_close_up(label, ignored, len(names), borders):
        return ""
    meant = _meant(label, names, ignored, borders)
    if not meant:
        return ""
    called = "not scored" if label == ignored else names[label]
    return (
        f"LABELS IN DOUBT: of the borders of the {len(borders)} label maps looked at, {label} ({called}) covers "
        f"{share / len(borders):.0%} and 0 ({names[0]}) {total[0] / len(borders):.0%}. {meant} Scores are then those "
        "of other classes, and nothing else tells"
    )


def _is_close_up(label: int, ignored: int, n_names: int, borders: Sequence[Border]) -> bool:
    """Whether the number that fills the borders lies as a person does who reaches beyond the picture, and 0 beside."""

    def more_inside(number: int) -> float:
        return math.fsum(b.inside.get(number, 0.0) - b.shares.get(number, 0.0) for b in borders) / len(borders)

    if more_inside(label) > -_FEWER:
        return True
    if label == ignored or not any(border.has_zeros for border in borders):
        return False
    return more_inside(0) < (_HOLE if n_names == 2 else 0.0)  # of many, 0 may be a part as small as that


def _meant(label: int, names: Sequence[str], ignored: int, borders: Sequence[Border]) -> str:
    """The likeliest coding; "" where the declared one is as likely."""
    has_zeros = any(border.has_zeros for border in borders)
    if label == ignored:
        beside = [border.beside for border in borders if math.isfinite(border.beside)]
        # Nobody labelled the background, or it lies inside a frame that is not scored.
        if not has_zeros or not beside or sum(beside) > _BESIDE * len(beside):
            return ""
        return (
            f"Is 0 the first class, {names[1]}, and the background not scored (reduce_zero_label of MMSegmentation)? "
            f"Then add 1 to every label but {ignored}, and write 0 for the background."
        )
    if not has_zeros and label == 1:
        return "Are labels counted from 1? Then subtract 1 from each."
    if len(names) == 2:
        return f"Are the two exchanged? Then write 0 for the background and 1 for {names[1]}."
    return f"Is {label} the background? Then write 0 for it, and see whether the other labels are those of the set."
