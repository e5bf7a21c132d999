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
    from sapiens_bench.tasks import TASKS

    unfit: list[SapiensBenchError] = []
    complaints: list[SapiensBenchError] = []
    for task in TASKS:
        if fmt == "text":
            say(f"{'' if task == next(iter(TASKS)) else chr(10)}== {task} ==", "bold")
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
    if len(unfit) == len(TASKS):
        raise unfit[0]
    if complaints:
        raise max(complaints, key=lambda error: error.exit_code)
