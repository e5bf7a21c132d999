"""`verify golden` on the dense baselines, and on fixtures that were tampered with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.check import Check
from sapiens_bench.checks.golden.verify import COMPANIONS, handler, verify

ITEMS = {
    "depth_anything_io": 3, "segformer_io": 3, "mask2former_io": 4, "sapiens2_tiny_io": 9, "sapiens2_processor": 5,
    "pifuhd_netF_tiny_io": 1, "dense_export_io": 15,
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


def run(path: Path, catalog: Catalog) -> list[Check]:
    checks = handler(path, catalog, None)
    assert checks is not None
    return list(checks())


@pytest.mark.parametrize("name", list(ITEMS))
def test_every_item_of_a_dense_baseline_passes(shared: Path, catalog: Catalog, name: str) -> None:
    checks = run(shared / "golden" / "baselines" / f"{name}.npz", catalog)
    assert [(c.item, c.difference, c.note) for c in checks if c.failed] == []
    assert len(checks) == ITEMS[name]


def test_no_file_of_the_baselines_is_unknown(shared: Path, catalog: Catalog) -> None:
    files = [p for p in (shared / "golden" / "baselines").rglob("*") if p.is_file()]
    assert len(files) > 40
    assert [p.name for p in files if handler(p, catalog, None) is None and not COMPANIONS.match(p.name)] == []


@pytest.mark.parametrize(
    ("name", "array", "item"),
    [
        ("depth_anything_io", "predicted_depth", "predicted_depth"),
        ("mask2former_io", "mask_logits", "mask_logits"),
        ("pifuhd_netF_tiny_io", "output", "output"),
        ("sapiens2_tiny_io", "normal", "normal"),
    ],
)
def test_a_changed_number_fails_its_own_item(
    shared: Path, catalog: Catalog, tmp_path: Path, name: str, array: str, item: str
) -> None:
    folder = tmp_path / "baselines"
    shutil.copytree(shared / "golden" / "baselines", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    with np.load(folder / f"{name}.npz") as stored:
        arrays = {n: stored[n] for n in stored.files}
    arrays[array] = arrays[array].copy()
    arrays[array].flat[0] += 1e-3
    np.savez(folder / f"{name}.npz", **arrays)
    bad = {c.item for c in run(folder / f"{name}.npz", catalog) if not c.passed}
    assert f"{name}/{item}" in bad


def test_a_fixture_whose_weights_are_gone_is_reported(shared: Path, catalog: Catalog, tmp_path: Path) -> None:
    for name in ("pifuhd_netF_tiny_io.npz", "image.png"):
        shutil.copyfile(shared / "golden" / "baselines" / name, tmp_path / name)
    (check,) = verify(tmp_path, catalog)
    assert not check.passed
    assert "CheckpointRejected" in check.note
