"""``sapiens-bench pareto``: accuracy against cost, from runs and profiles of the same models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import Cards, Format, FormatOption, OutFile, expanded
from sapiens_bench.cli.output import say, show
from sapiens_bench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from sapiens_bench.profiling.record import ProfileRecord
    from sapiens_bench.store.record import RunRecord

EXAMPLES = "Example: sapiens-bench pareto results/runs/NAME results/profiles/NAME --format md --out pareto.md"
_ENDINGS = {"text": "txt", "md": "md", "latex": "tex", "html": "html", "csv": "csv", "json": "json"}


def pareto(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|PROFILE",
            help="Folders that `run` and `profile` printed, in any order.",
            show_default=False,
            callback=expanded,
        ),
    ],
    format_: FormatOption = Format.text,
    out: OutFile = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", callback=expanded, help="Folder of the plots. Default: beside --out or the profile."),
    ] = None,
    cards: Cards = None,
) -> None:
    """Accuracy against cost: tables with the frontier marked, scaling laws, and plots (PNG and SVG)."""
    show_pareto(folders, fmt=format_.value, out=out, plots=plots, cards=cards or [])


def show_pareto(
    folders: Sequence[Path], *, fmt: str, out: Path | None, plots: Path | None, cards: Sequence[Path]
) -> None:
    """Join runs and profiles, print or write the tables and draw the plots.

    Args:
        out: the file to write. One without an ending is a folder for tables and plots.

    Raises:
        StoreError: a folder is neither a run nor a profile.
        UsageError: there is no profile among them, or nothing in common; or ``out`` is named as a picture.
    """
    if out is not None and out.suffix.lower() in (".png", ".svg", ".pdf", ".jpg"):
        raise UsageError(f"{out}: --out is the file of the tables. The plots go to a folder: --plots {out.parent}.")
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.report import pareto as report
    from sapiens_bench.report.plots import draw

    runs, profiles, first = _read(folders)
    groups = report.join(runs, profiles, Catalog.load(cards))
    if not groups:
        raise UsageError("No model of these runs has been profiled. Profile the same models: `sapiens-bench profile`.")
    if out is not None and (out.is_dir() or not out.suffix):
        plots, out = plots or out, out / f"pareto.{_ENDINGS[fmt]}"
    places = [plots, None if out is None else out.parent / f"{out.stem}-plots", first / "pareto"]
    folder = next(place for place in places if place is not None)
    show(report.document(groups), fmt, out)
    written = draw(groups, folder)
    say(f"Plots:   {len(written)} files in {folder}", to_stderr=fmt != "text")


def _read(folders: Sequence[Path]) -> tuple[list[RunRecord], list[ProfileRecord], Path]:
    from sapiens_bench.profiling.record import FILE, read_profile
    from sapiens_bench.store.record import read_run

    runs, profiles, homes = [], [], []
    for folder in folders:
        is_run = (folder / "run.json").exists()
        is_profile = (folder / FILE).exists() or folder.suffix == ".json"
        if is_run and (run := read_run(folder)).cells:
            runs.append(run)
        if is_profile:
            profiles.append(read_profile(folder))
            homes.append(folder if folder.is_dir() else folder.parent)
        if not (is_run or is_profile):
            raise StoreError(f"{folder} holds neither run.json nor {FILE}.")
    if not profiles:
        raise UsageError("Give at least one folder that `sapiens-bench profile` printed, beside the runs.")
    return runs, profiles, homes[0]
