"""``sapiens-bench errors``: everything that is missing or doubtful in a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sapiens_bench.cli.flags import OutFile, RunFolder
from sapiens_bench.cli.output import save, say, write

EXAMPLES = "Example: sapiens-bench errors results/runs/NAME --format csv --out errors.csv"


class ListFormat(StrEnum):
    """How the list is written."""

    text, csv, json = "text", "csv", "json"


def errors(
    run: RunFolder,
    format_: Annotated[ListFormat, typer.Option("--format")] = ListFormat.text,
    out: OutFile = None,
) -> None:
    """List every image without a sound result, every refusal and every note of a run, with what to do about it."""
    from sapiens_bench.report.escape import terminal
    from sapiens_bench.report.faults import render
    from sapiens_bench.store.causes import list_all
    from sapiens_bench.store.record import read_run

    root = run.parent if run.name == "run.json" else run
    causes, rows = list_all(root, read_run(root))
    text = render(causes, rows, format_.value)
    if out is not None:
        save(out, text)
        say(f"Written: {out}")
    else:
        write(terminal(text) if format_ is ListFormat.text else text)
