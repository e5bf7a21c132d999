"""What a wrapper is given when it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.cards.schema import ModelCard, SpaceCard, Variant
from sapiens_bench.tasks.pose.types import AnnotationIndex
from sapiens_bench.types import Task


@dataclass(frozen=True, slots=True)
class ModelContext:
    """One variant, ready to be built. Wrappers take exactly this: ``Wrapper(context)``."""

    card: ModelCard
    variant: Variant
    weights: Path | None  # verified file (or folder for format "hf"); None when the card names no weights
    also: dict[str, Path]  # the card's further files, verified
    device: str  # "cpu", "cuda", "cuda:1", "mps", "meta" (counting only)
    precision: str  # "fp32", "bf16", "fp16"
    space: SpaceCard | None  # keypoint or label set of the raw output
    options: Any  # an instance of the wrapper's Options: the variant's options with the request's over them
    # Diagnostics (oracle, noisy oracle) alone get these; None for every other kind.
    targets: Callable[[str], Any] | None = None  # sample key -> target
    task: Task | None = None
    seed: int = 0
    trusted: bool = False  # the user vouched for the weight file's sha256
    # What results made elsewhere refer to; only wrappers that read such results get it, where the data set has it.
    index: AnnotationIndex | None = None

    @property
    def pinned(self) -> bool:
        """Whether the weight file's bytes are those that the card or the user names: only then may its code run."""
        return self.trusted or (self.variant.weights is not None and self.variant.weights.sha256 is not None)
