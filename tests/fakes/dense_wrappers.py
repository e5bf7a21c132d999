"""Contexts, pictures and batches for wrappers of dense networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.cards.options import NoOptions, read_options
from sapiens_bench.cards.schema import Get, InputSpec, Licence, ModelCard, SpaceCard, Variant, Weights
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.tasks import task_kind
from sapiens_bench.types import Model, ModelInput

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def space(kind: str, size: int) -> SpaceCard:
    return SpaceCard(
        schema="space/1", id="fake", title="fake", kind=kind, source="test",  # type: ignore[arg-type]
        names=tuple(f"n{i}" for i in range(size)), flip_index=tuple(range(size)),
        sigmas=(0.1,) * size if kind == "keypoints" else (),
    )  # fmt: skip


def context(
    wrapper: str, path: Path | None, task: str, kind: str, input_hw: tuple[int, int] | None,
    output: SpaceCard | None = None, *, trusted: bool = False, precision: str = "fp32", device: str = "cpu",
    **options: Any,
) -> ModelContext:  # fmt: skip
    weights = None
    if path is not None:
        weights = Weights(file=path.name, format=kind, sha256=None, get=Get(how="make it"))  # type: ignore[arg-type]
    variant = Variant(id="tiny", title="tiny", weights=weights)
    spec = InputSpec(height=input_hw[0], width=input_hw[1], mean=MEAN, std=STD) if input_hw else None
    card = ModelCard(
        schema="model/1", id="tiny-family", title="tiny", task=task,  # type: ignore[arg-type]
        licence=Licence(name="none"), wrapper=wrapper, input=spec, trained_on="nothing", variants=(variant,),
    )  # fmt: skip
    read = read_options(options_class(OPTIONS[wrapper], task_kind(task)) or NoOptions, options, "model tiny")
    return ModelContext(card, variant, path, {}, device, precision, output, read, trusted=trusted)


def picture(height: int, width: int, n_boxes: int = 1) -> ModelInput:
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    image = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])
    boxes = np.array([[0, 0, width, height]] * n_boxes, np.float32).reshape(-1, 4)
    return ModelInput("k", image, boxes, np.ones(n_boxes, np.float32))


def predict(model: Model, pictures: Sequence[ModelInput]) -> list[Any]:
    """One forward pass for all pictures, one crop each, as the engine packs them."""
    prepared = [model.prepare(x) for x in pictures]
    packed = {n: torch.from_numpy(np.concatenate([p.tensors[n] for p in prepared])) for n in prepared[0].tensors}
    with torch.inference_mode():
        out = {n: t.numpy() for n, t in model.forward(packed).items()}
    return [model.finish({n: a[i : i + 1] for n, a in out.items()}, p.geometry) for i, p in enumerate(prepared)]
