"""The weight file of a variant that is being built."""

from __future__ import annotations

from pathlib import Path

from sapiens_bench.errors import WeightsMissing
from sapiens_bench.models.context import ModelContext


def weights_path(context: ModelContext) -> Path:
    """The file or folder.

    Raises:
        WeightsMissing: the context has none; says how to get it.
    """
    if context.weights is None:
        how = context.variant.weights.get.how if context.variant.weights else "its card names no weight file"
        raise WeightsMissing(f"{context.variant.id}: no weight file on this machine ({how}).")
    return context.weights
