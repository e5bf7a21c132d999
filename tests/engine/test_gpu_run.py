"""A whole run on a CUDA device against the same run on the CPU; skipped where there is no such device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sapiens_bench.api import evaluate
from sapiens_bench.store.rows import read_predictions

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
MODELS = ("movenet-thunder", "movenet-lightning", "blazepose-full")


def keypoints(out: Path, model: str) -> dict[str, np.ndarray]:
    folder = out / "preds/pose/synthetic-humans/gt-box" / model
    return {key: np.asarray(columns["keypoints"]).reshape(-1, 2) for key, columns in read_predictions(folder)}


def test_cuda_finds_the_points_that_the_cpu_finds(tmp_path: Path) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    records = {
        device: evaluate(task="pose", models=MODELS, split="tiny", out=tmp_path / device, device=device, n_boot=0)
        for device in ("cpu", "cuda")
    }
    for first, second in zip(records["cpu"].cells, records["cuda"].cells, strict=True):
        assert second.scores["oks/AP"].value == pytest.approx(first.scores["oks/AP"].value, abs=0.02)
        ours, theirs = (keypoints(tmp_path / device, first.model) for device in ("cpu", "cuda"))
        away = np.concatenate([np.linalg.norm(ours[key] - theirs[key], axis=-1) for key in ours])
        assert np.median(away) < 0.01  # px; a few points sit on ties and may jump
        assert np.mean(away < 0.5) > 0.98


def test_too_large_a_batch_is_halved_and_the_rows_are_the_same(tmp_path: Path) -> None:
    small, large = (
        evaluate(
            task="pose", models=("movenet-lightning",), split="tiny", out=tmp_path / str(size), device="cuda", n_boot=0,
            batch_size=size,
        )
        for size in (1, 64)
    )  # fmt: skip
    assert small.cells[0].scores["oks/AP"].value == pytest.approx(large.cells[0].scores["oks/AP"].value, abs=0.02)
