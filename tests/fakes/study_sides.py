"""Sides of a comparison, made of errors: what studies are judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sapiens_bench.decide.sides import Member, Side


def side(errors: Mapping[str, Sequence[float]], faults: Sequence[int] = (), **fields: Any) -> Side:
    """A run of the toy: model -> error of each picture.

    Args:
        faults: pictures that cannot be read.
        fields: of cell.json, over the usual ones.
    """
    about = {"protocol": {"scoring": {}, "options": {}}, "space": None, "manifest_sha256": "m", "dataset": "toy"}
    members = []
    for model, values in errors.items():
        n = len(values)
        rows = pa.table({
            "key": [f"k{i:04d}" for i in range(n)],
            "group": [f"g{i:04d}" for i in range(n)],
            "index": np.arange(n),
            "error_side": ["input" if i in faults else "" for i in range(n)],
            "grey/n": np.ones(n, np.int64),
            "grey/sum": np.asarray(values, float),
        })  # fmt: skip
        members.append(
            Member("toy", "toy", "Toy", "plain", model, model.title(), "grey/mae", n, {**about, **fields}, rows)
        )
    return Side(Path("run"), "done", tuple(members))
