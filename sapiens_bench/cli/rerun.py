"""``sapiens-bench rerun``: a run once more, from its record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import DataRoot, Format, OwnWeightsRoot, expanded
from sapiens_bench.cli.output import typed
from sapiens_bench.errors import UsageError

EXAMPLES = """Example:

    sapiens-bench rerun results/runs/NAME --out again && sapiens-bench gate results/runs/NAME again
"""


def rerun(
    run: Annotated[Path, typer.Argument(help="Run folder.", callback=expanded)],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="New run folder.")],
    device: Annotated[str, typer.Option("--device", help="Default: as the run.")] = "",
    data_root: DataRoot = None,
    weights_root: OwnWeightsRoot = None,
    format_: Annotated[Format, typer.Option("--format", help="Of the table printed.")] = Format.text,
) -> None:
    """Do a run once more, as its record says, into a new folder."""
    from sapiens_bench.cli.run import execute
    from sapiens_bench.engine.again import request_of
    from sapiens_bench.store.record import read_run

    if os.path.realpath(out) == os.path.realpath(run):
        raise UsageError(f"{out} is the run itself: give --out another folder.")
    record = read_run(run)
    places = {"device": device or None, "data_root": data_root, "weights_root": weights_root}
    changes = {name: value for name, value in places.items() if value is not None}
    execute(request_of(record, out=out, part=None, command=typed(), **changes), fmt=format_.value)
