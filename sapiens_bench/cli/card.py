"""``sapiens-bench card init``: the card that says what a model's file and the flags say, to be edited and kept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from sapiens_bench.cards.schema import ModelCard

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
    code = Path(model.partition(".py:")[0]).expanduser().parent if card.wrapper.startswith("./") else None
    if out is not None and code is not None and out.parent.resolve() != code.resolve():
        raise UsageError(f"A card lies beside the code that it names: give --out {shlex.quote(str(code / out.name))}.")
    if out is None:
        say(text.rstrip())
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, text.encode())
    say(f"Written: {out}. Edit what it says, then: {_run_line(card, model, out)}")


def _run_line(card: ModelCard, model: str, out: Path) -> str:
    """The command that runs the card as it was written."""
    from sapiens_bench.cards.hashes import file_sha256

    (variant, *_), path = card.variants, Path(model).expanduser()
    words = ["sapiens-bench", "run", "--task", card.task, "--models", variant.id, "--cards", str(out.parent)]
    if variant.weights is not None and path.exists():
        words += ["--weights-root", str(path.parent)]
    if variant.weights is not None and variant.weights.format in ("torchscript", "export"):
        words += ["--trust-checkpoint", f"{path}:{file_sha256(path)}"]
    return shlex.join(words)
