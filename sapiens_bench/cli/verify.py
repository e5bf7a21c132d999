"""``sapiens-bench verify``: check a run or this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli import verify_conventions, verify_golden, verify_pixels
from sapiens_bench.cli.flags import Cards, JsonOut, RunFolder, expanded
from sapiens_bench.cli.guard import DefaultGroup

app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Check a run (`verify RUN`) or this installation (`verify golden DIR`).",
)


@app.command("run")
def verify_run(
    run: RunFolder,
    json_: JsonOut = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make a damaged run.json again from the rows.")] = False,
    cards: Cards = None,
) -> None:
    """Read all rows of a run again (planned, found, duplicate, corrupt, errors, hashes) and make its scores again."""
    from sapiens_bench.cli import verify_run as body

    body.run(run, json_out=json_, cards=cards or [], repair=repair)


app.command("golden")(verify_golden.golden)


@app.command("coco")
def verify_coco(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", callback=expanded, help="Keep the COCO files here.")] = None,
    cards: Cards = None,
) -> None:
    """Score a run's stored poses again with pycocotools, from COCO JSON, and compare all ten statistics."""
    from sapiens_bench.cli import verify_coco as body

    body.execute(run, out=out, cards=cards or [])


app.command("conventions")(verify_conventions.conventions)
app.command("pixels")(verify_pixels.pixels)
