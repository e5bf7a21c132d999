"""Ways to get another number that stored results cannot show: what the model is given must change, so it runs again.

Box source, crop padding, resizing, flipping and the like, one change at a time to the request of the run; each rerun is
then scored under every way that ``explain_run`` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.decide.explain import Candidate, Published
from sapiens_bench.decide.explain_run import candidates, only_member
from sapiens_bench.decide.sides import Member, read_side
from sapiens_bench.engine.again import request_of
from sapiens_bench.engine.build import model_options
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.run import run
from sapiens_bench.errors import SapiensBenchError, raise_if_machine
from sapiens_bench.store.record import RunRecord

# Options of wrappers that change what the network sees or how its maps become an answer. Others say what a file is.
_OPTIONS = ("padding", "flip_test", "resize", "interpolation", "upsample", "pipeline", "codec")
_PADDINGS = (1.0, 1.1, 1.2, 1.25, 1.5)  # crop side over box side: MoveNet, SimCC and ViTPose families use 1.25
GT = "gt"


@dataclass(frozen=True, slots=True)
class Way:
    """One change to the request."""

    title: str  # "padding 1.5", "boxes gt"
    changes: Mapping[str, Any]  # fields of the request


def ways(member: Member, record: RunRecord, catalog: Catalog, boxes: Sequence[str] = ()) -> list[Way]:
    """Every change that this model and task have.

    Args:
        boxes: further box sources to try, as for ``run --boxes``.
    """
    options = dict(record.request.get("options") or {})
    found = [Way(f"{name} {value}", {"options": {**options, name: value}}) for name, value in _choices(member, catalog)]
    if member.task == "pose":
        sources = dict.fromkeys((GT, *boxes))
        used = str(member.fields.get("boxes") or _protocol_boxes(member))
        found += [Way(f"boxes {source}", {"boxes": source}) for source in sources if source != used]
    return found


def _protocol_boxes(member: Member) -> str:
    protocol = member.fields.get("protocol")
    options = protocol.get("options") if isinstance(protocol, Mapping) else None
    return str((options or {}).get("boxes") or "")


def _choices(member: Member, catalog: Catalog) -> Iterator[tuple[str, Any]]:
    """(option, value) of the model's wrapper for every value but the one of the run; none where no card here has it."""
    entry = catalog.of_row(member.model)
    if entry is None:
        return
    kind = model_options(entry)
    now = read_options(kind, dict(member.fields.get("options") or {}), f"{member.model} in cell.json")
    for name in _OPTIONS:
        if name in kind.model_fields:
            values = _values(name, kind.model_fields[name].annotation)
            yield from ((name, value) for value in values if value != getattr(now, name))


def _values(name: str, annotation: Any) -> Iterator[Any]:
    is_union = get_origin(annotation) not in (None, Literal)
    for kind in get_args(annotation) if is_union else (annotation,):
        if get_origin(kind) is Literal:
            yield from get_args(kind)
        elif kind is bool:
            yield from (False, True)
        elif kind is float and name == "padding":
            yield from _PADDINGS


def rerun_candidates(
    record: RunRecord, member: Member, tried: Sequence[Way], published: Sequence[Published], catalog: Catalog,
    folder: Path, *, n_draws: int, changes: Mapping[str, Any],
) -> tuple[list[Candidate], list[str]]:  # fmt: skip
    """Every way to score under every change, and why a change could not be tried.

    Args:
        folder: empty; each rerun gets a folder below it.
        changes: of the request for all of them (data root, weights root, device).
    """
    found: list[Candidate] = []
    failed: list[str] = []
    for number, way in enumerate(tried):
        root = folder / str(number)
        try:
            again = {"models": (member.model,), "datasets": (member.dataset,), "protocol": member.protocol}
            request = request_of(record, **{**again, "n_boot": 0, "part": None, "out": root, **changes, **way.changes})
            made = run(resolve(request, catalog))
            there = only_member(read_side(root), member.model)
            data_root = changes.get("data_root")
            scored, _ = candidates(root, made, there, published, catalog, n_draws=n_draws, data_root=data_root)
        except SapiensBenchError as error:
            raise_if_machine(error)
            failed.append(f"Not tried: {way.title}: {error}")
            continue
        found += [replace(c, title=f"{way.title}; {c.title}", is_declared=False) for c in scored]
    return found, failed


def not_tried(found: Sequence[Way]) -> str:
    """What stored results cannot show, in a sentence."""
    if not found:
        return "Other boxes, crops and pictures change what the model sees: none of them was tried."
    return (
        f"Not tried, for the model would have to run again: {', '.join(way.title for way in found)}. --rerun-model "
        "tries each."
    )
