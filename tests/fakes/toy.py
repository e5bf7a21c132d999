"""A toy task, data set and model that behave badly on request. The score is the mean error of the grey value."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from sapiens_bench.errors import SampleFault
from sapiens_bench.types import ModelInput, Prepared, Sample, ScoreInfo, Task


class MeanError:
    """Mean absolute error; a miss costs 1."""

    name = "grey"
    version = 1
    scores = {"mae": ScoreInfo("MAE", "", False, 0.0, 1.0, 4, "this file", headline=True)}

    def measure(self, target: float, prediction: float) -> dict[str, Any]:
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


def make_task(protocol: Any, space: Any) -> Task:
    def check(prediction: Any, x: ModelInput, target: float) -> tuple[Any, SampleFault | None]:
        if np.shape(prediction) != ():
            return None, SampleFault("pred.shape", f"shape {np.shape(prediction)}", side="prediction")
        if not np.isfinite(prediction):
            return None, SampleFault("pred.nonfinite", "not finite", side="prediction")
        return float(prediction), None

    return Task(
        name="normal",
        metrics=(MeanError(),),
        headline="grey/mae",
        check=check,
        miss=lambda target: None,
        perfect=lambda target: target,
        to_columns=lambda prediction: {"value": np.array([[np.nan if prediction is None else prediction]], np.float64)},
        from_columns=lambda columns: float(columns["value"][0, 0]),
    )


class ToyAdapter:
    """``n`` flat pictures; options: size, delay_s, input_faults, exceptions (lists of indices)."""

    def __init__(self, card: Any, protocol: Any, space: Any, root: Any, options: Any) -> None:
        self.options = {"n": 10, "size": 8, "delay_s": 0.0, "input_faults": (), "exceptions": (), **protocol.options}
        self.keys = [f"toy/{i:05d}" for i in range(self.options["n"])]
        self.groups = [f"group{i // 2}" for i in range(self.options["n"])]
        self.manifest_sha256 = hashlib.sha256(repr(self.keys).encode()).hexdigest()
        self.alive, self.most_alive, self.lock = 0, 0, threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if self.options["delay_s"]:
            time.sleep(self.options["delay_s"])
        if index in self.options["input_faults"]:
            raise SampleFault("image.truncated", f"picture {index} \x1b[31m is cut")
        if index in self.options["exceptions"]:
            raise RuntimeError("label reader failed")
        size = self.options["size"]
        image = np.full((size, size, 3), (index * 37) % 256, np.uint8)
        n_boxes = index % 3  # nobody, one, two
        boxes = np.tile(np.array([[0, 0, size, size]], np.float32), (n_boxes, 1))
        given = ModelInput(self.keys[index], image, boxes, np.ones(n_boxes, np.float32))
        return Sample(index, self.keys[index], self.groups[index], given, float(image[0, 0, 0]) / 255)


class ToyModel:
    """Mean grey per box; options: bias, <step>_faults (indices), say (index -> prediction), kill_at, fail_at_build."""

    def __init__(self, context: Any) -> None:
        assert context.targets is None
        assert context.task is None
        self.options = context.options
        if self.options.get("fail_at_build"):
            raise RuntimeError("no such layer")
        self.batches: list[int] = []

    def prepare(self, x: ModelInput) -> Prepared:
        index = int(x.key[-5:])
        if index in self.options.get("prepare_faults", ()):
            raise SampleFault("image.truncated", "a model blames the picture")  # side input, which it may not
        crops = np.stack([x.image_HW3] * len(x.boxes_xyxy_px)) if len(x.boxes_xyxy_px) else np.zeros((0, 8, 8, 3))
        tensors = {"crop": crops.astype(np.float32), "index": np.full(len(crops), index)}
        return Prepared(tensors, SimpleNamespace(index=index, grey=float(x.image_HW3[0, 0, 0]) / 255))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        indices = tensors["index"].tolist()
        self.batches.append(len(indices))
        if set(indices) & set(self.options.get("forward_faults", ())):
            raise ValueError("a kernel failed")
        if set(indices) & set(self.options.get("kill_at", ())):
            os.kill(os.getpid(), signal.SIGKILL)
        if len(indices) > self.options.get("most_crops", 10**9):
            import torch

            raise torch.OutOfMemoryError("pretended")
        time.sleep(self.options.get("forward_s", 0.0))
        return {"grey": tensors["crop"].mean(dim=(1, 2, 3)) / 255}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        index = geometry.index
        if index in self.options.get("finish_faults", ()):
            raise KeyError("heatmap")
        said = self.options.get("say", {})
        if index in said:
            return said[index]
        value = float(outputs["grey"].mean()) if outputs else geometry.grey
        return value + self.options.get("bias", 0.0)
