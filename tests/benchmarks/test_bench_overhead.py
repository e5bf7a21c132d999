"""What the harness costs over a plain script that decodes, crops and forwards the same pictures, one thread each."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sapiens_bench.api import load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.cell import CellJob, Scored
from sapiens_bench.engine.events import ignore
from sapiens_bench.engine.line import run_cell
from sapiens_bench.engine.measure import measure_all
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.threads import Threads, keep_freed_memory
from sapiens_bench.store.rows import nth_shard
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
    """A network of about so many CPU ms a crop on this machine, crop by crop: the size of a batch does not matter."""

    def __init__(self, wanted_ms: float) -> None:
        torch.manual_seed(0)
        first, last = nn.Conv2d(3, 64, 3, stride=4, padding=1), nn.Conv2d(64, 17, 1)
        block: list[nn.Module] = []
        for _ in range(8):
            block += [nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 64, 1), nn.ReLU6()]
        crop, n_blocks, self.cpu_ms = torch.rand(1, 3, 256, 256), 8, 0.0
        for _ in range(6):  # what else runs slows single tries down, so that one measurement is not enough
            self.net = nn.Sequential(first, *block * n_blocks, last).eval()
            with torch.inference_mode():
                self.cpu_ms = min(cpu_ms(lambda: self.net(crop)) for _ in range(15))
            if abs(self.cpu_ms / wanted_ms - 1) < 0.05:
                break
            n_blocks = max(1, round(n_blocks * wanted_ms / self.cpu_ms))

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


def cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return (time.process_time() - start) * 1000


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


class Costs(NamedTuple):
    """CPU and wall milliseconds an image."""

    cpu: float
    wall: float


def cost(function: Callable[[], object], n: int) -> Costs:
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return Costs((time.process_time() - cpu) / n * 1000, (time.perf_counter() - wall) / n * 1000)


def record(page: Any, figures: Any, what: str, model: Any, tmp_path: Path, at_most: float, rounds: int) -> None:
    """A whole shard, for a commit is paid once for each. One core: CPU seconds and wall clock are then the same."""
    keep_freed_memory()  # as a run does; the script has the good of it, too
    data, task = Data(N), pose_task()
    outs = iter(tmp_path / str(i) for i in range(100))
    page.call(lambda: (script(data, model), harness(data, model, task, next(outs))))
    slow, fast = [], []
    for _ in range(rounds):
        fast.append(cost(lambda: script(data, model), N))
        slow.append(cost(lambda: harness(data, model, task, next(outs)), N))
    each = figures([s.cpu / f.cpu for s, f in zip(slow, fast, strict=True)])
    best = {name: Costs(*map(min, zip(*times, strict=True))) for name, times in (("script", fast), ("harness", slow))}
    told = f"the network alone {model.cpu_ms:.3g} CPU ms a crop, " if isinstance(model, Slow) else ""
    beside = told + ", ".join(
        f"{name} {c.cpu:.4g} CPU ms and {c.wall:.4g} ms of wall clock an image" for name, c in best.items()
    )
    found = each._replace(value=best["harness"].cpu / best["script"].cpu)

    def missed() -> str:
        return parts(data, model, task, next(outs), best["harness"].cpu - best["script"].cpu)

    page.add(TOPIC, f"{what}: harness over script, one core", found, "x", at_most=at_most,
             beside=f"{beside}; predictions kept", if_missed=missed)  # fmt: skip


def parts(data: Data, model: Any, task: Task, out: Path, added_ms: float) -> str:
    """What the harness does beyond the script, each by itself."""
    ready = [model.prepare(data.given(i)) for i in range(N)]
    with torch.inference_mode():
        outputs = [model.forward({n: torch.from_numpy(a) for n, a in one.tensors.items()}) for one in ready]
    samples = [data[i] for i in range(N)]
    found = [
        model.finish({name: tensor.numpy() for name, tensor in one.items()}, two.geometry)
        for one, two in zip(outputs, ready, strict=True)
    ]
    cell = Cell(task.name, "d", "p", "m", N, 64, "f")
    job = CellJob(cell, out, BATCH, Threads(1, 1, 1, 1), "cpu", save_preds=True)
    base = {"status": "ok", "error_code": "", "error_detail": "", "error_side": ""}

    def check() -> None:
        for sample, prediction in zip(samples, found, strict=True):
            task.check(prediction, sample.input, sample.target)

    def measure() -> list[dict[str, Any]]:
        return [m.values for m in measure_all(task, [s.target for s in samples], found, [None] * N)]

    rows = [
        {"index": i, "key": data.keys[i], "group": data.groups[i], **base, **row} for i, row in enumerate(measure())
    ]
    assert task.to_columns is not None
    scored = [Scored(row, task.to_columns(p), 0.0, 0.0) for row, p in zip(rows, found, strict=True)]

    def commit() -> None:
        job.commit(nth_shard(0, N, 64), "k", scored)

    known = {
        name: min(cost(function, N).cpu for _ in range(5))
        for name, function in (("checks", check), ("the metric", measure), ("two commits", commit))
    }
    told = ", ".join(f"{name} {ms:.2g}" for name, ms in known.items())
    rest = added_ms - sum(known.values())
    return (
        f"of the {added_ms:.2g} ms that the harness adds an image, {told}; "
        f"the other {rest:.2g} are the loop around them and what one round differs from another"
    )


def test_overhead_over_a_script_with_a_slow_network(page: Any, figures: Any, tmp_path: Path, one_core: None) -> None:
    model = Slow(50)
    record(page, figures, "a network of about 50 CPU ms", model, tmp_path, 1.01, rounds=5)


def test_overhead_over_a_script_with_movenet_lightning(page: Any, figures: Any, tmp_path: Path, one_core: None) -> None:
    record(page, figures, "MoveNet Lightning", load_model("movenet-lightning"), tmp_path, 1.05, rounds=5)


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
