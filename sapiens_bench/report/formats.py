"""Formats by name, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from sapiens_bench.errors import UnknownName
from sapiens_bench.report.table import Table

FORMATS: dict[str, str] = {  # name -> "module:function", Table -> text
    "csv": "sapiens_bench.report.export:render_csv",
    "html": "sapiens_bench.report.html:render",
    "json": "sapiens_bench.report.export:render_json",
    "latex": "sapiens_bench.report.latex:render",
    "md": "sapiens_bench.report.markdown:render",
    "text": "sapiens_bench.report.text:render",
}


def render(table: Table, name: str) -> str:
    """The table as text.

    Raises:
        UnknownName: no such format.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    module, _, function = FORMATS[name].partition(":")
    return cast(Callable[[Table], str], getattr(import_module(module), function))(table)
