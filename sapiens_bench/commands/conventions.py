"""``sapiens-bench verify conventions``: a model under every axis sign, or both depth directions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.commands.output import grid, say, stderr
from sapiens_bench.engine.conventions import Conventions, refuse_wrong, verify_conventions
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import StorageFull, UnknownName

DEFAULT_DATASET = "synthetic-humans"
SHOWN = 8


def execute(model: str, request: Request, *, n_images: int, json_out: Path | None) -> None:
    """Score ``model`` under every choice on a few images of the request's data set, and print the table.

    Raises:
        CheckpointRejected: another choice than the declared one is clearly right.
    """
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.admit import DataPlan, data_plan
    from sapiens_bench.engine.events import DataProgress

    catalog = Catalog.load(request.cards)
    entry = catalog.model(model)
    card = catalog.dataset(next(iter(request.datasets), DEFAULT_DATASET))
    task = entry.card.task

    def open_data() -> DataPlan:
        of_task = {name for name, p in card.protocols.items() if p.task == task}
        protocol = request.protocol or card.default_protocol(task)
        if protocol is None or protocol not in of_task:
            raise UnknownName(f"{task} protocol of {card.id}", protocol or task, of_task)
        return data_plan(card, protocol, catalog, request)

    with Watcher(stderr(), 0, 0) as watcher:
        found = verify_conventions(
            entry,
            open_data,
            catalog,
            request=request,
            n_images=n_images,
            on_progress=lambda done, total: watcher(DataProgress(card.id, done, total)),
        )
    _show(found)
    if json_out is not None:
        _write(json_out, found)
    refuse_wrong(found)
    say(found.advice or f"{found.model}: the declaration holds.", "yellow" if found.advice else "green")


def _show(found: Conventions) -> None:
    say(f"{found.model} on {found.n_images} images of {found.dataset}: mean error ({found.unit}) under each choice")
    rows = []
    for rank, (choice, error) in enumerate(found.scores.items()):
        if rank < SHOWN or choice == found.declared:
            marks = [word for word, is_so in (("best", rank == 0), ("declared", choice == found.declared)) if is_so]
            rows.append((choice, f"{error:.3f}", ", ".join(marks)))
    rows.append(("no model (floor)", f"{found.floor:.3f}", ""))
    grid(("Choice", "Error", ""), rows, right=(1,))


def _write(path: Path, found: Conventions) -> None:
    data = {"schema": "conventions/1", **asdict(found)}
    data["floor"] = found.floor if found.floor == found.floor else None
    try:
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageFull(f"{path} could not be written: {error.strerror}.") from None
