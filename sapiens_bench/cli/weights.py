"""``sapiens-bench weights``."""

from __future__ import annotations

from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, Name, TaskFilter, WeightsRoot
from sapiens_bench.cli.weights_file import add_to

app = typer.Typer(no_args_is_help=True, help="Weight files: what there is, how to get it.")
add_to(app)


@app.command("list")
def weights_list(task: TaskFilter = None, weights_root: WeightsRoot = None, cards: Cards = None) -> None:
    """Every model with weights: here or missing, size, licence."""
    from sapiens_bench.cli import weights_cards

    weights_cards.show_list(task=task, cards=cards or [], weights_root=weights_root)


@app.command("show")
def weights_show(name: Name, weights_root: WeightsRoot = None, cards: Cards = None) -> None:
    """File, sha256, licence, and how to get it."""
    from sapiens_bench.cli import weights_cards

    weights_cards.show(name, cards=cards or [], weights_root=weights_root)


@app.command("get")
def weights_get(
    name: Name,
    accept_licence: Annotated[
        str, typer.Option("--accept-licence", metavar="LICENCE", help="Its name: you have read and accept it.")
    ] = "",
    cards: Cards = None,
) -> None:
    """Fetch the files of one model into the cache, checked by sha256."""
    from sapiens_bench.cli import weights_cards

    weights_cards.get(name, cards=cards or [], accept_licence=accept_licence)
