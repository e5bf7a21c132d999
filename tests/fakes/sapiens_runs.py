"""Tiny Sapiens networks in runs: how they are built, and what their runs stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.models.options import SapiensV1Options
from sapiens_bench.models.sapiens_load import build_network
from sapiens_bench.store.predictions import read_predictions

INPUT_HW = (128, 96)


def predictions(folder: Path, cell: Any) -> dict[str, dict[str, Any]]:
    """Stored predictions of a cell by sample key."""
    return dict(read_predictions(folder / "preds" / cell.task / cell.dataset / cell.protocol / cell.model))


def stored_keypoints(folder: Path, cell: Any, n_keypoints: int) -> dict[str, np.ndarray]:
    return {
        key: np.asarray(columns["keypoints"]).reshape(-1, n_keypoints, 2)
        for key, columns in predictions(folder, cell).items()
    }


def tiny_network(path: Path, kind: str = "pose", outputs: int | None = 17) -> torch.nn.Module:
    sizes = SapiensV1Options(heads=4)
    return build_network(kind, path, input_hw=INPUT_HW, outputs=outputs, options=sizes)  # type: ignore[arg-type]
