"""What a training is fed with: the views of a step, the trunk's maps of them, and the losses of a head.

Axes: B views, C channels, h, w input pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sapiens_bench.models.parts.dense_head import HeadPlan
from sapiens_bench.models.parts.head_file import Head
from sapiens_bench.models.parts.rival_heads import RivalHead
from sapiens_bench.models.parts.trunks import Trunk
from sapiens_bench.probe import processes
from sapiens_bench.probe.cache import DeviceRows, Rows, TrainingData
from sapiens_bench.probe.fresh import Draws, fresh_views
from sapiens_bench.probe.objective import Objective
from sapiens_bench.probe.request import ProbeRequest
from sapiens_bench.probe.train import Losses
from sapiens_bench.probe.views import Grid
from sapiens_bench.tasks.seg.types import IGNORE

STATISTICS_ROWS = 128  # views whose feature maps tell means and deviations


@dataclass(frozen=True)
class ProbeData:
    """All that training with one seed needs."""

    request: ProbeRequest
    data: TrainingData
    views: Rows | DeviceRows  # sources of views, if they are made at every step
    maps: Rows | DeviceRows | None  # None: the trunk runs at every step
    trunk: Trunk
    plan: HeadPlan
    objective: Objective
    train_rows: list[int]
    validation_rows: list[int]
    device: str

    @property
    def made_from(self) -> dict[str, str]:
        """What decides a training beside its settings, each as text that differs when it does."""
        request = self.request
        return {
            "backbone": self.trunk.identity,
            "set of pictures, views or --input": self.data.key() + str(request.views),
            "share held back (--validation)": _digest(self.validation_rows),
            "head": repr(self.plan),
            "loss": repr(self.objective),
            "choice of --finetune": str(request.finetune),
            "--start-from": str(request.start_from or ""),
        }


def _digest(rows: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()


def losses_of(prepared: ProbeData, head: Head, rows: Sequence[int], seed: int, step: int | None) -> Losses:
    """The losses of this process's part of a step's rows; without a step, of all rows."""
    part = slice(None) if step is None else processes.part(len(rows))
    views = views_at(prepared, rows, seed, step, part)
    if prepared.maps is not None:
        found = prepared.maps.batch(rows[part])
        maps = [found[tap.name].to(prepared.device, memory_format=torch.channels_last) for tap in prepared.plan.taps]
    elif prepared.request.finetune:
        maps = prepared.trunk(views["image"])
    else:
        maps = frozen_maps(prepared, views["image"])
    own = head.own_losses(maps, views["seg"]) if isinstance(head, RivalHead) and "seg" in views else None
    return prepared.objective(head(maps, views["image"]), views) if own is None else own


def views_at(
    prepared: ProbeData, rows: Sequence[int], seed: int, step: int | None, part: slice = slice(None)
) -> dict[str, Tensor]:
    """Views of a part of the rows on the device; with ``--views 0`` those of a step, plain ones without a step."""
    views = {name: tensor.to(prepared.device) for name, tensor in prepared.views.batch(rows[part]).items()}
    if prepared.request.views:
        return views
    drawn = Draws.plain(len(rows)) if step is None else Draws.of_step(len(rows), seed, step)
    grid = Grid(prepared.request.input_hw, prepared.plan.out_stride)
    flips = prepared.data.flip_index
    mirror = None
    if flips is not None:
        table = np.append(flips, np.full(256 - len(flips), IGNORE)).astype(np.uint8)
        mirror = torch.from_numpy(table).to(prepared.device)
    noise_seed = seed * 1_000_003 + (step or 0)
    return fresh_views(views, drawn.part(part), grid, mirror, noise_seed, (len(rows), part))


def frozen_maps(prepared: ProbeData, image: Tensor) -> list[Tensor]:
    """The trunk's maps without gradient; in float16 on a GPU whose head is trained in 16 bits."""
    kind = torch.device(prepared.device).type
    half = kind == "cuda" and prepared.request.precision == "bf16"
    with torch.no_grad(), torch.autocast(kind, torch.float16 if half else torch.bfloat16, enabled=half):
        maps: list[Tensor] = prepared.trunk(image)
    return maps


def statistics_of(prepared: ProbeData) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and deviation of every channel of every feature map, over some of the training rows."""
    rows = prepared.train_rows[:: max(1, len(prepared.train_rows) // STATISTICS_ROWS)]
    means, deviations = [], []
    if prepared.maps is None:
        maps = [m.float().cpu() for m in frozen_maps(prepared, views_at(prepared, rows[:16], 0, None)["image"])]
    else:
        found = prepared.maps.batch(rows)
        maps = [found[tap.name].float() for tap in prepared.plan.taps]
    for each in maps:
        means.append(each.mean((0, 2, 3)))
        deviations.append(each.std((0, 2, 3)))
    return means, deviations
