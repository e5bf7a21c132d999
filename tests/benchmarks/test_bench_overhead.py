"""What the harness costs over a plain script that decodes, crops and forwards the same pictures."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.engine.cell import CellJob, run_cell
from sapiens_bench.engine.events import ignore
from sapiens_bench.engine.threads import Threads
from sapiens_bench.types import Cell, ModelInput, Prepared, Sample, ScoreInfo, Task

N, BATCH = 64, 8


def picture(seed: int) -> bytes:
    """A 640 x 480 JPEG with structure, about as slow to decode as a photograph."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (60, 80, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def crop(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    matrix = np.array([[0.4, 0, 0], [0, 0.4, 0]], np.float32)
    return cv2.warpAffine(image, matrix, (256, 256)).astype(np.float32).transpose(2, 0, 1) / 255


class Data:
    manifest_sha256 = "0"

    def __init__(self) -> None:
        self.bytes = [picture(i) for i in range(N)]
        self.keys = self.groups = [f"p{i}" for i in range(N)]

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Sample:
        boxes = np.array([[0, 0, 640, 480]], np.float32)
        given = ModelInput(self.keys[index], decode(self.bytes[index]), boxes, np.ones(1, np.float32))
        return Sample(index, self.keys[index], self.groups[index], given, 0.0)


class Net:
    """About the arithmetic of MoveNet Thunder: 2 GFLOP a crop, depthwise and pointwise convolutions."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        layers: list[Any] = [nn.Conv2d(3, 64, 3, stride=4, padding=1)]
        for _ in range(24):
            layers += [nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 64, 1), nn.ReLU6()]
        self.net = nn.Sequential(*layers, nn.Conv2d(64, 17, 1)).eval()

    def prepare(self, x: ModelInput) -> Prepared:
        return Prepared({"x": crop(x.image_HW3)[None]}, None)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"heatmap": self.net(tensors["x"])}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> NDArray[np.int64]:
        return outputs["heatmap"][0].reshape(17, -1).argmax(axis=1)


class Peaks:
    name, version = "peaks", 1
    scores = {"n": ScoreInfo("n", "", True, 0, 1, 0, "this file")}

    def measure(self, target: Any, prediction: Any) -> dict[str, Any]:
        return {"n": len(prediction), "sum": float(prediction.sum()), "all": prediction}

    def aggregate(self, rows: Any) -> Any:
        return lambda weights: {"n": float(rows.num_rows)}


TASK = Task("bench", (Peaks(),), "peaks/n", lambda p, x, t: (p, None), lambda t: np.zeros(17, int), lambda t: t)


def plain_script(data: Data, net: Net) -> list[NDArray[np.int64]]:
    import torch

    found = []
    for start in range(0, N, BATCH):
        crops = [crop(decode(data.bytes[i])) for i in range(start, start + BATCH)]
        with torch.inference_mode():
            heatmaps = net.net(torch.from_numpy(np.stack(crops))).numpy()
        found += [heatmap.reshape(17, -1).argmax(axis=1) for heatmap in heatmaps]
    return found


def harness(data: Data, net: Net, out: Path) -> None:
    cell = Cell("bench", "d", "p", "m", N, 32, "f")
    job = CellJob(cell, out, BATCH, Threads(1, 1, 1, 1), "cpu", save_preds=False)
    missing, _ = job.missing_shards(data, TASK)
    run_cell(job, data, net, TASK, ignore, missing)


@pytest.fixture(scope="module")
def bench() -> SimpleNamespace:
    import torch

    torch.set_num_threads(1)
    return SimpleNamespace(data=Data(), net=Net())


def test_bench_plain_script(benchmark: Any, bench: SimpleNamespace) -> None:
    benchmark.pedantic(plain_script, args=(bench.data, bench.net), rounds=3, warmup_rounds=1)


def test_bench_harness(benchmark: Any, bench: SimpleNamespace, tmp_path: Path) -> None:
    """``extra_info`` has the harness's time over the script's, rounds interleaved; at most 1.03 is wanted."""
    outs = iter(tmp_path / str(i) for i in range(100))
    ratios = []
    for _ in range(3):
        began = time.perf_counter()
        plain_script(bench.data, bench.net)
        middle = time.perf_counter()
        harness(bench.data, bench.net, next(outs))
        ratios.append((time.perf_counter() - middle) / (middle - began))
    benchmark.extra_info["harness_over_script"] = sorted(ratios)
    benchmark.pedantic(lambda: harness(bench.data, bench.net, next(outs)), rounds=3)
