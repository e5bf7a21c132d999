"""``sapiens-bench verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, JsonOut, Precision, RunFolder, Split, WeightsRoot
from sapiens_bench.commands.guard import DefaultGroup

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
    from sapiens_bench.commands import verify

    verify.run(run, json_out=json_, cards=cards or [], repair=repair)


@app.command("golden")
def verify_golden(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    json_: JsonOut = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
) -> None:
    """Compare this installation with a folder of official inputs and outputs."""
    from sapiens_bench.commands import verify

    verify.golden(folder, json_out=json_, cards=cards or [], weights_root=weights_root)


@app.command("coco")
def verify_coco(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the COCO files here.")] = None,
    cards: Cards = None,
) -> None:
    """Score a run's stored poses again with pycocotools, from COCO JSON, and compare all ten statistics."""
    from sapiens_bench.commands import coco

    coco.execute(run, out=out, cards=cards or [])


@app.command("conventions")
def verify_conventions(
    model: Annotated[str, typer.Option("--model", help="A network for depth or normals.", show_default=False)],
    dataset: Annotated[str, typer.Option("--dataset", help="With exact depth or normals.")] = "synthetic-humans",
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")] = None,
    split: Split = "",
    images: Annotated[int, typer.Option("--images", min=1, help="How many images are looked at.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="NAME=VALUE for the model. Repeatable.")] = None,
    json_: JsonOut = None,
) -> None:
    """Score a model under all axis signs, or both depth directions; fail when the declared one is not the best."""
    from sapiens_bench.commands import conventions
    from sapiens_bench.commands.run import parse_options
    from sapiens_bench.engine.request import Request

    request = Request(
        task="",
        datasets=(dataset,),
        protocol=protocol,
        split=split,
        device=device,
        precision=precision.value,
        data_root=data_root,
        weights_root=weights_root,
        cards=tuple(cards or ()),
        options=parse_options(option or []),
    )
    conventions.execute(model, request, n_images=images, json_out=json_)
