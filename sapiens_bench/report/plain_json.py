"""Table or document -> JSON, in the units of the scores: a share is 0..1, whatever tables show."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, is_dataclass
from typing import Any

from sapiens_bench.report.sheet import Document
from sapiens_bench.report.table import ReportTable

# Characters that move a cursor or turn text round may stand in JSON as they are; escaped they are the same data, and a
# terminal that shows the file is safe. json.dumps itself escapes those below U+0020.
_UNSEEN = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")


def render(table: ReportTable) -> str:
    """The whole table object; an undefined number is ``null`` and its cell carries the reason."""
    return _dump({"schema": "table/1", **_plain(table)})


def render_document(document: Document) -> str:
    """The document's numbers; one that has none gives its texts."""
    if document.data:
        return _dump(_plain(document.data))
    sheets = [{"title": s.title, "heads": s.heads, "rows": s.rows, "notes": s.notes} for s in document.sheets]
    about = {"title": document.title, "facts": document.facts, "notes": document.notes}
    return _dump({"schema": "sheets/1", **about, "sheets": _plain(sheets)})


def _dump(data: Any) -> str:
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
