"""What an adapter is given when a data set is opened: the mirror of ``models.context.ModelContext``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.cards.spaces import SourceSpace
from sapiens_bench.errors import CardError, LabelSpaceMismatch, UsageError

MAX_PIXELS = 100_000_000  # larger pictures are refused from their header, before decoding


@dataclass(frozen=True, slots=True)
class DataContext:
    """One data set under one protocol, ready to be opened. Adapters take exactly this: ``Adapter(context)``.

    Everything is resolved: no adapter looks a card up.
    """

    card: DatasetCard
    protocol: EvalProtocol
    space: SpaceCard | None  # the set the score is computed in; None where the task has none
    to_space: Mapping[str, SourceSpace]  # every set that can become ``space``, by id; ``space`` itself is one
    root: Path  # folder of the data set
    split: str  # "" as the options say
    boxes: str  # pose: "" as the options say; gt, jitter:<fraction>[,<seed>], or a detector's file
    seed: int
    options: Any  # an instance of the adapter's Options
    max_pixels: int = MAX_PIXELS

    @property
    def where(self) -> str:
        """How messages name the protocol."""
        return f"data set {self.card.id}, protocol {self.protocol.title!r}"

    def source(self, annotated_in: str) -> SourceSpace | None:
        """The set that the files are annotated in; "" stands for the protocol's own. None where the task has no set.

        Raises:
            LabelSpaceMismatch: no map card joins it with the protocol's set.
        """
        if self.space is None:
            return None
        name = annotated_in or self.space.id
        if name not in self.to_space:
            known = ", ".join(sorted(self.to_space))
            raise LabelSpaceMismatch(
                f"{self.where}: no map from {name!r} to {self.space.id!r}; there are maps from {known}. A map is a "
                "card of its own (schema space-map/1) and is never guessed from the order of entries."
            )
        return self.to_space[name]

    def refuse_split(self) -> None:
        """Raises UsageError when a split was asked for; for data sets without splits."""
        if self.split:
            raise UsageError(f"data set {self.card.id} has no splits; leave --split {self.split!r} out")

    def needs_task(self, *tasks: str) -> None:
        """Raises CardError unless the protocol's task is one of ``tasks``."""
        if self.protocol.task not in tasks:
            raise CardError(f"{self.where}: this adapter gives {', '.join(tasks)}, not {self.protocol.task!r}.")
