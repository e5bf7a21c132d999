"""Sapiens v1 through the whole loop: tiny random networks of the official structure on every kind of dense data."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sapiens_bench.api import evaluate
from sapiens_bench.store.record import RunRecord


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def cards(folder: Path, shared: Path, task: str) -> Path:
    sizes = json.loads((shared / "golden/sapiens-v1/models/config.json").read_text())["config"]
    card = {
        "schema": "model/1", "id": f"tiny-{task}", "title": "Tiny", "task": task, "wrapper": "sapiens_v1",
        "licence": {"name": "Apache-2.0"}, "trained_on": "nothing",
        "input": {"height": sizes["H"], "width": sizes["W"]},
        **({"space": "body28"} if task == "seg" else {}),
        "variants": [{
            "id": f"tiny-{task}", "title": "Tiny", "options": {"heads": sizes["heads"]},
            "weights": {
                "file": f"{task}.safetensors", "format": "safetensors", "sha256": None, "get": {"how": "fixture"},
            },
        }],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / f"{task}.yaml").write_text(json.dumps(card))  # JSON is YAML
    return folder


def go(tmp_path: Path, shared: Path, task: str, data_root: Path, **more: object) -> RunRecord:
    return evaluate(
        task=task, models=(f"tiny-{task}", f"oracle-{task}"), data_root=data_root, out=tmp_path / "out",
        cards=(cards(tmp_path / "cards", shared, task),), weights_root=shared / "golden/sapiens-v1/models",
        device="cpu", n_boot=0, workers=1, **more,
    )  # fmt: skip


@pytest.mark.parametrize("task", ["seg", "depth", "normal"])
def test_each_head_scores_a_folder_and_the_oracle_is_perfect(
    sphere: ModuleType, shared: Path, tmp_path: Path, task: str
) -> None:
    balls = {"a": sphere.perspective(), "b": sphere.perspective(height=90, width=70)}  # two sizes in one batch
    root = sphere.write_folder(tmp_path / "data", balls)
    tiny, oracle = go(tmp_path, shared, task, root, datasets=("folder",), save_maps=True).cells
    if tiny.model.startswith("oracle"):
        tiny, oracle = oracle, tiny
    assert (tiny.status, tiny.counts.ok, oracle.counts.ok) == ("done", 2, 2)
    best = {"seg": ("seg/miou", 1.0), "depth": ("depth/rmse", 0.0), "normal": ("normal/mean_deg", 0.0)}[task]
    assert oracle.scores[best[0]].value == pytest.approx(best[1], abs=1e-4)
    value = tiny.scores[best[0]].value
    assert value < 0.9 if task == "seg" else value > 0.01
    assert len(list(tmp_path.glob(f"out/maps/{task}/**/*.png"))) == 4


@pytest.mark.parametrize("protocol", ["official-body28", "person"])
def test_a_28_class_head_scores_cihp_through_the_official_map(shared: Path, tmp_path: Path, protocol: str) -> None:
    record = go(tmp_path, shared, "seg", shared / "data/cihp", datasets=("cihp",), protocol=protocol)
    tiny = next(c for c in record.cells if c.model == "tiny-seg")
    oracle = next(c for c in record.cells if c.model == "oracle-seg")
    assert (tiny.counts.ok, oracle.counts.ok) == (5, 5)
    assert oracle.scores["seg/miou"].value == 1
    n_classes = sum(name.startswith("seg/iou/") for name in tiny.scores)
    assert n_classes == {"official-body28": 7, "person": 2}[protocol]
    assert 0 <= tiny.scores["seg/miou"].value < 0.5
    assert "never beside" in tiny.caveat


def test_a_28_class_head_has_no_word_for_20_labels(shared: Path, tmp_path: Path) -> None:
    record = go(tmp_path, shared, "seg", shared / "data/cihp", datasets=("cihp",), protocol="lip20")
    status = {c.model: (c.status, c.how) for c in record.cells}
    assert status["oracle-seg"][0] == "done"
    assert status["tiny-seg"][0] == "refused"
    assert "body28" in status["tiny-seg"][1]
    assert "--protocol official-body28" in status["tiny-seg"][1]
