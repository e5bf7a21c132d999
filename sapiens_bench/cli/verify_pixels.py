"""``sapiens-bench verify pixels``: a model under both orders of channels and the usual normalisations."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import (
    Cards,
    DataRoot,
    Device,
    JsonOut,
    Options,
    OwnInput,
    OwnNormalise,
    OwnOutput,
    OwnSpace,
    Protocol,
    Split,
    Trust,
    WeightsRoot,
    parse_options,
)
from sapiens_bench.cli.output import grid, save, say

if TYPE_CHECKING:
    from sapiens_bench.checks.pixels import PixelsFound


def pixels(
    model: Annotated[str, typer.Option("--model", help="A card's id, or a file as for --models.", show_default=False)],
    task: Annotated[str, typer.Option("--task", help="Of a model that is named by its file.")] = "",
    dataset: Annotated[str, typer.Option("--dataset", help="With truth for the task.")] = "synthetic-humans",
    protocol: Protocol = None,
    split: Split = "",
    images: Annotated[int, typer.Option("--images", min=1, help="How many images are looked at.")] = 8,
    device: Device = "auto",
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Options = None,
    trust: Trust = None,
    space: OwnSpace = "",
    input_: OwnInput = "",
    normalise: OwnNormalise = "",
    output: OwnOutput = "",
    json_: JsonOut = None,
) -> None:
    """Score a model as declared and under other channel orders and normalisations; fail when another is clearly better.

    A file does not say which of them its network was trained with, and a wrong one costs score without any error.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.pixels import examine_pixels
    from sapiens_bench.engine.request import OwnModel, Request, parse_trust
    from sapiens_bench.errors import CheckpointRejected, UsageError

    catalog = Catalog.load(cards or ())
    if not task and (any(mark in model for mark in "/:") or Path(model).is_file()):  # as --models names files
        raise UsageError(f"{model} is named by its file, and no card says what it is for. Give --task pose, say.")
    request = Request(
        task=task or catalog.model(model).card.task,
        models=(model,),
        datasets=(dataset,),
        protocol=protocol,
        split=split,
        device=device,
        data_root=data_root,
        weights_root=weights_root,
        cards=tuple(cards or ()),
        options=parse_options(option or []),
        trust=parse_trust(tuple(trust or ())),
        own=OwnModel(space, input_, normalise, output),
    )
    say(f"Scoring {model} as declared and under the other choices on {images} images ...", to_stderr=True)
    found = examine_pixels(request, catalog, images)
    _show(found)
    if json_ is not None:
        scores = {name: None if math.isnan(value) else value for name, value in found.scores.items()}
        save(json_, json.dumps({"schema": "pixels/1", **asdict(found), "scores": scores}, indent=1) + "\n")
    if found.outcome == "wrong":
        raise CheckpointRejected(found.advice)
    holds = found.outcome == "confirmed"
    said = f"{found.model}: no other choice is clearly better than the declared one."
    say(said if holds else found.advice, "green" if holds else "yellow")


def _show(found: PixelsFound) -> None:
    better = "higher" if found.higher_is_better else "lower"
    say(f"{found.model} on {found.n_images} images of {found.dataset}: {found.score} ({better} is better) by choice")
    rows = []
    for rank, (choice, value) in enumerate(found.scores.items()):
        marks = [word for word, is_so in (("best", rank == 0), ("declared", choice == found.declared)) if is_so]
        rows.append((choice, "not scored" if math.isnan(value) else f"{value:.4f}", ", ".join(marks)))
    grid(("Channel order, normalisation", "Score", ""), rows, right=(1,))
