"""Which category of an annotation file is scored, and in which order it lists its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.faults import Faults, no_id, show, whole_number
from sapiens_bench.adapters.coco.formats import KeypointFormat
from sapiens_bench.adapters.coco.options import EVERY_CATEGORY, CocoOptions
from sapiens_bench.cards.point_names import NamesDiffer, order_by_name

PERSON = "person"


@dataclass(frozen=True, slots=True)
class Scored:
    """The categories that are scored; of several, each on its own."""

    ids: frozenset[int]
    name: str
    declared: Mapping[int, str]  # every category of the file: id -> name
    order_K: NDArray[np.int64] | None  # place in the file of each point of the set; None: as they stand
    notes: tuple[str, ...] = ()


def scored_category(
    categories: Sequence[Any], layout: KeypointFormat, names: Sequence[str], options: CocoOptions, faults: Faults
) -> Scored:
    """Find the category that is scored.

    Args:
        categories: as the file lists them.
        layout: which fields hold the points.
        names: of the keypoint set that the file is annotated in.
        options: ``category`` and ``names``.
    """
    entries = _declared(categories, faults)
    declared = {identity: str(entry.get("name", "")) for identity, entry in entries.items()}
    ids, note = _choose(declared, entries, options.category, faults)
    notes = [note] if note else []
    orders = [_order(entries[i], layout, names, options, faults, notes) for i in sorted(ids)]
    order = orders[0] if orders else None
    if any(not _same(order, other) for other in orders):
        faults.add("label.names", "the categories list their points in different orders")
    found = [declared[i] for i in sorted(ids)]
    name = found[0] if len(found) == 1 else f"{len(found)} categories"
    if order is not None and (order != np.arange(len(order))).any():
        notes.append(
            "The annotation file lists its points in another order; they were put into that of the set. Results that "
            "do not name their points must have that order, too; names=ignore takes both in the file's, as pycocotools "
            "does."
        )
    return Scored(frozenset(ids), name, declared, order, tuple(dict.fromkeys(notes)))


def listed_names(categories: Sequence[Any], options: CocoOptions, faults: Faults) -> tuple[str, ...]:
    """Names of the points as the scored category lists them; none where it lists none."""
    entries = _declared(categories, faults)
    declared = {identity: str(entry.get("name", "")) for identity, entry in entries.items()}
    ids, _ = _choose(declared, entries, options.category, faults)
    listed = entries[ids[0]].get("keypoints") if ids else None
    return tuple(str(name) for name in listed) if isinstance(listed, list) else ()


def are_one_kind(categories: Sequence[Any]) -> bool:
    """Whether several categories have the same points and none is a person: species, each with its own animals."""
    entries = [category for category in categories if isinstance(category, dict)]
    listed = [entry.get("keypoints") for entry in entries]
    has_person = any(str(entry.get("name", "")).strip().lower() == PERSON for entry in entries)
    return len(listed) > 1 and bool(listed[0]) and not has_person and all(names == listed[0] for names in listed)


def _declared(categories: Sequence[Any], faults: Faults) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for position, category in enumerate(categories):
        identity = whole_number(category.get("id")) if isinstance(category, dict) else None
        if identity is None or identity in found:
            given = category.get("id") if isinstance(category, dict) else category
            why = no_id(given) if identity is None else "is taken by another category"
            faults.add("label.category", f"categories[{position}]: id {show(given)} {why}")
            continue
        found[identity] = category
    return found


def _choose(
    declared: Mapping[int, str], entries: Mapping[int, dict[str, Any]], asked: str | int, faults: Faults
) -> tuple[list[int], str]:
    """Ids of the scored categories, and what must be said about the choice."""
    known = ", ".join(f"{name!r} (id {identity})" for identity, name in sorted(declared.items())[:12]) or "none"
    if asked == EVERY_CATEGORY:
        note = "Scores are means over the categories that have somebody, as pycocotools makes them."
        return list(declared), note if len(declared) > 1 else ""
    if asked != "":
        ids = [i for i, name in declared.items() if asked == i or str(asked).strip().lower() == name.strip().lower()]
        if not ids:
            faults.add("label.person", f"no category {asked!r}; the file declares {known}")
        return ids[:1], ""
    people = [identity for identity, name in declared.items() if name.strip().lower() == PERSON]
    if len(people) == 1:
        return people, ""
    if not people and len(declared) == 1:
        identity, name = next(iter(declared.items()))
        return [identity], f"The only category, {name!r} (id {identity}), is scored." if name else ""
    if not any(declared.values()) and 1 in declared:
        return [1], ""  # a file without names keeps to COCO's number for people
    with_points = [identity for identity, entry in entries.items() if entry.get("keypoints")]
    if not people and len(with_points) == 1:
        name = declared[with_points[0]]
        return with_points, f"Category {name!r} (id {with_points[0]}) is scored: the only one that lists keypoints."
    if declared:
        which = "two categories are named person" if people else "none is named person"
        faults.add("label.person", f"{which}; the file declares {known}")
    return [], ""


def _order(
    entry: dict[str, Any],
    layout: KeypointFormat,
    names: Sequence[str],
    options: CocoOptions,
    faults: Faults,
    notes: list[str],
) -> NDArray[np.int64] | None:
    """The order of a category's points, by their names; None where those say nothing."""
    listed, category = entry.get("keypoints"), str(entry.get("name", ""))
    if options.names == "ignore" or not isinstance(listed, list) or not listed or not names:
        return None
    texts = [str(name) for name in listed]
    if not layout.lists_names(len(texts)):
        return None
    if len(texts) < layout.n_listed:
        faults.add("label.names", f"category {category!r} lists {len(texts)} keypoints, expected {layout.n_listed}")
        return None
    try:
        return order_by_name(texts, names)
    except NamesDiffer as error:
        if error.in_place:
            notes.append(f"Category {category!r} spells its points otherwise: {error}. They are taken in its order.")
        else:
            faults.add("label.names", f"category {category!r}: {error}")
        return None


def _same(a: NDArray[np.int64] | None, b: NDArray[np.int64] | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and bool((a == b).all()))
