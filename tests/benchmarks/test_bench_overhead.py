"""What the harness costs over a plain script that decodes, crops and forwards the same pictures, one thread each."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sapiens_bench.api import load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.events import ignore
from sapiens_bench.engine.line import run_cell
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.threads import Threads
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import Adapter, Cell, Model, ModelInput, Prepared, Sample, Task

TOPIC = "What the harness adds"
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


class Data:
    """A person in the middle of every picture."""

    manifest_sha256 = "0"

    def __init__(self, n: int) -> None:
        self.bytes = [picture(i) for i in range(n)]
        self.points = [np.random.default_rng(i).uniform(100, 400, (1, 17, 2)) for i in range(n)]  # of the annotations
        self.keys = self.groups = [f"p{i}" for i in range(n)]

    def __len__(self) -> int:
        return len(self.keys)

    def given(self, index: int) -> ModelInput:
        box = np.array([[160, 40, 480, 440]], np.float32)
        return ModelInput(self.keys[index], decode(self.bytes[index]), box, np.ones(1, np.float32))

    def __getitem__(self, index: int) -> Sample:
        box, is_crowd = np.array([[160.0, 40, 480, 440]]), np.zeros(1, bool)
        target = PoseTarget(
            self.points[index], np.full((1, 17), 2.0), np.full(1, 6e4), is_crowd, box, np.ones(1, np.int64)
        )
        return Sample(index, self.keys[index], self.groups[index], self.given(index), target)


class Slow:
    """Some 50 ms an image, crop by crop, so that the size of a batch does not matter."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers: list[Any] = [nn.Conv2d(3, 64, 3, stride=4, padding=1)]
        for _ in range(24):
            layers += [nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 64, 1), nn.ReLU6()]
        self.net = nn.Sequential(*layers, nn.Conv2d(64, 17, 1)).eval()

    def prepare(self, x: ModelInput) -> Prepared:
        matrix = np.array([[0.4, 0, 0], [0, 0.4, 0]], np.float32)
        crop = cv2.warpAffine(x.image_HW3, matrix, (256, 256)).astype(np.float32).transpose(2, 0, 1) / 255
        return Prepared({"x": crop[None]}, x.boxes_xyxy_px)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"heatmap": torch.cat([self.net(crop[None]) for crop in tensors["x"]])}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> PosePrediction:
        best = outputs["heatmap"].reshape(1, 17, -1).argmax(axis=2)
        points = np.stack([best % 64, best // 64], axis=2).astype(np.float32) * 10
        return PosePrediction(points, np.ones((1, 17), np.float32), np.ones(1, np.float32), geometry)


def script(data: Data, model: Any) -> None:
    """What one would write without a harness, batches included."""
    for start in range(0, len(data), BATCH):
        ready = [model.prepare(data.given(i)) for i in range(start, start + BATCH)]
        with torch.inference_mode():
            tensors = {
                name: torch.from_numpy(np.concatenate([one.tensors[name] for one in ready]))
                for name in ready[0].tensors
            }
            found = {name: tensor.numpy() for name, tensor in model.forward(tensors).items()}
        for i, one in enumerate(ready):
            model.finish({name: array[i : i + 1] for name, array in found.items()}, one.geometry)


def harness(data: Adapter, model: Model, task: Task, out: Path) -> None:
    cell = Cell(task.name, "d", "p", "m", len(data), 64, "f")
    job = CellJob(cell, out, BATCH, Threads(1, 1, 1, 1), "cpu", save_preds=True)
    missing, _ = job.missing_shards(data, task)
    run_cell(job, data, model, task, ignore, missing)


def pose_task() -> Task:
    catalog = Catalog.load()
    protocol = catalog.dataset("synthetic-humans").protocols["gt-box"]
    return task_for(protocol, catalog.space("coco17"))


def record(page: Any, figures: Any, what: str, model: Any, tmp_path: Path, n: int, at_most: float, rounds: int) -> None:
    """A whole shard, for a commit is paid once for each."""
    data, task = Data(n), pose_task()
    outs = iter(tmp_path / str(i) for i in range(100))

    def cost(function: Callable[[], None]) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        function()
        return (time.process_time() - cpu) / n * 1000, (time.perf_counter() - wall) / n * 1000

    page.call(lambda: (script(data, model), harness(data, model, task, next(outs))))
    slow, fast = [], []
    for _ in range(rounds):
        fast.append(cost(lambda: script(data, model)))
        slow.append(cost(lambda: harness(data, model, task, next(outs))))
    each = figures([s / f for (s, _), (f, _) in zip(slow, fast, strict=True)])
    (fast_cpu, fast_wall), (slow_cpu, slow_wall) = (map(min, zip(*times, strict=True)) for times in (fast, slow))
    beside = (
        f"script {fast_cpu:.3g} CPU ms and {fast_wall:.3g} ms of wall clock an image, harness {slow_cpu:.3g} and "
        f"{slow_wall:.3g}, predictions kept"
    )
    found = each._replace(value=slow_cpu / fast_cpu)
    why = (
        "checks, the metric and a commit take some 0.4 ms an image; the rest is the price of decoding beside the "
        "network, which ends sooner at more CPU seconds, for both want the caches"
    )
    page.add(TOPIC, f"{what}: harness over script", found, "x", at_most=at_most, beside=beside, if_missed=why)


def test_overhead_over_a_script_with_a_slow_network(page: Any, figures: Any, tmp_path: Path) -> None:
    record(page, figures, "a network of some 20 ms", Slow(), tmp_path, N, 1.01, rounds=3)


def test_overhead_over_a_script_with_movenet_lightning(page: Any, figures: Any, tmp_path: Path) -> None:
    record(page, figures, "MoveNet Lightning", load_model("movenet-lightning"), tmp_path, N, 1.05, rounds=5)


class Repeated:
    """The samples of a small set, over and over."""

    def __init__(self, adapter: Adapter, n: int) -> None:
        self._adapter = adapter
        self.keys = self.groups = [f"{i:05d}" for i in range(n)]
        self.manifest_sha256 = adapter.manifest_sha256

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        found = self._adapter[index % len(self._adapter)]
        return Sample(index, self.keys[index], self.groups[index], found.input, found.target)


def test_dense_images_a_second_with_a_free_network(page: Any, tmp_path: Path) -> None:
    """Floors answer at once, so that what is left is decoding, checking, measuring and committing."""
    outs = iter(tmp_path / str(i) for i in range(100))
    floors = {"depth": "floor-median-depth", "normal": "floor-flat-normal", "seg": "floor-background"}
    for task, floor in floors.items():
        request = Request(task=task, models=(floor,), datasets=("synthetic-humans",), split="tiny", limit=3)
        plan = resolve(request, Catalog.load())
        data = plan.data[0].open
        data.adapter.materialise(range(3), 1, lambda done, total: None)
        model = build_model(plan.cells[0].model, "cpu", task=data.task)
        images = Repeated(data.adapter, 64)
        page.call(lambda t=data.task, a=images, m=model: harness(a, m, t, next(outs)))  # type: ignore[misc]
        times = []
        for _ in range(3):
            start = time.process_time()
            harness(images, model, data.task, next(outs))
            times.append((time.process_time() - start) / len(images))
        what = f"{task}, 512 x 384, free network: images a second on two cores"
        page.add(TOPIC, what, 2 / min(times), "/s", at_least=60, beside=f"{min(times) * 1000:.3g} CPU ms an image")
