"""A toy task, data set and model that behave badly on request. The score is the mean error of the grey value.

``python -m sapiens_bench.testing.toy OUT JSON`` runs it in a process of its own and prints a line per shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import Options
from sapiens_bench.engine.events import ShardDone, ignore
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.errors import SampleFault, SapiensBenchError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.store.record import RunRecord
from sapiens_bench.tasks import TASKS
from sapiens_bench.types import ModelInput, Prepared, Sample, ScoreInfo, Task, TaskKind

CARDS = Path(__file__).parent / "toy_cards"


class MeanError:
    """Mean absolute error; a miss costs 1."""

    name = "grey"
    version = 1
    scores: Mapping[str, ScoreInfo] = {"mae": ScoreInfo("MAE", "", False, 0.0, 1.0, 4, "this file", headline=True)}

    def measure(self, target: Any, prediction: Any) -> dict[str, Any]:
        if prediction == 1234.0:
            raise ZeroDivisionError("the metric stumbled")
        error = 1.0 if prediction is None else abs(prediction - target)
        return {"n": 1, "sum": error, "parts": np.array([error, target])}

    def aggregate(self, rows: Any) -> Any:
        n_N = rows["grey/n"].to_numpy().astype(np.int64)
        sum_N = rows["grey/sum"].to_numpy()

        def scores(weights: Any) -> dict[str, float]:
            w = np.ones_like(n_N) if weights is None else weights
            n = int((n_N * w).sum())
            return {"mae": float((sum_N * w).sum()) / n if n else float("nan")}

        return scores


class ToyScoring(Options):
    """No keys."""


def make(scoring: ToyScoring, space: Any) -> Task:
    """The toy task."""

    def check(prediction: Any, x: ModelInput, target: float) -> tuple[Any, SampleFault | None]:
        if np.shape(prediction) != ():
            return None, SampleFault("pred.shape", f"shape {np.shape(prediction)}", side="prediction")
        if not np.isfinite(prediction):
            return None, SampleFault("pred.nonfinite", "not finite", side="prediction")
        return float(prediction), None

    return Task(
        kind=TOY,
        metrics=(MeanError(),),
        headline="grey/mae",
        check=check,
        miss=lambda target: None,
        perfect=lambda target: target,
        to_columns=lambda prediction: {"value": np.array([[np.nan if prediction is None else prediction]], np.float64)},
        from_columns=lambda columns: float(columns["value"][0, 0]),
    )


TOY = TaskKind("toy", "Toy", "the mean grey of a picture (MAE)", ToyScoring, make)


class ToyDataOptions(Options):
    """Of the toy data set; lists hold sample indices."""

    n: int = 10
    size: int = 8
    delay_s: float = 0.0
    input_faults: tuple[int, ...] = ()
    exceptions: tuple[int, ...] = ()
    kill_at: tuple[int, ...] = ()
    """Reading these ends the process."""


class ToyAdapter:
    """``n`` flat pictures."""

    Options = ToyDataOptions

    def __init__(self, context: DataContext) -> None:
        self.options: ToyDataOptions = context.options
        self.keys = [f"toy/{i:05d}" for i in range(self.options.n)]
        self.groups = [f"group{i // 2}" for i in range(self.options.n)]
        self.manifest_sha256 = hashlib.sha256(repr(self.keys).encode()).hexdigest()
        self.alive, self.most_alive, self.lock = 0, 0, threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if self.options.delay_s:
            time.sleep(self.options.delay_s)
        if index in self.options.input_faults:
            raise SampleFault("image.truncated", f"picture {index} \x1b[31m is cut")
        if index in self.options.exceptions:
            raise RuntimeError("label reader failed")
        if index in self.options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        size = self.options.size
        image = np.full((size, size, 3), (index * 37) % 256, np.uint8)
        n_boxes = index % 3  # nobody, one, two
        boxes = np.tile(np.array([[0, 0, size, size]], np.float32), (n_boxes, 1))
        given = ModelInput(self.keys[index], image, boxes, np.ones(n_boxes, np.float32))
        return Sample(index, self.keys[index], self.groups[index], given, float(image[0, 0, 0]) / 255)


class ToyModelOptions(Options):
    """Of the toy model; lists hold sample indices."""

    bias: float = 0.0
    fail_at_build: bool = False
    prepare_faults: tuple[int, ...] = ()
    forward_faults: tuple[int, ...] = ()
    finish_faults: tuple[int, ...] = ()
    say: dict[str, float | str] = {}
    """Sample index -> what is predicted for it: a number, "nan", or "array"."""
    kill_at: tuple[int, ...] = ()
    kill_while: str = ""
    """Kills only while this file is there."""
    most_crops: int = 10**9
    """More in one batch run out of memory."""
    forward_s: float = 0.0


class ToyModel:
    """Mean grey per box; rounded to bf16 where that is the precision."""

    Options = ToyModelOptions
    on_host = ("index",)

    def __init__(self, context: ModelContext) -> None:
        assert context.targets is None
        assert context.task is None
        self.options: ToyModelOptions = context.options
        self.precision = context.precision
        if self.options.fail_at_build:
            raise RuntimeError("no such layer")
        self.batches: list[int] = []

    def prepare(self, x: ModelInput) -> Prepared:
        index = int(x.key[-5:])
        if index in self.options.prepare_faults:
            raise SampleFault("image.truncated", "a model blames the picture")  # side input, which it may not
        crops = np.stack([x.image_HW3] * len(x.boxes_xyxy_px)) if len(x.boxes_xyxy_px) else np.zeros((0, 8, 8, 3))
        tensors = {"crop": crops.astype(np.float32), "index": np.full(len(crops), index)}
        return Prepared(tensors, SimpleNamespace(index=index, grey=float(x.image_HW3[0, 0, 0]) / 255))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        indices = tensors["index"].tolist()
        self.batches.append(len(indices))
        if set(indices) & set(self.options.forward_faults):
            raise ValueError("a kernel failed")
        deadly = not self.options.kill_while or os.path.exists(self.options.kill_while)
        if deadly and set(indices) & set(self.options.kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        if len(indices) > self.options.most_crops:
            import torch

            raise torch.OutOfMemoryError("pretended")
        time.sleep(self.options.forward_s)
        grey = tensors["crop"].mean(dim=(1, 2, 3)) / 255
        return {"grey": grey.bfloat16() if self.precision == "bf16" else grey}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        index = geometry.index
        if index in self.options.finish_faults:
            raise KeyError("heatmap")
        if str(index) in self.options.say:
            said = self.options.say[str(index)]
            return np.zeros(3) if said == "array" else float(said)
        value = float(outputs["grey"].mean()) if outputs else geometry.grey
        return value + self.options.bias


@contextmanager
def installed() -> Iterator[None]:
    """The toy task is one of the tasks; afterwards it is not."""
    TASKS["toy"] = "sapiens_bench.testing.toy:TOY"
    try:
        yield
    finally:
        TASKS.pop("toy", None)


@cache
def _loaded() -> Catalog:
    return Catalog.load([CARDS])


def toy_catalog(**data: Any) -> Catalog:
    """A catalog whose toy data set has these adapter options."""
    base = _loaded()
    card = base.datasets["toy"]
    protocol = card.protocols["plain"]
    protocol = protocol.model_copy(update={"options": {**protocol.options, **data}})
    return replace(base, datasets={"toy": card.model_copy(update={"protocols": {"plain": protocol}})})


def plan(out: Path, data: Mapping[str, Any] | None = None, **fields: Any) -> Plan:
    """A plan for the toy."""
    defaults: dict[str, Any] = {"task": "toy", "models": ("toy-plain",), "datasets": ("toy",), "device": "cpu"}
    defaults |= {"n_boot": 20, "workers": 2, "shard_size": 5, "max_errors": 1.0, "out": out}
    return resolve(Request(**{**defaults, **fields}), toy_catalog(**(data or {})))


def go(out: Path, data: Mapping[str, Any] | None = None, on_event: Any = ignore, **fields: Any) -> RunRecord:
    """Run the toy."""
    return run(plan(out, data, **fields), on_event)


def main() -> int:
    """See the top of this file."""
    given = json.loads(sys.argv[2])

    def watch(event: object) -> None:
        if isinstance(event, ShardDone):
            sys.stdout.write(f"shard {event.number}\n")
            sys.stdout.flush()

    try:
        with installed():
            go(Path(sys.argv[1]), given.pop("data", {}), on_event=watch, **given)
    except SapiensBenchError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
