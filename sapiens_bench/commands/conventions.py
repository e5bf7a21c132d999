"""``sapiens-bench verify conventions``: a model under every axis sign, or both depth directions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.commands.output import grid, say, stderr
from sapiens_bench.engine.conventions import Conventions, refuse_wrong
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import StorageFull

DEFAULT_DATASET = "synthetic-humans"
SHOWN = 8


def execute(model: str, request: Request, *, n_images: int, json_out: Path | None) -> None:
    """Score ``model`` under every choice on a few images of the request's data set, and print the table.

    Raises:
        CheckpointRejected: another choice than the declared one is clearly right.
    """
    from sapiens_bench.checks.conventions import verify_conventions
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.engine.device import resolve_device
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.model_specs import one_model

    catalog = Catalog.load(request.cards)
    request = replace(request, task=catalog.model(model).card.task)
    choice = request.data()
    card = catalog.dataset(next(iter(choice.names), DEFAULT_DATASET))
    protocol = choice.protocol or card.default_protocol(choice.task) or choice.task

    with Watcher(stderr(), 0, 0) as watcher:
        found = verify_conventions(
            one_model(model, request.model(), catalog),
            lambda: open_named(card, protocol, choice, catalog).open,
            resolve_device(request.device, request.precision),
            limit=request.limit,
            workers=request.workers or 1,
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
