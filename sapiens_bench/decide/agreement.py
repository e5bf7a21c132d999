"""May these rows be compared? Only what was scored on the same samples, in the same way, by the same metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sapiens_bench.decide.sides import Member
from sapiens_bench.errors import UsageError
from sapiens_bench.store.fingerprint import differing

# Fields of cell.json that must agree. What belongs to the model (weights, precision, options, input size) may differ:
# that is what is compared.
COMPARED = (
    "dataset", "manifest_sha256", "samples", "protocol", "space", "boxes", "split", "exif", "max_pixels", "metrics",
    "condition", "select",
)  # fmt: skip
_OF_SPACE = ("id", "kind", "names", "sigmas", "groups", "ignore_index")  # what a score depends on


def require_agreement(a: Member, b: Member, name_a: str, name_b: str) -> None:
    """Refuse a comparison of unlike things.

    Raises:
        UsageError: names the differing fields with both values.
    """
    found = differing(_facts(a), _facts(b))
    if found:
        raise UsageError(
            f"{a.model} of {name_a} and {b.model} of {name_b} cannot be compared. {'; '.join(found[:5])} "
            f"(there: {name_a}, now: {name_b}).{_of_a_study(a, b)}"
        )


def _of_a_study(a: Member, b: Member) -> str:
    """Where to look instead, if the two differ in what a study changes."""
    differ = a.fields.get("condition") != b.fields.get("condition") or _factor(a) != _factor(b)
    return " A study tells what a condition does to a model: `sapiens-bench report STUDY`, the folder above." * differ


def _factor(member: Member) -> Any:
    return ((member.fields.get("protocol") or {}).get("options") or {}).get("factor")


def _facts(member: Member) -> Mapping[str, Any]:
    facts: dict[str, Any] = {"task": member.task}
    facts |= {name: member.fields.get(name) for name in COMPARED}
    space = facts["space"]
    if isinstance(space, Mapping):
        facts["space"] = {name: space.get(name) for name in _OF_SPACE}
    return facts
