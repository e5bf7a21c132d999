"""Normals as colours: (n + 1) / 2 of the full range.

Axes: H height, W width, N vectors.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault

Encoding = Literal["auto", "vector", "colour"]
COUNTS = (255, 65535)  # largest of 8 and 16 bits
FEWEST = 50  # vectors; fewer say nothing
UNIT_SLACK = 0.1  # mean difference from the length that decoded colours should have
LENGTH_SLACK = 0.02  # spread of lengths of rounded vectors, as a share of their mean; colours that face us have 0.03
SHORTEST = 0.1  # a coded normal shorter than this is the grey of "no value"


def decoded_normals(counts_HW3: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors of normals coded as colours, float32 [H, W, 3]; NaN for black and for grey, which code no direction.

    Args:
        counts_HW3: unsigned integers over their whole range, signed ones that hold such counts (0..255, else 0..65535),
            or floating-point numbers from 0 to 1.
    """
    top = _top(counts_HW3)
    normals = counts_HW3.astype(np.float32) / np.float32(top / 2) - 1
    nothing = (counts_HW3 == 0).all(axis=-1) | (np.einsum("hwc,hwc->hw", normals, normals) < SHORTEST**2)
    normals[nothing] = np.nan
    return np.asarray(normals, np.float32)


def are_colours(values_HW3: NDArray[Any], name: str) -> bool:
    """Whether numbers that nobody declared are coded normals: whole numbers are, unless their signs or lengths tell.

    Signed whole numbers of which none is negative may be either: colours decode to unit vectors, vectors have one
    length as they are. Unit vectors whose components add up to 1.5 decode to unit vectors as well, so both are asked.

    Raises:
        SampleFault: ``label.mode``; such numbers that are neither, or could be both.
    """
    if values_HW3.dtype.kind not in "iu" or values_HW3.dtype.kind == "u":
        return values_HW3.dtype.kind == "u"
    if values_HW3.min(initial=0) < 0:
        return False
    decoded = decoded_normals(values_HW3).reshape(-1, 3)
    lengths = np.linalg.norm(decoded[np.isfinite(decoded).all(axis=1)], axis=1)
    can_be_colours = not len(lengths) or float(np.abs(lengths - 1).mean()) < UNIT_SLACK
    stored = np.linalg.norm(_with_value(values_HW3.reshape(-1, 3).astype(np.float64)), axis=1)
    have_one_length = bool(len(stored)) and float(stored.std() / stored.mean()) < LENGTH_SLACK
    is_unit = have_one_length and abs(float(stored.mean()) / _top(values_HW3) - 1) < UNIT_SLACK
    if can_be_colours and not is_unit:  # a flat wall's colours have one length, too, but not that of the whole range
        return True
    if have_one_length and not can_be_colours:
        return False
    what = "both colours of unit normals and unit vectors" if is_unit else "neither colours of unit normals nor vectors"
    text = f"signed whole numbers without a negative one, {what}{'' if is_unit else ' of one length'}"
    raise SampleFault("label.mode", f"{name}: {text}; say which: encoding=colour or encoding=vector")


def _top(counts_HW3: NDArray[Any]) -> float:
    """The largest count that the numbers can have."""
    if counts_HW3.dtype.kind not in "iu":
        return 1.0
    most = float(np.iinfo(counts_HW3.dtype).max)
    if counts_HW3.dtype.kind == "u" and most <= COUNTS[-1]:
        return most
    highest = int(counts_HW3.max(initial=0))  # a picture that was cast: no program writes 32-bit colours
    return next((float(top) for top in COUNTS if highest <= top), most)


def coded_advice(vectors_N3: NDArray[np.floating[Any]], setting: str) -> str:
    """What vectors that can be no normals look like, and the way out; "" for those that can.

    Args:
        setting: how the caller's user declares the encoding.
    """
    if looks_coded(vectors_N3):
        return f"numbers from 0 to 1 and of no common length look like (n + 1) / 2: {setting}"
    finite = _with_value(vectors_N3)
    if len(finite) < FEWEST or finite.min() < 0 or not 2 < finite.max() <= COUNTS[-1]:
        return ""
    lengths = np.linalg.norm(finite, axis=1)
    if float(lengths.std() / lengths.mean()) <= 0.05:
        return ""
    return f"numbers from 0 to {finite.max():g} look like colours: store them as 8- or 16-bit integers"


def _with_value(vectors_N3: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    found: NDArray[np.floating[Any]] = vectors_N3[np.isfinite(vectors_N3).all(axis=1) & (vectors_N3 != 0).any(axis=1)]
    return found


def looks_coded(vectors_N3: NDArray[np.floating[Any]]) -> bool:
    """Do vectors look like (n + 1) / 2, all between 0 and 1 and of no common length? Real normals have both signs."""
    finite = _with_value(vectors_N3)
    if len(finite) < FEWEST or finite.min() < 0 or finite.max() > 1:
        return False
    return float(np.abs(np.linalg.norm(finite, axis=1) - 1).mean()) > 0.05
