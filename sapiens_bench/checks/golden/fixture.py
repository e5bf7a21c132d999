"""A fixture's network as ``run`` would give it to its wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.cards.options import NoOptions, read_options
from sapiens_bench.cards.schema import (
    Get,
    InputSpec,
    Licence,
    ModelCard,
    SpaceCard,
    Variant,
    WeightFormat,
    Weights,
)
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.tasks import task_kind

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def input_spec(height: int, width: int) -> InputSpec:
    """An input size with the usual normalisation."""
    return InputSpec(height=height, width=width, mean=MEAN, std=STD)


def context(
    wrapper: str,
    task: str,
    path: Path,
    form: WeightFormat,
    spec: InputSpec,
    space: SpaceCard | None = None,
    options: Mapping[str, Any] | None = None,
) -> ModelContext:
    """A card with one variant, its options read; whoever names the folder of a fixture vouches for its files."""
    weights = Weights(file=path.name, format=form, sha256=None, get=Get(how="fixture"))
    variant = Variant(id=f"golden-{path.stem}", title=path.stem, weights=weights)
    card = ModelCard(
        schema="model/1",
        id="golden",
        title="golden",
        task=task,
        licence=Licence(name="none"),
        wrapper=wrapper,
        input=spec,
        trained_on="nothing",
        variants=(variant,),
    )
    kind = options_class(OPTIONS[wrapper], task_kind(task)) or NoOptions
    read = read_options(kind, options or {}, f"fixture {path.stem}")
    return ModelContext(card, variant, path, {}, "cpu", "fp32", space, read, trusted=True)
