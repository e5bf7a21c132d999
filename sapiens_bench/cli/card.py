"""``sapiens-bench card init``: the card that says what a model's file and the flags say, to be edited and kept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import (
    Cards,
    OwnInput,
    OwnNormalise,
    OwnOptions,
    OwnOutput,
    OwnSpace,
    Task,
    expanded,
    parse_options,
)
from sapiens_bench.cli.output import say
from sapiens_bench.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Cards of your own.")

EXAMPLES = """Example:

    sapiens-bench card init net.onnx --task pose --normalise imagenet --out mine/net.yaml

    sapiens-bench run --task pose --models net --cards mine --weights-root .
"""


@app.command("init", epilog=EXAMPLES)
def init(
    model: Annotated[
        str, typer.Argument(help="NET.onnx, NET.pt2, CODE.py:CLASS, a hub folder, hf:ORG/NAME or timm:NAME.")
    ],
    task: Task,
    space: OwnSpace = "",
    input_: OwnInput = "",
    normalise: OwnNormalise = "",
    output: OwnOutput = "",
    option: OwnOptions = None,
    cards: Cards = None,
    out: Annotated[Path | None, typer.Option("--out", callback=expanded, help="File. Default: printed.")] = None,
) -> None:
    """Write the card of a model that is named by its file, with comments."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.written import as_yaml
    from sapiens_bench.engine.own_models import card_for
    from sapiens_bench.engine.request import OwnModel
    from sapiens_bench.store.files import write_atomic
    from sapiens_bench.tasks import task_kind

    if out is not None and out.exists():
        raise UsageError(f"{out} exists already. Give --out another name.")
    task_kind(task)  # a misspelt task would be a card that nobody finds
    card = card_for(
        model, task, OwnModel(space, input_, normalise, output), Catalog.load(cards or ()), parse_options(option or ())
    )
    text = as_yaml(card)
    if out is None:
        say(text.rstrip())
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, text.encode())
    say(f"Written: {out}. Edit what it says, then: --cards {shlex.quote(str(out.parent))}")
