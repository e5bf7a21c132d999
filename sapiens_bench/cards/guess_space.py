"""Which keypoint set a file is written in, by the names or the number of its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sapiens_bench.cards.point_names import NamesDiffer, is_number_only, order_by_name, words
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import LabelSpaceMismatch

USUAL = {  # number of points -> the set that files without names are written in
    17: "coco17",
    26: "halpe-26",
    133: "coco-wholebody133",
    136: "halpe-136",
    308: "goliath308",
}

_SHARE = 0.8  # of the names that stand in place where some are spelt otherwise


def guessed_space(n_points: int, names: Sequence[str], spaces: Mapping[str, SpaceCard], what: str) -> SpaceCard:
    """The set whose names a file lists; without names, the usual one of that many points.

    Args:
        n_points: of one person in the file.
        names: as the file lists them; may be more than there are points, or fewer, or none.
        spaces: every keypoint set there is.
        what: the file, for messages.

    Raises:
        LabelSpaceMismatch: none fits, or several do.
    """
    fitting = [space for space in spaces.values() if space.kind == "keypoints" and len(space.names) == n_points]
    says_nothing = all(is_number_only(name) for name in names[:n_points])
    if not says_nothing:
        ranked = [(not _is_in_order(names, space), i, space) for i, space in enumerate(fitting) if _fits(names, space)]
        if ranked:
            out_of_order, _, best = min(ranked, key=lambda entry: entry[:2])
            same_places = [space for space in fitting if _is_spelt_otherwise(names, space)] if out_of_order else []
            return same_places[0] if same_places else best
    usual = spaces.get(USUAL.get(n_points, ""))
    if says_nothing and usual is not None:
        return usual
    if says_nothing and len(fitting) == 1:
        return fitting[0]
    listed = f"names {', '.join(names[:3])}, ..." if not says_nothing else "names none of its points"
    known = ", ".join(space.id for space in fitting) or "none"
    raise LabelSpaceMismatch(
        f"{what}: {n_points} points, and it {listed}: its keypoint set is not clear. Say it with --space NAME (sets of "
        f"{n_points} points: {known}; `sapiens-bench list spaces` shows all), or add one as a card with --cards."
    )


def _fits(names: Sequence[str], space: SpaceCard) -> bool:
    try:
        return order_by_name(names, space.names) is not None
    except NamesDiffer:
        return False


def _is_spelt_otherwise(names: Sequence[str], space: SpaceCard) -> bool:
    """Whether nearly all names stand in place and the rest are unknown: a likelier reading than all in another order.

    MMPose calls the heads of CrowdPose and of AI Challenger ``top_head`` both.
    """
    theirs, ours = [words(name) for name in names[: len(space.names)]], [words(name) for name in space.names]
    astray = any(mine != own and mine in ours for mine, own in zip(theirs, ours, strict=False))
    return not astray and sum(mine == own for mine, own in zip(theirs, ours, strict=False)) >= _SHARE * len(ours)


def _is_in_order(names: Sequence[str], space: SpaceCard) -> bool:
    order = order_by_name(names, space.names)
    return order is not None and bool((order[:-1] < order[1:]).all())
