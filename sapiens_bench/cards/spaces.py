"""Index tables from one keypoint or label set to another, made from explicit cards by name, never by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import SpaceCard, SpaceMapCard
from sapiens_bench.errors import CardError

IGNORE = "ignore"  # target of a label that is not scored


@dataclass(frozen=True, slots=True)
class SpaceMap:
    """How predictions (or labels) of one set become those of another.

    Keypoints: ``table`` has K_target entries; entry t is taken from source entry ``table[t]``.
    Labels: ``table`` has K_source entries; source label s becomes target label ``table[s]``.
    -1 stands for a target keypoint without a source, or for a source label that is to be ignored.
    """

    source: str
    target: str
    kind: str  # "keypoints" or "labels"
    table: tuple[int, ...]
    approximate: bool
    identity: bool
    provenance: str

    @property
    def index(self) -> NDArray[np.int64]:
        """The table as an array, [K], read-only."""
        index = np.array(self.table, dtype=np.int64)
        index.setflags(write=False)
        return index

    @property
    def complete(self) -> bool:
        """True when no entry is -1."""
        return min(self.table, default=0) >= 0

    @property
    def surviving(self) -> tuple[int, ...]:
        """Target entries that can be reached at all: the classes or points that may be scored."""
        if self.kind == "keypoints":
            return tuple(t for t, source in enumerate(self.table) if source >= 0)
        return tuple(sorted({target for target in self.table if target >= 0}))


@dataclass(frozen=True, slots=True)
class SourceSpace:
    """A set with the map that leads from it to the one that is meant."""

    card: SpaceCard
    map: SpaceMap


def identity_map(space: SpaceCard) -> SpaceMap:
    """The map of a set onto itself."""
    table = tuple(range(len(space.names)))
    return SpaceMap(space.id, space.id, space.kind, table, approximate=False, identity=True, provenance="same set")


def build_map(card: SpaceMapCard, source: SpaceCard, target: SpaceCard) -> SpaceMap:
    """Turn the names of a map card into indices.

    Raises:
        CardError: a name is in neither set, a label has no entry, or the two sets are of different kinds.
    """
    if source.kind != target.kind:
        raise CardError(f"Map {card.id!r} joins {source.kind} ({source.id}) with {target.kind} ({target.id}).")
    keys, values = (target, source) if source.kind == "keypoints" else (source, target)
    position_of_key = {name: i for i, name in enumerate(keys.names)}
    position_of_value = {name: i for i, name in enumerate(values.names)}
    if source.kind == "labels":
        position_of_value[IGNORE] = -1
    table = [-1] * len(keys.names)
    for key, value in card.pairs.items():
        if key not in position_of_key:
            raise CardError(f"Map {card.id!r}: {key!r} is not a name of {keys.id!r}.")
        if value not in position_of_value:
            raise CardError(f"Map {card.id!r}: {value!r} is not a name of {values.id!r}.")
        table[position_of_key[key]] = position_of_value[value]
    if source.kind == "labels" and len(card.pairs) != len(keys.names):
        missing = ", ".join(name for name in keys.names if name not in card.pairs)
        raise CardError(f"Map {card.id!r}: no entry for {missing}; write 'ignore' for labels that are not scored.")
    return SpaceMap(source.id, target.id, source.kind, tuple(table), card.approximate, False, card.provenance)
