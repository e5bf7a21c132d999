"""The embedded people under the dense tasks: the oracle is perfect, floors lie where they should, frames agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sapiens_bench.adapters.surface import normals_from_depth, sign_angles
from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.request import Request


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("task", "protocol", "score", "best"),
    [
        ("seg", None, "seg/miou", 1),
        ("seg", "person", "seg/miou", 1),
        ("depth", None, "depth/rmse", 0),
        ("normal", None, "normal/mean_deg", 0),
    ],
)
def test_all_models_of_a_task_run_on_the_embedded_people(
    tmp_path: Path, task: str, protocol: str | None, score: str, best: float
) -> None:
    record = evaluate(
        task=task, models=("all", f"oracle-{task}"), datasets=("synthetic-humans",), protocol=protocol, split="tiny",
        limit=2, out=tmp_path, device="cpu", n_boot=0, workers=1,
    )  # fmt: skip
    done = {c.model: c.scores[score].value for c in record.cells if c.status == "done"}
    assert done[f"oracle-{task}"] == pytest.approx(best, abs=1e-4)
    floors = {c.model: done[c.model] for c in record.cells if c.kind == "floor"}
    assert floors
    assert all(c.counts.ok == 2 for c in record.cells if c.status == "done")
    if task == "normal":
        assert 25 < floors["floor-flat-normal"] < 50
        assert floors["floor-silhouette-normal"] < floors["floor-flat-normal"]
    if protocol == "person":
        assert done["selfie-segmentation"] > 0.9 > floors["floor-background"]


def test_depth_and_normals_of_the_embedded_people_are_in_our_frame() -> None:
    catalog = Catalog.load()
    card = catalog.dataset("synthetic-humans")
    samples = {
        task: open_named(card, task, Request(task=task, split="tiny").data(), catalog).open.adapter[0]
        for task in ("depth", "normal")
    }
    depth, normal = samples["depth"].target, samples["normal"].target
    K = samples["depth"].input.intrinsics
    assert K is not None
    mask = depth.mask_HW & normal.mask_HW
    angles = sign_angles(normal.normals_HW3, normals_from_depth(np.where(mask, depth.depth_HW, np.nan), K), mask)
    assert angles[1, 1, 1] < 4
    assert min(angle for sign, angle in angles.items() if sign != (1, 1, 1)) > 20
