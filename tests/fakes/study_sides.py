"""Sides of a comparison, made of errors: what studies are judged on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.stats.bootstrap import draw_weights
from sapiens_bench.stats.ends import FEW_GROUPS
from sapiens_bench.study.effects import Scored


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


def means(errors_NSK: np.ndarray[Any, Any], n_draws: int, seed: int) -> Iterator[Scored]:
    """Studies whose score is a mean; axes N pictures (each a group), S studies, K the reference and conditions."""
    n, n_studies, n_tables = errors_NSK.shape
    names, flat = [str(i) for i in range(n)], errors_NSK.reshape(n, -1)
    weights_BN = draw_weights(names, n_draws, seed).astype(np.float64)
    draws = (weights_BN @ flat / n).reshape(-1, n_studies, n_tables)
    without = ((flat.sum(0) - flat) / (n - 1)).reshape(n, n_studies, n_tables)
    for study in range(n_studies):
        points = errors_NSK[:, study].mean(0).tolist()
        yield Scored(points, list(draws[:, study].T), list(without[:, study].T) if n < FEW_GROUPS else [], n)
