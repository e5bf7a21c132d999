"""Models for the child process of the profiler's tests; named there as "module:function"."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.profiling.subject import Subject, sample_input
from sapiens_bench.types import ModelInput, Prepared


class Toy:
    """A linear layer over one crop; misbehaves on request."""

    def __init__(self, fault: str) -> None:
        self.fault, self.net = fault, nn.Linear(8, 4)

    def prepare(self, x: ModelInput) -> Prepared:
        return Prepared({"v": x.image_HW3[:1, :8, 0].astype("float32")}, None)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.fault == "raises":
            raise ValueError("the toy broke")
        if self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "memory" and len(tensors["v"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (toy)")
        sys.stdout.write("a library that prints\n")
        return {"y": self.net(tensors["v"])}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        return outputs["y"]


def build(fault: str = "") -> tuple[Callable[[], Subject], ModelInput]:
    def make() -> Subject:
        toy = Toy(fault)
        return Subject(toy, toy.net, "card")

    return make, sample_input()
