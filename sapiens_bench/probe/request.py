"""What a probe is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapiens_bench.errors import UsageError, nearest
from sapiens_bench.probe.schedule import Decay

DepthLoss = Literal["silog", "aligned"]
TASKS = ("seg", "depth", "normal")
RATES = (3e-4, 1e-3, 3e-3)  # tried by ``lr=None``


@dataclass(frozen=True)
class DataName:
    """A data set and a part of it: ``NAME`` or ``NAME:SPLIT``."""

    name: str
    split: str

    @classmethod
    def parse(cls, text: str) -> DataName:
        """Raises UsageError: no name in it."""
        name, _, split = text.partition(":")
        if not name:
            raise UsageError(f"{text!r} names no data set. Write NAME or NAME:SPLIT, e.g. synthetic-humans:train.")
        return cls(name, split)

    def __str__(self) -> str:
        return f"{self.name}:{self.split}" if self.split else self.name


@dataclass(frozen=True)
class ProbeRequest:
    """One head (for one or several tasks) on one trunk, fitted with one or several seeds."""

    backbone: str
    tasks: tuple[str, ...]
    train: DataName
    out: Path
    evaluate: DataName | None = None  # whose people must not be among those of ``train``
    backbone_weights: Path | None = None
    finetune: bool = False
    name: str = ""  # of the model; "" after the backbone
    train_limit: int | None = None  # the first so many samples
    validation: float = 0.1  # share of the training groups kept for validation
    views: int = 2  # of each sample; the first is plain, the others are changed
    input_hw: tuple[int, int] = (256, 192)
    width: int = 48
    stem: bool = True
    epochs: float | None = None  # passes over the views; or
    steps: int = 1000
    batch: int = 16
    lr: float | None = None  # None: chosen on the validation groups among ``RATES``
    weight_decay: float = 0.1
    warm_up: int = 50
    decay: Decay = "cosine"
    clip: float = 1.0
    depth_loss: DepthLoss = "silog"
    class_weights: str = "frequency"  # or "paper"
    seeds: int = 1
    start_from: Path | None = None  # the folder of an earlier probe of the same plan, whose head is trained on
    checkpoint_every: int = 100
    precision: str = "fp32"  # of the head's training; bf16: autocast
    device: str = "auto"
    threads: int | None = None
    data_root: Path | None = None
    cards: tuple[Path, ...] = ()
    command: str = ""

    def __post_init__(self) -> None:
        wrong = [task for task in self.tasks if task not in TASKS]
        if wrong or not self.tasks:
            close = nearest(wrong[0], TASKS) if wrong else []
            meant = f" Did you mean {close[0]!r}?" if close else ""
            asked = ",".join(self.tasks)
            raise UsageError(f"--task {asked}: a probe is fitted for {', '.join(TASKS)}, or several.{meant}")
        if self.finetune and self.backbone.startswith("sapiens"):
            raise UsageError(f"--finetune of {self.backbone} is not supported: its file could not be read back.")
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}", self.name):
            raise UsageError(f"--name {self.name!r}: letters, digits and . _ + - only, 41 at most.")

    @property
    def model_name(self) -> str:
        """What the rows are called, without task and seed."""
        return self.name or re.sub(r"[^A-Za-z0-9._+-]+", "-", f"probe-{self.backbone.removeprefix('timm:')}")[:41]

    def model_id(self, task: str, seed: int) -> str:
        """Id of one row."""
        return f"{self.model_name}-{task}" + (f"-s{seed}" if self.seeds > 1 else "")
