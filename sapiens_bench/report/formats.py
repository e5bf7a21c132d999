"""Formats by name, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from sapiens_bench.errors import UnknownName
from sapiens_bench.report.sheet import Document
from sapiens_bench.report.table import ReportTable

FORMATS: dict[str, str] = {  # name -> module with ``render(ReportTable)`` and ``render_document(Document)``
    "csv": "sapiens_bench.report.tidy",
    "html": "sapiens_bench.report.html",
    "json": "sapiens_bench.report.plain_json",
    "latex": "sapiens_bench.report.latex",
    "md": "sapiens_bench.report.markdown",
    "text": "sapiens_bench.report.text",
}


def render(content: ReportTable | Document, name: str) -> str:
    """The table of a run, or a document, as text in one format.

    Raises:
        UnknownName: no such format.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    module = import_module(FORMATS[name])
    write = module.render if isinstance(content, ReportTable) else module.render_document
    return cast(str, write(content))
