"""A run record such as `run` writes, without running anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sapiens_bench.store.record import CellRecord, Counts, ErrorExample, RunRecord, ScoreRecord, Timing


def score(value: float, half: float = math.nan, title: str = "AP", headline: bool = True, **facts: Any) -> ScoreRecord:
    """A share shown as per cent, with a symmetric interval."""
    defaults = {"percent": True, "decimals": 1, "n_groups": 120, "low": value - half, "high": value + half}
    return ScoreRecord(**{**defaults, "value": value, "title": title, "headline": headline, **facts})


def pose_cell(model: str, title: str, ap: float = math.nan, **changes: Any) -> CellRecord:
    """One measured row of a pose table; 120 images."""
    facts: dict[str, Any] = {
        "task": "pose",
        "dataset": "synthetic-humans",
        "protocol": "gt-box",
        "model": model,
        "title": title,
        "status": "done",
        "trained_on": "COCO, Active",
        "licence": "Apache-2.0",
        "headline": "oks/AP",
        "weights_file": f"{model}.safetensors",
        "weights_pinned": True,
        "counts": Counts(planned=120, ok=120),
        "timing": Timing(wall_s=10.0, images=120),
        "params_m": 6.3,
        "scores": {
            "oks/AP": score(ap, 0.036),
            "oks/AR": score(ap + 0.02, 0.03, title="AR"),
            "oks/AP50": score(ap + 0.1, 0.02, title="AP50", headline=False),
        },
    }
    return CellRecord(**{**facts, **changes})


def missing_cell(model: str, title: str, how: str) -> CellRecord:
    """A row whose weights are not on this machine."""
    return pose_cell(model, title, status="weights missing", how=how, scores={}, counts=Counts(), timing=Timing(),
                     weights_bytes=1_358_000_000, licence="CC-BY-NC-4.0", trained_on="COCO")  # fmt: skip


@pytest.fixture
def rows() -> SimpleNamespace:
    """Makers of single rows and scores."""
    return SimpleNamespace(score=score, pose=pose_cell, missing=missing_cell, standard=standard_cells)


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """Factory: ``make_record(cells=[...], **fields)``; by default a complete pose run with every kind of row."""

    def make(cells: list[CellRecord] | None = None, **changes: Any) -> RunRecord:
        rows = cells if cells is not None else standard_cells()
        facts: dict[str, Any] = {
            "status": "done",
            "task": "pose",
            "command": "sapiens-bench run --task pose --models all",
            "version": "0.1.0",
            "started": "2026-01-02T03:04:05Z",
            "finished": "2026-01-02T03:05:05Z",
            "hardware": {"cpu": "A CPU with 2 cores"},
            "seeds": {"bootstrap": 0},
            "request": {"precision": "fp32"},
            "datasets": {"synthetic-humans": {"title": "Synthetic humans", "n_images": 120}},
            "cells": rows,
        }
        return RunRecord(**{**facts, **changes})

    return make


def standard_cells() -> list[CellRecord]:
    """Two networks (the worse one first), a floor, an oracle, two rows without weights."""
    how = "Accept the licence at https://huggingface.co/facebook, then `sapiens-bench weights get {}`."
    return [
        pose_cell("blazepose-full", "BlazePose Full", 0.612, approximate="33 -> 17 keypoints by name"),
        pose_cell(
            "movenet-thunder",
            "MoveNet Thunder",
            0.84,
            counts=Counts(planned=120, ok=117, input_errors=0, prediction_errors=3),
            errors=[ErrorExample(key="a", code="pred.nonfinite", detail="", side="prediction")],
        ),
        pose_cell("mean-pose", "Mean pose", 0.11, kind="floor", weights_file="", trained_on="nothing"),
        pose_cell("oracle", "Oracle", 1.0, kind="diagnostic", weights_file="", trained_on="the ground truth"),
        missing_cell("sapiens-1b", "Sapiens-1B", how.format("sapiens-1b")),
        missing_cell("sapiens-2b", "Sapiens-2B", how.format("sapiens-2b")),
    ]
