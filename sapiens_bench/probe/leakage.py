"""Whether what a head is fitted on meets what it is judged on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sapiens_bench.errors import UsageError
from sapiens_bench.probe.cache import picture_hash
from sapiens_bench.types import Adapter

REMEDY = "Scores would tell nothing. Take another split or data set for one of them."


def refuse_shared_groups(train: Adapter, indices: Sequence[int], judged: Adapter, names: tuple[str, str]) -> None:
    """Groups (people, sequences, scans) of one data set must not lie on both sides.

    Raises:
        UsageError: they do; names one.
    """
    if said := _shared(train, indices, judged, names):
        raise UsageError(f"{said}. {REMEDY}")


def doubt_of_groups(train: Adapter, indices: Sequence[int], judged: Adapter, names: tuple[str, str]) -> str:
    """What to say of sets of two publishers, where equal names may be other people; "" where there are none."""
    said = _shared(train, indices, judged, names)
    return said and f"{said}: if those are the same people (an export of the same scans), scores tell nothing."


def _shared(train: Adapter, indices: Sequence[int], judged: Adapter, names: tuple[str, str]) -> str:
    shared = sorted({train.groups[index] for index in indices} & set(judged.groups))
    return f"{names[0]} and {names[1]} share {len(shared)} groups, first {shared[0]!r}" if shared else ""


def refuse_shared_pictures(pictures: Iterable[str], judged: Adapter, names: tuple[str, str]) -> None:
    """No picture of the judged set may be among those fitted on, under whatever name; compared pixel for pixel.

    Raises:
        UsageError: one is; names it.
    """
    ours = set(pictures)
    for index in range(len(judged)):
        sample = judged[index]
        if picture_hash(sample.input.image_HW3) in ours:
            raise UsageError(f"The picture of {sample.key} in {names[1]} is also in {names[0]}. {REMEDY}")


def split_groups(groups: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Positions for fitting and for validation: whole groups, those with the smallest hashes validate.

    Args:
        groups: of each sample, in order.
        share: of the groups that validate; at least one does, and at least one is fitted on.

    Raises:
        UsageError: fewer than two groups.
    """
    import hashlib

    names = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(names) < 2:
        raise UsageError(f"{len(names)} group in the training data; validation needs another one. Use more data.")
    held = set(names[: min(max(1, round(share * len(names))), len(names) - 1)])
    fitted = [i for i, group in enumerate(groups) if group not in held]
    return fitted, [i for i, group in enumerate(groups) if group in held]
