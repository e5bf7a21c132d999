"""``sapiens-bench site``: a leaderboard of the runs below a folder, as plain pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, expanded
from sapiens_bench.cli.output import say

EXAMPLES = "Example: sapiens-bench site results --out site"


def site(
    root: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Runs lie in it, at any depth.", show_default=False, callback=expanded),
    ],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="Folder to write to.", show_default=False)],
    cards: Cards = None,
) -> None:
    """Write a leaderboard of every verified run below a folder: index.html, and a page for each run."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.errors import UsageError
    from sapiens_bench.publish.site import site as made_of
    from sapiens_bench.store.files import write_atomic

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; the site is a folder.")
    made = made_of(root, Catalog.load(cards or []))
    for name, text in made.files.items():
        write_atomic(out / name, text.encode())
    for name, reason in made.left_out.items():
        say(f"left out: {name}: {reason}", "yellow", to_stderr=True)
    say(f"Written: {out / 'index.html'} and pages of {made.n_runs} run(s)")
