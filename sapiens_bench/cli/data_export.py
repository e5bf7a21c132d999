"""``sapiens-bench data export``: a dense data set as a plain folder in the file format of Sapiens' own loaders."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, Limit, Name, Protocol, Split, expanded
from sapiens_bench.cli.output import next_commands, say, stderr
from sapiens_bench.errors import TooManyErrors, UsageError


def export(
    name: Name,
    task: Annotated[str, typer.Option("--task", help="seg, depth, normal, matting or albedo.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="Folder to write to.", show_default=False)],
    protocol: Protocol = None,
    split: Split = "",
    limit: Limit = None,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Write images, masks and truth as a plain folder that `run` and `score` (and Sapiens' own code) read."""
    from sapiens_bench.adapters.dense.export import DECLARED, TASKS, export_folder
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.licences import leave_terms
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.request import Request
    from sapiens_bench.tasks import task_kind
    from sapiens_bench.types import Materialised

    catalog = Catalog.load(cards or [])
    card = catalog.dataset(name)
    if task_kind(task).name not in TASKS:
        raise UsageError(f"--task {task}: a folder of {', '.join(TASKS)} can be written, and of nothing else.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file, and an export needs a folder. Give --out another name.")
    chosen = protocol or card.default_protocol(task) or task
    request = Request(task=task, data_root=data_root, split=split, limit=limit)
    data = open_named(card, chosen, request.data(), catalog)
    adapter, n_samples, space = data.open.adapter, data.facts.n_samples, data.spec.space
    with ProgressView(stderr()) as view:
        if isinstance(adapter, Materialised):
            adapter.materialise(range(n_samples), 1, lambda done, total: view(DataProgress(card.id, done, total)))
        faults = export_folder(
            adapter,
            out,
            space=space.id if space else "",
            ignored=255 if space is None or space.ignore_index is None else space.ignore_index,
            limit=n_samples,
            progress=lambda done, total: view(DataProgress(card.id, done, total)),
        )
    for note in tuple(getattr(adapter, "notes", ()))[:20]:
        say(f"note: {note}", "yellow", to_stderr=True)
    for fault in faults[:20]:
        say(f"left out: {fault}", "yellow", to_stderr=True)
    if faults and len(faults) == n_samples:
        where = f" --data-root {shlex.quote(str(data_root))}" if data_root else ""
        raise TooManyErrors(
            f"None of the {n_samples} samples of {card.id} ({chosen}) could be read, so nothing was written to {out}: "
            f"{str(faults[0]).rstrip(chr(46))}. `sapiens-bench data check {card.id}{where}` looks at all of them."
        )
    say(f"{n_samples - len(faults)} of {n_samples} samples of {card.id} ({chosen}) written to {out}")
    if terms := leave_terms(card, out):
        say(terms, "yellow")
    next_commands(
        [
            (
                f"sapiens-bench run --task {task} {_as_data(task, out, task in DECLARED)}",
                "score models on the folder",
            )
        ]
    )


def _as_data(task: str, out: Path, is_declared: bool) -> str:
    """The options of ``run`` that read the folder back."""
    if is_declared:
        return f"--dataset folder --data-root {shlex.quote(str(out))}"
    space = " --data-option colour_space=linear" if task == "albedo" else ""
    return f"--dataset {shlex.quote(f'truth:{out}')}{space} --models all"
