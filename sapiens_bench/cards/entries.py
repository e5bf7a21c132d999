"""One variant of a model or detector with its family: what a name of the catalog stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.cards.schema import DetectorCard, ModelCard, Variant


@dataclass(frozen=True)
class ModelEntry:
    """One variant with its family."""

    card: ModelCard
    variant: Variant
    path: Path

    @property
    def id(self) -> str:
        """The variant's id, which names the row of a table."""
        return self.variant.id


@dataclass(frozen=True)
class DetectorEntry:
    """One variant of a person detector with its family."""

    card: DetectorCard
    variant: Variant
