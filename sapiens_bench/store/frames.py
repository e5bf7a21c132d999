"""A run as pandas tables: scores, and images with columns that can be read as they are.

Columns of an image: ``index``, ``key``, ``group``, ``status``, ``error_code``, ``error_detail``, ``error_side``; the
plain numbers of its row, "<metric>/<name>" (sums and counts, see the metric); and, where the metrics are known, every
score of that image alone, "<metric>/<score>", NaN where it is undefined or the image left the metric. Vectors stay in
the shards: outcomes are packed bits, a confusion table is flat, and neither can be read without its metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sapiens_bench.store.paths import cell_folder
from sapiens_bench.store.rows import BASE, read_rows

if TYPE_CHECKING:
    import pandas as pd

    from sapiens_bench.store.record import CellRecord, RunRecord
    from sapiens_bench.types import Metric

CELL = ("task", "dataset", "protocol", "model")
_SCORE = ("value", "low", "high", "level", "n_groups", "title", "unit", "higher_is_better")


def scores_frame(record: RunRecord) -> pd.DataFrame:
    """One line per cell and score, in the unit of the score (a share is 0..1); cells without scores have one line."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for cell in record.cells:
        about = {name: getattr(cell, name) for name in CELL} | {"model_title": cell.title, "status": cell.status}
        for key, score in cell.scores.items():
            lines.append({**about, "score": key, **{name: getattr(score, name) for name in _SCORE}})
        if not cell.scores:
            lines.append({**about, "score": None})
    return pd.DataFrame(lines, columns=[*CELL, "model_title", "status", "score", *_SCORE])


def images_frame(root: Path, cell: CellRecord, metrics: Sequence[Metric] = ()) -> pd.DataFrame:
    """One line per image of a cell, in index order.

    Args:
        root: the run folder.
        cell: one of its cells.
        metrics: of the cell's task; without them there are no scores of single images.

    Raises:
        StoreError: the rows are damaged.
    """
    import pandas as pd

    rows = read_rows(cell_folder(root, "rows", cell.task, cell.dataset, cell.protocol, cell.model))
    plain = [f.name for f in rows.schema if f.name in BASE or pa.types.is_primitive(f.type)]
    frame = rows.select(plain).to_pandas()
    scores = pd.DataFrame(image_scores(rows, metrics), index=frame.index)
    return pd.concat([frame.drop(columns=[name for name in scores if name in frame]), scores], axis=1)


def image_scores(rows: pa.Table, metrics: Sequence[Metric]) -> dict[str, list[float]]:
    """Every score over each image alone: "<metric>/<score>" -> one value per row."""
    measured = [side != "input" for side in rows["error_side"].to_pylist()]
    found: dict[str, list[float]] = {f"{m.name}/{key}": [math.nan] * len(measured) for m in metrics for key in m.scores}
    for metric in metrics:
        for i in (i for i, is_in in enumerate(measured) if is_in):
            for key, value in metric.aggregate(rows.slice(i, 1))(None).items():
                found[f"{metric.name}/{key}"][i] = value
    return found


def joined(frames: Sequence[tuple[CellRecord, pd.DataFrame]]) -> pd.DataFrame:
    """The images of several cells under each other, each led by its cell's names."""
    import pandas as pd

    named = []
    for cell, frame in frames:
        for position, name in enumerate(CELL):
            frame.insert(position, name, getattr(cell, name))
        named.append(frame)
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame(columns=[*CELL, *BASE])
