"""``sapiens-bench errors``: everything that is missing or doubtful in a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import RunFolder


class ListFormat(StrEnum):
    """How the list is written."""

    text, csv, json = "text", "csv", "json"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog="Example: sapiens-bench errors results/runs/NAME --format csv --out errors.csv")(errors)


def errors(
    run: RunFolder,
    format_: Annotated[ListFormat, typer.Option("--format")] = ListFormat.text,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file, not to stdout.")] = None,
) -> None:
    """List every image without a sound result, every refusal and every note of a run, with what to do about it."""
    from sapiens_bench.commands.output import say, write
    from sapiens_bench.errors import StoreError
    from sapiens_bench.report.faults import render
    from sapiens_bench.store.causes import ErrorRow, Found, error_rows, run_causes
    from sapiens_bench.store.files import save_output
    from sapiens_bench.store.record import Cause, read_run

    root = run.parent if run.name == "run.json" else run
    record = read_run(root)
    causes, rows = run_causes(record), list[ErrorRow]()
    for cell in record.cells:
        if cell.status in ("done", "incomplete"):
            try:
                rows += error_rows(root, cell)
            except StoreError as error:  # the others are listed all the same
                cause = Cause(kind=type(error).__name__, side="run", detail=str(error))
                causes.append(Found(cell.dataset, cell.model, cause))
    text = render(causes, rows, format_.value)
    if out is None:
        from sapiens_bench.report.escape import terminal

        write(terminal(text) if format_ is ListFormat.text else text)
    else:
        save_output(out, text)
        say(f"Written: {out}")
