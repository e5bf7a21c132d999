"""Columns of a metric's rows as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError

if TYPE_CHECKING:
    import pyarrow as pa


def numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of numbers, float64 [n]."""
    return np.asarray(rows.column(name).to_numpy(), np.float64)


def vectors(rows: pa.Table, name: str, size: int, dtype: type | None = None) -> NDArray[Any]:
    """A column of lists of one length, [n, size]; in its own type where ``dtype`` is None (no copy where it can).

    Raises:
        ShapeError: a list is missing or has another length.
    """
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in rows.column(name).chunks]
    flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks) if chunks else np.zeros(0, dtype or np.int64)
    if len(flat) != rows.num_rows * size:
        raise ShapeError(f"column {name!r} has {len(flat)} values in {rows.num_rows} rows, expected {size} in each.")
    return np.asarray(flat, dtype).reshape(-1, size)
