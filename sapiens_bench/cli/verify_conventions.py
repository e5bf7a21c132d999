"""``sapiens-bench verify conventions``: a model under every axis sign, or both depth directions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import (
    Cards,
    DataRoot,
    Device,
    JsonOut,
    Options,
    Precision,
    Protocol,
    Split,
    WeightsRoot,
    parse_options,
)
from sapiens_bench.cli.output import grid, save, say, stderr

if TYPE_CHECKING:
    from sapiens_bench.engine.conventions import Conventions
    from sapiens_bench.engine.request import Request

SHOWN = 8


def conventions(
    model: Annotated[str, typer.Option("--model", help="A network for depth or normals.", show_default=False)],
    dataset: Annotated[str, typer.Option("--dataset", help="With exact depth or normals.")] = "synthetic-humans",
    protocol: Protocol = None,
    split: Split = "",
    images: Annotated[int, typer.Option("--images", min=1, help="How many images are looked at.")] = 8,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Options = None,
    json_: JsonOut = None,
) -> None:
    """Score a model under all axis signs, or both depth directions; fail when the declared one is not the best."""
    from sapiens_bench.engine.conventions import refuse_wrong
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
    found = _examined(model, dataset, request, images)
    _show(found)
    if json_ is not None:
        data = {"schema": "conventions/1", **asdict(found)}
        data["floor"] = found.floor if found.floor == found.floor else None
        save(json_, json.dumps(data, indent=1, allow_nan=False) + "\n")
    refuse_wrong(found)
    say(found.advice or f"{found.model}: the declaration holds.", "yellow" if found.advice else "green")


def _examined(model: str, dataset: str, request: Request, n_images: int) -> Conventions:
    """The model under every choice.

    Raises:
        UnknownName: no such model, data set, protocol or option.
        UsageError: the model has no convention. WeightsMissing ...: it cannot be loaded.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.conventions import verify_conventions
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.engine.device import resolve_device
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.model_specs import one_model

    catalog = Catalog.load(request.cards)
    request = replace(request, task=catalog.model(model).card.task)
    card, choice = catalog.dataset(dataset), request.data()
    protocol = choice.protocol or card.default_protocol(choice.task) or choice.task
    with ProgressView(stderr()) as view:
        return verify_conventions(
            one_model(model, request.model(), catalog),
            lambda: open_named(card, protocol, choice, catalog).open,
            resolve_device(request.device, request.precision),
            workers=request.workers or 1,
            n_images=n_images,
            on_progress=lambda done, total: view(DataProgress(card.id, done, total)),
        )


def _show(found: Conventions) -> None:
    say(f"{found.model} on {found.n_images} images of {found.dataset}: mean error ({found.unit}) under each choice")
    rows = []
    for rank, (choice, error) in enumerate(found.scores.items()):
        if rank < SHOWN or choice == found.declared:
            marks = [word for word, is_so in (("best", rank == 0), ("declared", choice == found.declared)) if is_so]
            rows.append((choice, f"{error:.3f}", ", ".join(marks)))
    rows.append(("no model (floor)", f"{found.floor:.3f}", ""))
    grid(("Choice", "Error", ""), rows, right=(1,))
