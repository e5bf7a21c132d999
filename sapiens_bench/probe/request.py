"""What a probe is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapiens_bench.engine.choices import Engine, Places
from sapiens_bench.errors import UsageError, nearest
from sapiens_bench.probe.schedule import Decay

DepthLoss = Literal["silog", "aligned"]
PoseLoss = Literal["mse", "ohkm"]
TASKS = ("seg", "depth", "normal", "pose")
RATES = (3e-4, 1e-3, 3e-3)  # tried by ``lr=None``
HeadSize = Literal["small", "large"]
ARCH_WIDTH = 256  # of the published decoders
POOLED = ("deeplabv3plus", "upernet")  # they normalise one pooled value a view over the batch, so one view is too few
HEADS: dict[HeadSize, dict[str, int]] = {  # the rest of a ``HeadPlan``
    "small": {"width": 48, "fine_width": 24, "stem": 12},
    "large": {"width": 96, "fine_width": 48, "stem": 16, "blocks": 2, "context": 2, "fine_below": 4, "own": 1},
}


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
    views: int = 2  # of each sample, kept on disk; the first is plain, the others are changed. 0: new ones every step
    input_hw: tuple[int, int] = (256, 192)
    head: HeadSize = "small"
    arch: str = ""  # a published decoder instead of the head: a key of ``dense_head.ARCH_STRIDES``
    width: int | None = None  # of the head; None: its size's
    stem: bool = True
    epochs: float | None = None  # passes over the views; or
    steps: int = 1000
    max_seconds: float | None = None  # of training; the steps that fit are chosen before the first, ``steps`` at most
    batch: int = 16
    lr: float | None = None  # None: chosen on the validation groups among ``RATES``
    weight_decay: float = 0.1
    warm_up: int = 50
    decay: Decay = "cosine"
    clip: float = 1.0
    depth_loss: DepthLoss = "silog"
    pose_loss: PoseLoss = "mse"
    class_weights: str = "frequency"  # or "paper"
    seeds: int = 1
    start_from: Path | None = None  # the folder of an earlier probe of the same plan, whose head is trained on
    checkpoint_every: int = 100
    precision: str = "fp32"  # of the head's training; bf16: autocast
    device: str = "auto"
    processes: int = 1  # that train together, one a GPU; ``batch`` is that of all
    threads: int | None = None
    engine: Engine = "local"  # who renders the pictures and makes the feature maps; training stays in this process
    workers: int | None = None
    gpus_per_worker: float | None = None
    address: str = ""
    data_root: Path | None = None
    cards: tuple[Path, ...] = ()
    command: str = ""

    def __post_init__(self) -> None:
        Places.of(self)  # refuses what makes no sense
        wrong = [task for task in self.tasks if task not in TASKS]
        if wrong or not self.tasks:
            close = nearest(wrong[0], TASKS) if wrong else []
            meant = f" Did you mean {close[0]!r}?" if close else ""
            asked = ",".join(self.tasks)
            raise UsageError(f"--task {asked}: a probe is fitted for {', '.join(TASKS)}, or several.{meant}")
        if "pose" in self.tasks and len(self.tasks) > 1:
            raise UsageError("--task pose alone: its head sees one crop a person, the others' the whole picture.")
        if "pose" in self.tasks and not self.views:
            raise UsageError("--views 0 with --task pose is not supported: views of people lie on disk.")
        if self.arch == "mask2former" and self.tasks != ("seg",):
            raise UsageError("--arch mask2former is made of labelled masks: --task seg only.")
        self.refuse_small_batch(self.batch, f"--batch-size {self.batch}")
        if self.finetune and not self.views:
            raise UsageError("--views 0 with --finetune is not supported: views of a trained trunk lie on disk.")
        if self.max_seconds is not None and self.lr is None:
            raise UsageError("--max-seconds needs --lr: trying rates would take a share of them that nobody knows.")
        if self.finetune and self.backbone.startswith("sapiens2-"):
            raise UsageError(f"--finetune of {self.backbone} is not supported: its file could not be read back.")
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}", self.name):
            raise UsageError(f"--name {self.name!r}: letters, digits and . _ + - only, 41 at most.")

    def refuse_small_batch(self, views: int, what: str) -> None:
        """Raises UsageError: the decoder cannot be trained on so few views a step."""
        if self.arch in POOLED and views < 2:
            raise UsageError(f"{what}: --arch {self.arch} normalises over a batch and needs 2 views or more a step.")

    @property
    def model_name(self) -> str:
        """What the rows are called, without task and seed."""
        kind = self.arch or "probe"
        return self.name or re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{kind}-{self.backbone.removeprefix('timm:')}")[:41]

    def model_id(self, task: str, seed: int) -> str:
        """Id of one row."""
        return f"{self.model_name}-{task}" + (f"-s{seed}" if self.seeds > 1 else "")
