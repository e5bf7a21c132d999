"""The toy cards as a catalog, and a shortcut to run them."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.events import ignore
from sapiens_bench.engine.plan import Plan, make_plan
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.store.record import RunRecord
from sapiens_bench.tasks import TASKS

FAKES = Path(__file__).parent


def install() -> None:
    """Score the toy under the task name its cards carry (cards allow the four real names only)."""
    if str(FAKES) not in sys.path:
        sys.path.insert(0, str(FAKES))
    TASKS["normal"] = "toy:make_task"


@cache
def _loaded() -> Catalog:
    return Catalog.load([FAKES])


def toy_catalog(**data: Any) -> Catalog:
    """A catalog whose toy data set has these adapter options."""
    base = _loaded()
    card = base.datasets["toy"]
    protocol = card.protocols["plain"]
    protocol = protocol.model_copy(update={"options": {**protocol.options, **data}})
    return replace(base, datasets={"toy": card.model_copy(update={"protocols": {"plain": protocol}})})


def plan(out: Path, data: dict[str, Any] | None = None, **fields: Any) -> tuple[Plan, Catalog]:
    """A plan for the toy."""
    install()
    defaults: dict[str, Any] = {"task": "normal", "models": ("toy-plain",), "datasets": ("toy",), "device": "cpu"}
    defaults |= {"n_boot": 20, "workers": 2, "shard_size": 5, "max_errors": 1.0, "out": out}
    catalog = toy_catalog(**(data or {}))
    return make_plan(Request(**{**defaults, **fields}), catalog), catalog


def go(out: Path, data: dict[str, Any] | None = None, on_event: Any = ignore, **fields: Any) -> RunRecord:
    """Run the toy."""
    planned, catalog = plan(out, data, **fields)
    return run(planned, catalog, on_event)
