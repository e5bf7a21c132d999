"""``run --task all``: one table a task, one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sapiens_bench.cli.output import say
from sapiens_bench.errors import DataMissing, Interrupted, SapiensBenchError, UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sapiens_bench.engine.request import Request


def execute_all(request: Request, run: Callable[[Request], None], fmt: str) -> None:
    """Every task of the package under one request; a task that it does not fit is left out and said so.

    Args:
        run: runs a request of one task and shows its table.

    Raises:
        SapiensBenchError: the gravest complaint of the tasks, after all tables; or, where no task fits, why.
    """
    names = _with_models()
    unfit: list[SapiensBenchError] = []
    complaints: list[SapiensBenchError] = []
    for task in names:
        if fmt == "text":
            say(f"{'' if task == names[0] else chr(10)}== {task} ==", "bold")
        try:
            run(replace(request, task=task, out=None if request.out is None else request.out / task))
        except Interrupted:
            raise
        except (UnknownName, UsageError, DataMissing) as error:
            unfit.append(error)
            say(f"{task} is left out: {error}", to_stderr=True)
        except SapiensBenchError as error:
            complaints.append(error)
            say(f"{task}: {error}", to_stderr=True)
    if len(unfit) == len(names):
        raise unfit[0]
    if complaints:
        raise max(complaints, key=lambda error: error.exit_code)


def _with_models() -> list[str]:
    """The four tasks of the Sapiens paper, as far as they have a row by default; every other is asked for by name."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.tasks import PAPER_TASKS

    entries = Catalog.load().models.values()
    having = {e.card.task for e in entries if e.variant.in_all and e.card.kind != "diagnostic"}
    return [task for task in PAPER_TASKS if task in having]
