"""What a cell needs, as plain data: it can be pickled or written as JSON, sent to another process and rebuilt there.

Below ``plan.resolve`` nothing sees a request or a catalog: names have become cards, sets, maps, verified files and
validated options. ``build.py`` turns a spec into objects.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sapiens_bench.adapters.conditions.condition import Condition
from sapiens_bench.adapters.selection.rule import Selection
from sapiens_bench.cards.entries import Backend, ModelEntry
from sapiens_bench.cards.locate import WeightFiles
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, InputSpec, SpaceCard
from sapiens_bench.cards.spaces import SourceSpace, SpaceMap
from sapiens_bench.store.record import CellRecord
from sapiens_bench.types import Cell


@dataclass(frozen=True)
class DataSpec:
    """A data set under one protocol, before it is opened."""

    card: DatasetCard
    path: Path  # the card's file, for code beside it
    protocol_name: str
    protocol: EvalProtocol  # its options with the request's over them
    space: SpaceCard | None  # the set the score is computed in
    to_space: dict[str, SourceSpace]
    root: Path
    split: str
    boxes: str
    seed: int
    max_pixels: int
    code_sha256: str  # of the adapter's file, when the card names one beside itself
    condition: Condition | None = None  # what is done to every picture
    select: Selection | None = None  # which samples; None: all

    @property
    def id(self) -> str:
        """The data set's id."""
        return self.card.id


@dataclass(frozen=True)
class ModelSpec:
    """A model variant with verified weights."""

    entry: ModelEntry
    weights: WeightFiles
    space: SpaceCard | None  # of the raw output
    options: dict[str, Any]  # the card's with the request's over them, validated
    precision: str
    seed: int
    code_sha256: str  # of the wrapper's file, when the card names one beside itself
    backend: Backend = "torch"  # what computes the forward pass

    @property
    def id(self) -> str:
        """The variant's id, with the form where the request names one."""
        return self.entry.id

    @property
    def is_diagnostic(self) -> bool:
        """Whether it may see the ground truth."""
        return self.entry.card.kind == "diagnostic"

    @property
    def is_results(self) -> bool:
        """Whether it looks results up that were made elsewhere; they belong to one data set."""
        weights = self.entry.variant.weights
        return weights is not None and weights.format == "predictions"

    @property
    def input(self) -> InputSpec | None:
        """Input size and normalisation, the variant's or the family's."""
        return self.entry.variant.input or self.entry.card.input

    def to_json(self) -> str:
        """The spec as text for another process."""
        return TypeAdapter(ModelSpec).dump_json(self, by_alias=True).decode()

    @staticmethod
    def from_json(text: str) -> ModelSpec:
        """Inverse of ``to_json``."""
        return TypeAdapter(ModelSpec).validate_json(text)


@dataclass(frozen=True)
class CellSpec:
    """One line of one table, ready to be computed anywhere."""

    cell: Cell
    data: DataSpec
    model: ModelSpec
    space_map: SpaceMap | None  # None: the model already speaks the protocol's set
    fields: dict[str, Any]  # what the fingerprint covers
    record: CellRecord  # of a cell that has not begun

    @property
    def title(self) -> str:
        """Of the model, for people."""
        return self.record.title

    def to_json(self) -> str:
        """The spec as text for another process."""
        return TypeAdapter(CellSpec).dump_json(self, by_alias=True).decode()

    @staticmethod
    def from_json(text: str) -> CellSpec:
        """Inverse of ``to_json``."""
        return TypeAdapter(CellSpec).validate_json(text)


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set once it has been opened."""

    n_samples: int  # that are evaluated
    keys_sha256: str  # over the ordered keys of those
    manifest_sha256: str
    keys: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, adapter: Any, limit: int | None) -> DataFacts:
        """The facts of an opened adapter; ``limit`` keeps the first samples only."""
        n = min(len(adapter), limit or len(adapter))
        keys = tuple(str(key) for key in adapter.keys[:n])
        digest = hashlib.sha256(json.dumps(keys).encode()).hexdigest()
        return cls(n, digest, adapter.manifest_sha256, keys)
