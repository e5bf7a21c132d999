"""Things that once passed in silence, or were said at too great length."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Label maps of two samples."""
    root = tmp_path / "data"
    for role in ("images", "labels"):
        (root / role).mkdir(parents=True)
        shape = (60, 80, 3) if role == "images" else (60, 80)
        for name in "ab":
            pixels = np.random.default_rng(0).integers(0, 2, shape) + (254 if role == "images" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(root / role / f"{name}.png")
    (root / "frame.json").write_text(json.dumps({"schema": "frame/1", "labels": {"space": "person2"}}))
    return root


def test_an_export_of_which_every_sample_failed_fails(call: Call, folder: Path, tmp_path: Path) -> None:
    ask = ("data", "export", "folder", "--task", "seg", "--protocol", "person", "--data-root", folder)
    code, said, error = call(*ask, "--out", tmp_path / "good")
    assert code == 0, said + error
    for picture in (folder / "images").iterdir():
        picture.write_bytes(picture.read_bytes()[:400])
    code, _, error = call(*ask, "--out", tmp_path / "bad")
    assert code == 3
    assert "None of the 2 samples" in error
    assert f"data check folder --data-root {folder}` looks" in error
    assert not (tmp_path / "bad" / "frame.json").exists()
    shutil.copy(next((tmp_path / "good" / "images").iterdir()), folder / "images" / "a.png")
    code, said, error = call(*ask, "--out", tmp_path / "half")
    assert code == 0
    assert "1 of 2 samples" in said
    assert "left out" in error


def test_other_boxes_without_the_model_are_refused_with_the_fix(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = ("run", "--task", "pose", "--models", "movenet-lightning", "--split", "tiny", "--limit", "1", "--n-boot", "0")
    assert call(*run, "--dataset", "synthetic-humans", "--out", out)[0] == 0
    code, _, error = call("explain-number", out, "--published", "50", "--boxes", "jitter:0.1")
    assert code == 2
    assert "Add --rerun-model" in error


def test_a_dry_run_names_missing_weights_once_for_each_family(call: Call, tmp_path: Path) -> None:
    ask = ("run", "--task", "pose", "--models", "all,sapiens-*,vitpose-plus-*", "--split", "tiny", "--dry-run")
    code, said, _ = call(*ask, "--dataset", "synthetic-humans", "--out", tmp_path / "run")
    assert code == 0
    missing = [line for line in said.splitlines() if line.startswith("Missing:")]
    assert 3 <= len(missing) <= 20
    assert max(map(len, missing)) < 220
    assert any("weights of 4 models" in line and "weights get NAME --accept-licence" in line for line in missing)
    assert "`sapiens-bench weights list --task pose`" in said


def test_labels_that_seem_counted_otherwise_are_told_by_check_and_score(call: Call, tmp_path: Path) -> None:
    root, predictions = tmp_path / "set", tmp_path / "mine"
    labels = np.full((60, 40), 255, np.uint8)
    labels[10:, 10:30], labels[10:14, 12:28] = 21, 0  # Apparel is 0, and the background is not scored
    for folder in (root / "images", root / "labels", predictions):
        folder.mkdir(parents=True)
        for name in "abc":
            Image.fromarray(np.dstack([labels] * 3) if folder.name == "images" else labels).save(folder / f"{name}.png")
    (root / "frame.json").write_text(json.dumps({"schema": "frame/1", "labels": {"space": "body28"}}))
    code, said, error = call("data", "check", "folder", "--data-root", root)
    assert code == 0, error
    assert "LABELS IN DOUBT: of the borders of the 3 label maps looked at, 255 (not scored) covers" in said
    for folder in (root / "labels", predictions):
        for name in "abc":
            Image.fromarray(np.where(labels == 255, 1, labels)).save(folder / f"{name}.png")
    ask = ("score", "--task", "seg", "--truth", root, predictions, "--space", "body28", "--n-boot", "0")
    code, said, error = call(*ask, "--out", tmp_path / "run")
    assert code == 0, error
    assert "Note: LABELS IN DOUBT" in said
    assert "mine: LABELS IN DOUBT: of the borders of the 3 label maps looked at, 1 (Apparel) covers" in said
