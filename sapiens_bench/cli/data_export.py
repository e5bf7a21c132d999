"""``sapiens-bench data export``: a dense data set as a plain folder in the file format of Sapiens' own loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, Limit, Name, Protocol, Split, expanded
from sapiens_bench.cli.output import next_commands, say, stderr
from sapiens_bench.errors import UnknownName, UsageError


def export(
    name: Name,
    task: Annotated[str, typer.Option("--task", help="seg, depth or normal.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="Folder to write to.", show_default=False)],
    protocol: Protocol = None,
    split: Split = "",
    limit: Limit = None,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Write images, masks and truth as a plain folder that `--dataset folder` and Sapiens' own code read."""
    from sapiens_bench.adapters.dense.export import export_folder
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.admit import data_plan
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.request import Request
    from sapiens_bench.types import Materialised

    catalog = Catalog.load(cards or [])
    catalog.check_task(task, [name])
    if task == "pose":
        raise UsageError("`data export` writes labels, depth and normals: --task seg, depth or normal.")
    card = catalog.dataset(name)
    of_task = {key for key, p in card.protocols.items() if p.task == task}
    chosen = protocol or card.default_protocol(task)
    if chosen is None or chosen not in of_task:
        raise UnknownName(f"{task} protocol of {card.id}", chosen or task, of_task)
    request = Request(task=task, data_root=data_root, split=split, limit=limit, cards=tuple(cards or ()))
    data = data_plan(card, chosen, catalog, request)
    with ProgressView(stderr()) as view:
        if isinstance(data.adapter, Materialised):
            everything = range(data.n_samples)
            data.adapter.materialise(everything, 1, lambda done, total: view(DataProgress(card.id, done, total)))
        faults = export_folder(
            data.adapter,
            out,
            space=data.space.id if data.space else "",
            limit=data.n_samples,
            progress=lambda done, total: view(DataProgress(card.id, done, total)),
        )
    for fault in faults[:20]:
        say(f"left out: {fault}", "yellow", to_stderr=True)
    say(f"{data.n_samples - len(faults)} of {data.n_samples} samples of {card.id} ({chosen}) written to {out}")
    next_commands(
        [(f"sapiens-bench run --task {task} --dataset folder --data-root {out}", "score models on the folder")]
    )
