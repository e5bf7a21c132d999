"""``sapiens-bench weights``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, Name, TaskFilter, Trust, WeightsRoot, expanded

app = typer.Typer(no_args_is_help=True, help="Weight files: what there is, how to get it.")


@app.command("list")
def weights_list(task: TaskFilter = None, weights_root: WeightsRoot = None, cards: Cards = None) -> None:
    """Every model with weights: here or missing, size, pinned or not, source, licence."""
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
    """Fetch the files of one model into the cache; goes on after a cut; checked by size and sha256."""
    from sapiens_bench.cli import weights_cards

    weights_cards.get(name, cards=cards or [], accept_licence=accept_licence)


@app.command("check")
def weights_check(
    what: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A model's id, or a weight file.")],
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    trust_checkpoint: Trust = None,
) -> None:
    """Open a weight file: what it is, its sha256, whether it is what the card says."""
    from sapiens_bench.cli import weights_file

    weights_file.check(what, weights_root=weights_root, cards=cards or [], trust=trust_checkpoint or [])


@app.command("convert")
def weights_convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, callback=expanded)],
    out: Annotated[
        Path | None, typer.Option("--out", callback=expanded, help="Default: beside FILE, with .safetensors.")
    ] = None,
    trust_checkpoint: Trust = None,
) -> None:
    """Write a checkpoint's tensors as safetensors; prints its sha256 and the lines for a card."""
    from sapiens_bench.cli import weights_file

    weights_file.convert(file, out, trust=trust_checkpoint or [])
