"""The list of everything that is missing or doubtful in a run, as text, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import StringIO

from sapiens_bench.errors import UnknownName
from sapiens_bench.report.escape import csv_cell, one_line
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.report.text import aligned
from sapiens_bench.store.causes import ErrorRow, Found, sentence

_HEADS = ("task", "dataset", "protocol", "model", "index", "key", "kind", "side", "count", "detail", "fix")


def render(causes: Sequence[Found], rows: Sequence[ErrorRow], fmt: str) -> str:
    """Causes and error rows in one of the formats.

    Raises:
        UnknownName: no such format.
    """
    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)
    return FORMATS[fmt](causes, rows)


def _text(causes: Sequence[Found], rows: Sequence[ErrorRow]) -> str:
    """Causes as sentences under the place they apply to, then a line per image."""
    if not causes and not rows:
        return "No errors and no notes.\n"
    lines: list[str] = []
    places: dict[str, list[str]] = {}
    for found in causes:
        place = " on ".join(part for part in (found.model, found.dataset) if part) or "The run"
        places.setdefault(place, []).append(sentence(found.cause))
    for place, sentences in places.items():
        lines += [one_line(place), *(f"  {one_line(line)}" for line in sentences)]
    if rows:
        heads = ("Data set", "Model", "Index", "Key", "Side", "Code", "Detail")
        table = tuple((r.dataset, r.model, str(r.index), r.key, r.side, r.code, r.detail) for r in rows)
        title = f"{len(rows)} images with errors"
        lines += ["", title, aligned(Sheet(title, heads, table, left=range(len(heads))))]
    return "\n".join(lines).lstrip("\n") + "\n"


def _csv(causes: Sequence[Found], rows: Sequence[ErrorRow]) -> str:
    """One line per image with an error, and one per cause that is none of an image."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEADS)
    for found in causes:
        cause = found.cause
        if not cause.first_key:
            writer.writerow(_line("", found.dataset, "", found.model, "", "", cause.kind, cause.side,
                                  "" if cause.count is None else cause.count, cause.detail, cause.fix))  # fmt: skip
    for r in rows:
        writer.writerow(
            _line(r.task, r.dataset, r.protocol, r.model, r.index, r.key, r.code, r.side, 1, r.detail, r.fix)
        )
    return stream.getvalue()


def _line(*values: object) -> list[str]:
    return [str(v) if isinstance(v, int) else csv_cell(one_line(str(v))) for v in values]


def _json(causes: Sequence[Found], rows: Sequence[ErrorRow]) -> str:
    data = {
        "schema": "errors/1",
        "causes": [{"dataset": f.dataset, "model": f.model, **f.cause.model_dump(mode="json")} for f in causes],
        "rows": [asdict(row) for row in rows],
    }
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Sequence[Found], Sequence[ErrorRow]], str]] = {"text": _text, "csv": _csv, "json": _json}
