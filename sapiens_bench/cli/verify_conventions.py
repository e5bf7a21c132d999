"""``sapiens-bench verify conventions``: a model under every axis sign, or both depth directions."""

from __future__ import annotations

import json
from dataclasses import asdict
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
from sapiens_bench.errors import UnknownName

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.schema import DatasetCard
    from sapiens_bench.engine.admit import DataPlan
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
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.conventions import refuse_wrong, verify_conventions
    from sapiens_bench.engine.events import DataProgress
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
    catalog = Catalog.load(request.cards)
    entry, card = catalog.model(model), catalog.dataset(dataset)
    with ProgressView(stderr()) as view:
        found = verify_conventions(
            entry,
            lambda: _data(card, entry.card.task, catalog, request),
            catalog,
            request=request,
            n_images=images,
            on_progress=lambda done, total: view(DataProgress(card.id, done, total)),
        )
    _show(found)
    if json_ is not None:
        data = {"schema": "conventions/1", **asdict(found)}
        data["floor"] = found.floor if found.floor == found.floor else None
        save(json_, json.dumps(data, indent=1, allow_nan=False) + "\n")
    refuse_wrong(found)
    say(found.advice or f"{found.model}: the declaration holds.", "yellow" if found.advice else "green")


def _data(card: DatasetCard, task: str, catalog: Catalog, request: Request) -> DataPlan:
    """The data set under the protocol asked for, or its default for the model's task.

    Raises:
        UnknownName: it has no such protocol for that task.
    """
    from sapiens_bench.engine.admit import data_plan

    of_task = {name for name, protocol in card.protocols.items() if protocol.task == task}
    chosen = request.protocol or card.default_protocol(task)
    if chosen is None or chosen not in of_task:
        raise UnknownName(f"{task} protocol of {card.id}", chosen or task, of_task)
    return data_plan(card, chosen, catalog, request)


def _show(found: Conventions) -> None:
    say(f"{found.model} on {found.n_images} images of {found.dataset}: mean error ({found.unit}) under each choice")
    rows = []
    for rank, (choice, error) in enumerate(found.scores.items()):
        if rank < SHOWN or choice == found.declared:
            marks = [word for word, is_so in (("best", rank == 0), ("declared", choice == found.declared)) if is_so]
            rows.append((choice, f"{error:.3f}", ", ".join(marks)))
    rows.append(("no model (floor)", f"{found.floor:.3f}", ""))
    grid(("Choice", "Error", ""), rows, right=(1,))
