"""CUDA against the CPU, and batches in flight against one at a time; skipped where there is no such device.

Tolerances: a network's own rounding on the two devices, about 1e-6 of its numbers in fp32. A label flips where two
classes are that close; a keypoint of a flat map jumps.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_bench.api import evaluate, load_model
from sapiens_bench.engine.device import use_full_fp32
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import Loaded
from sapiens_bench.errors import SampleFault
from sapiens_bench.models.parts.heatmaps import peaks, refine
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.testing import random_sapiens
from sapiens_bench.types import ModelInput

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
POSES = ("movenet-thunder", "movenet-lightning", "blazepose-full")


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and cards of tiny Sapiens networks."""
    folder = tmp_path_factory.mktemp("random")
    random_sapiens.write(folder)
    return folder


@pytest.fixture(autouse=True)
def _same_numbers_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    use_full_fp32("cuda")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def images(model: Any, sizes_hw: list[tuple[int, int]]) -> list[Loaded]:
    """Smooth pictures, one box each, prepared by the model."""
    found = []
    for i, (height, width) in enumerate(sizes_hw):
        coarse = np.random.default_rng(i).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        image = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))
        box = np.array([[0, 0, width, height]], np.float32)
        x = ModelInput(f"k{i}", image, box, np.ones(1, np.float32))
        found.append(Loaded(i, f"k{i}", "g", prepared=model.prepare(x)))
    return found


SIZES = [(96, 64), (128, 160), (64, 64), (200, 96), (96, 64), (104, 88), (160, 120)]


def finished(model: Any, device: str, depth: int) -> list[Any]:
    """Predictions of all pictures, in batches of two."""
    items = images(model, SIZES)
    forward = Forward(model, device, 2, depth=depth)
    done = [each for i in range(0, len(items), 2) for each in forward.push(items[i : i + 2])]
    done += forward.flush()
    outputs = {item.index: found for each in done for item, found in each}
    assert not any(isinstance(found, SampleFault) for found in outputs.values()), outputs
    return [model.finish(outputs[item.index], item.prepared.geometry) for item in items if item.prepared]


def three_ways(name: str, **where: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """On the CPU; on the GPU one batch at a time; with a batch in flight."""
    on_gpu = load_model(name, device="cuda", **where)
    return finished(load_model(name, **where), "cpu", 0), finished(on_gpu, "cuda", 0), finished(on_gpu, "cuda", 1)


def values(random: Path, task: str, field: str) -> tuple[np.ndarray, ...]:
    """One field of all predictions of a tiny Sapiens network, pixel after pixel, three ways."""
    name, cards, weights = f"random-tiny-{task}", [random / "cards"], random / "weights"
    all_ways = three_ways(name, cards=cards, weights_root=weights)
    arrays = [[getattr(prediction, field) for prediction in found] for found in all_ways]
    channels = (3,) if task == "normal" else ()
    return tuple(np.concatenate([array.reshape(-1, *channels) for array in found]) for found in arrays)


def test_labels_of_a_batch_in_flight_are_those_of_the_cpu(random: Path) -> None:
    cpu, alone, ahead = values(random, "seg", "labels_HW")
    np.testing.assert_array_equal(alone, ahead)
    assert np.mean(cpu == ahead) > 0.999


def test_depth_of_a_batch_in_flight_is_that_of_the_cpu(random: Path) -> None:
    cpu, alone, ahead = values(random, "depth", "depth_HW")
    np.testing.assert_array_equal(alone, ahead)
    assert np.abs(cpu - ahead).max() < 1e-3 * np.ptp(cpu)


def test_normals_of_a_batch_in_flight_are_those_of_the_cpu(random: Path) -> None:
    cpu, alone, ahead = values(random, "normal", "normals_HW3")
    np.testing.assert_array_equal(alone, ahead)
    away = np.linalg.norm(cpu.astype(np.float64) - ahead, axis=1)
    assert np.quantile(away, 0.999) < 1e-3  # about 0.06 degrees; a vector near zero may turn


def test_scores_of_308_points_in_flight_are_those_of_the_cpu(random: Path) -> None:
    cpu, alone, ahead = values(random, "pose", "keypoint_scores_NK")
    np.testing.assert_array_equal(alone, ahead)
    np.testing.assert_allclose(cpu, ahead, atol=1e-3 * np.abs(cpu).max())


@pytest.mark.parametrize("name", ["movenet-lightning", "selfie-segmentation"])
def test_shipped_networks_give_in_flight_what_they_give_one_at_a_time(name: str) -> None:
    _, alone, ahead = three_ways(name)
    for one, other in zip(alone, ahead, strict=True):
        for field in ("keypoints_NK2_px", "labels_HW"):
            if hasattr(one, field):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("modulate", ["mmpose1", "vitpose"])
def test_sharp_peaks_lie_on_the_gpu_where_the_reference_finds_them(modulate: Any) -> None:
    rng = np.random.default_rng(0)
    at = rng.uniform(1, [46, 62], (200, 2))
    y, x = np.mgrid[:64, :48]
    maps = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 8)
    maps = torch.from_numpy((maps * rng.uniform(0.1, 1, (200, 1, 1))).astype(np.float32)).view(10, 20, 64, 48)
    located = []
    for device in ("cpu", "cuda"):
        found = peaks(maps.to(device), 11, modulate)
        xy, score, patch = (t.cpu().numpy() for t in (found.xy_BK2, found.score_BK, found.log_patch_BK33))
        located.append(refine(xy.reshape(-1, 2), score.reshape(-1), patch.reshape(-1, 3, 3)))
    np.testing.assert_allclose(located[0], located[1], atol=2e-3)  # px of the map


def keypoints(out: Path, model: str) -> dict[str, np.ndarray]:
    folder = out / "preds/pose/synthetic-humans/gt-box" / model
    return {key: np.asarray(columns["keypoints"]).reshape(-1, 2) for key, columns in read_predictions(folder)}


def test_cuda_finds_the_points_that_the_cpu_finds(tmp_path: Path) -> None:
    records = {
        device: evaluate(task="pose", models=POSES, split="tiny", out=tmp_path / device, device=device, n_boot=0)
        for device in ("cpu", "cuda")
    }
    for first, second in zip(records["cpu"].cells, records["cuda"].cells, strict=True):
        assert second.scores["oks/AP"].value == pytest.approx(first.scores["oks/AP"].value, abs=0.02)
        ours, theirs = (keypoints(tmp_path / device, first.model) for device in ("cpu", "cuda"))
        away = np.concatenate([np.linalg.norm(ours[key] - theirs[key], axis=-1) for key in ours])
        assert np.median(away) < 0.01  # px; a few points sit on ties and may jump
        assert np.mean(away < 0.5) > 0.98


def test_the_record_tells_how_idle_the_device_was(toy: ModuleType, tmp_path: Path) -> None:
    timing = toy.go(tmp_path, {"n": 20}, device="cuda", batch_size=2).cells[0].timing
    assert timing.device_busy_s > 0
    assert 0 <= timing.device_idle < 1


@pytest.mark.filterwarnings("ignore")  # a compiler has much to say
def test_compiled_and_channels_last_networks_find_the_same(random: Path, tmp_path: Path) -> None:
    where: dict[str, Any] = {
        "cards": [random / "cards"],
        "weights_root": random / "weights",
        "device": "cuda",
        "n_boot": 0,
    }
    names = ("random-tiny-depth", "random-tiny-depth@compile", "random-tiny-depth@channels_last")
    plain, *formed = evaluate(task="depth", models=names, split="tiny", out=tmp_path / "run", **where).cells
    assert [cell.model for cell in formed] == list(names[1:])
    for cell in formed:
        assert cell.counts == plain.counts
        assert cell.scores["depth/rmse"].value == pytest.approx(plain.scores["depth/rmse"].value, rel=1e-3)


def test_too_large_a_batch_is_halved_and_the_rows_are_the_same(tmp_path: Path) -> None:
    small, large = (
        evaluate(
            task="pose", models=("movenet-lightning",), split="tiny", out=tmp_path / str(size), device="cuda", n_boot=0,
            batch_size=size,
        )
        for size in (1, 64)
    )  # fmt: skip
    assert small.cells[0].scores["oks/AP"].value == pytest.approx(large.cells[0].scores["oks/AP"].value, abs=0.02)
