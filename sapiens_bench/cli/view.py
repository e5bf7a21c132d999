"""``sapiens-bench view``: the page of a run, made and opened."""

from __future__ import annotations

from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, OutFile, RunFolders, WithPictures
from sapiens_bench.cli.output import save, say
from sapiens_bench.errors import IncompleteRun

EXAMPLES = "Example: sapiens-bench view results/runs/NAME"
FILE = "report.html"


def view(
    runs: RunFolders,
    out: OutFile = None,
    cards: Cards = None,
    with_pictures: WithPictures = False,
    data_root: DataRoot = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Make the page of a run (tables, comparisons, plots, pictures) and open it; it lies in the run's folder."""
    from sapiens_bench.cli.report import page_text
    from sapiens_bench.store.record import read_run

    records = [read_run(folder) for folder in runs]
    first = runs[0].parent if runs[0].name == "run.json" else runs[0]
    place = out or (first if len(runs) == 1 else first.parent) / FILE
    text, incomplete = page_text(runs, records, cards=cards or [], with_pictures=with_pictures, data_root=data_root)
    save(place, text)
    say(f"Written: {place}")
    if open_:
        import webbrowser

        if not webbrowser.open(place.resolve().as_uri()):
            say("No browser was found; open the file in one.", to_stderr=True)
    if incomplete:
        raise IncompleteRun(f"INCOMPLETE: {incomplete}")
