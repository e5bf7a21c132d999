"""How the images of many shards went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def count_errors(tables: Sequence[pa.Table]) -> list[int]:
    """How many rows of each have the status "error", told by one call: a call for each takes longer than decoding."""
    none = pa.chunked_array([], pa.string())
    columns = [table["status"] if "status" in table.column_names else none for table in tables]
    if any(column.type != pa.string() for column in columns):
        return [pc.sum(pc.equal(column, "error")).as_py() or 0 for column in columns]
    joined = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    is_error = pc.fill_null(pc.equal(joined, "error"), False).to_numpy()
    up_to = np.concatenate([[0], np.cumsum(is_error)])
    ends = np.cumsum([len(column) for column in columns], dtype=np.int64)
    return [int(n) for n in np.diff(up_to[ends], prepend=0)]
