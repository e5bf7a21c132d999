"""Why pydantic refused something a person wrote, in that person's words: place, value found, nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sapiens_bench.errors import nearest

Location = tuple[str | int, ...]
_WORDS = re.compile(r"'([^']*)'")  # the choices, as pydantic lists them
_SHOWN = 5


def explain(error: ValidationError, kind: type[BaseModel], where: Callable[[Location], str]) -> str:
    """One line per fault, at most five.

    Args:
        kind: the class that was to be built.
        where: how the start of a line names a place, e.g. ``"my.yaml, line 3, key 'input.width'"``.
    """
    found = error.errors(include_url=False, include_context=False)
    # A list whose entries were refused is also reported as too short: the entries say more.
    faults = [f for f in found if not any(o["loc"][: len(f["loc"])] == f["loc"] != o["loc"] for o in found)]
    shown = [f"{where(f['loc'])}: {_fault(kind, f)}" for f in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"... and {len(faults) - _SHOWN} more")
    return "\n".join(shown)


def _fault(kind: type[BaseModel], fault: Any) -> str:
    location: Location = fault["loc"]
    if fault["type"] == "extra_forbidden":
        owner = _model_at(kind, location[:-1])
        valid = sorted(f.alias or key for key, f in owner.model_fields.items())
        close = nearest(str(location[-1]), valid)
        advice = (
            f"did you mean {' or '.join(map(repr, close))}?" if close else f"valid keys: {', '.join(valid) or 'none'}."
        )
        return f"unknown key; {advice}"
    if fault["type"] == "missing":
        about = _model_at(kind, location[:-1]).model_fields.get(str(location[-1]))
        what = " ".join((about.description or "").split()) if about else ""
        choices = get_args(about.annotation) if about and get_origin(about.annotation) is Literal else ()
        listed = f"One of {', '.join(map(repr, choices))}." if choices else ""
        return " ".join(part for part in ("is missing.", what, listed) if part)
    message = str(fault["msg"]).removeprefix("Value error, ")
    value = fault.get("input")
    found = f" (found {value!r:.60})" if isinstance(value, str | int | float | bool) else ""
    close = (
        nearest(value, _WORDS.findall(message)) if fault["type"] == "literal_error" and isinstance(value, str) else []
    )
    return f"{message}{found}.{f' Did you mean {close[0]!r}?' if close else ''}"


def _model_at(kind: type[BaseModel], location: Location) -> type[BaseModel]:
    """The class whose keys are valid at a location."""
    model = kind
    for part in location:
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        if part in fields:
            inner = _models_in(fields[str(part)].annotation)
            model = inner[0] if inner else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
