"""A class of keys as a reader sees it: type, default, range and meaning of each; for ``list`` and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python


def options_of(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """Every key of a class: ``name``, ``type``, ``default``, ``is_required``, ``range`` and ``doc``.

    ``default`` is a plain value; None also where the key must be given, which ``is_required`` says. ``range`` is ""
    where the type says it all.
    """
    return [
        {
            "name": field.alias or name,
            "type": type_name(field.annotation),
            "default": _default(field),
            "is_required": field.is_required(),
            "range": field_range(field),
            "doc": " ".join((field.description or "").split()),
        }
        for name, field in kind.model_fields.items()
    ]


def type_name(annotation: Any, quote: str = "") -> str:
    """A type as a reader would write it; ``quote`` stands around words that are meant literally."""
    origin = get_origin(annotation)
    if annotation is type(None):
        return "null"
    if origin is None:
        return str(getattr(annotation, "__name__", annotation)).replace("NoneType", "null")
    if str(origin) == "typing.Literal":
        return " | ".join(f"{quote}{value}{quote}" for value in get_args(annotation))
    if origin in (dict, tuple, list, Mapping):
        inner = ", ".join("..." if a is Ellipsis else type_name(a, quote) for a in get_args(annotation))
        return f"{getattr(origin, '__name__', 'map')}[{inner}]"
    if "Union" in str(origin):
        return " | ".join(type_name(a, quote) for a in get_args(annotation))
    return type_name(get_args(annotation)[0], quote)


def field_range(field: FieldInfo) -> str:
    """The bounds of a number or length, as in ``ge=0, le=1``; "" where there are none."""
    found = [str(m).partition("(")[2].rstrip(")") for m in field.metadata if "=" in str(m) and "(" in str(m)]
    return ", ".join(bound for bound in found if bound and len(bound) < 40)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True), inf_nan_mode="strings")
