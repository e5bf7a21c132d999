"""Which entries of a results or box file are people, by the category ids of the annotation file they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


class NobodyScored(ValueError):
    """No entry is of a category that is scored; the text says which there are."""


def is_person(
    given: Sequence[Any], declared: Mapping[int, str], scored: frozenset[int]
) -> tuple[list[bool], list[str]]:
    """Whether each entry is of a scored category, and what must be said.

    An entry without a category is a person. A name stands for its id. Where every entry has one and the same id that
    the annotation file does not declare (0-based exporters), it is taken for the scored one, and that is said.

    Args:
        given: ``category_id`` of each entry, None where there is none.
        declared: id -> name, of the annotation file.
        scored: ids that are scored.

    Raises:
        NobodyScored: see above.
    """
    ids = identities(given, declared)
    counts = Counter(ids)
    if len(scored) > 1 and None in counts:
        raise NobodyScored(f"{counts[None]} entries have no category_id, and {len(scored)} categories are scored")
    if not ids or any(i is None or i in scored for i in counts):
        return [i is None or i in scored for i in ids], []
    other = next(iter(counts))
    wanted = " or ".join(f"{i} ({declared.get(i) or 'person'})" for i in sorted(scored)[:3])
    if len(counts) == 1 and other not in declared and len(scored) == 1:
        note = f"every category_id is {other}, which the annotation file does not declare: taken for {wanted}"
        return [True] * len(ids), [note]
    found = ", ".join(f"category_id {i}: {n}" for i, n in counts.most_common(5))
    raise NobodyScored(f"nothing has category_id {wanted}, which is scored (found {found})")


def identities(given: Sequence[Any], declared: Mapping[int, str]) -> list[Any]:
    """The category id of each entry: a name stands for its id; None where there is none."""
    names = {name.strip().lower(): identity for identity, name in declared.items() if name}
    return [_identity(value, names) for value in given]


def _identity(value: Any, names: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        return names.get(value.strip().lower(), value)
    if type(value) is float and value.is_integer():
        return int(value)
    return value if value is None or type(value) is int else repr(value)
