"""What is predicted and how it is scored, one folder per task: a new one is a folder and a line, or an entry point."""

from __future__ import annotations

from sapiens_bench.cards.code import CodeTable
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError
from sapiens_bench.types import Task, TaskKind

TASKS: dict[str, str] = {  # name -> "module:TaskKind", imported on first use
    "pose": "sapiens_bench.tasks.pose.task:POSE",
    "seg": "sapiens_bench.tasks.seg.task:SEG",
    "depth": "sapiens_bench.tasks.depth.task:DEPTH",
    "normal": "sapiens_bench.tasks.normal.task:NORMAL",
    "pointmap": "sapiens_bench.tasks.pointmap.task:POINTMAP",
    "matting": "sapiens_bench.tasks.matting.task:MATTING",
    "albedo": "sapiens_bench.tasks.albedo.task:ALBEDO",
}
PAPER_TASKS = ("pose", "seg", "depth", "normal")  # of Sapiens; what ``run --task all`` means
TABLE = CodeTable("task", TASKS, "sapiens_bench.tasks")


def task_kind(name: str) -> TaskKind:
    """The task of this name, ours or a plug-in's.

    Raises:
        UnknownName: there is none; carries the nearest.
        CardError: a plug-in cannot be imported, or exports something else.
    """
    found = TABLE.find(name)
    if not isinstance(found, TaskKind):
        raise CardError(f"task {name!r}: the entry point gives {type(found).__name__}, not a sapiens_bench TaskKind.")
    return found


def task_names() -> list[str]:
    """Every task there is, ours first."""
    return TABLE.names()


def task_for(protocol: EvalProtocol, space: SpaceCard | None, where: str = "") -> Task:
    """The task as a protocol scores it, in the set ``space``.

    Args:
        where: the protocol's owner, for messages.

    Raises:
        UnknownName: no such task.
        CardError: a wrong scoring key, or a set that the task cannot be scored in.
    """
    kind = task_kind(protocol.task)
    about = where or f"protocol {protocol.title!r}"
    made = kind.make(read_options(kind.Scoring, protocol.scoring, f"{about}, scoring"), space)
    return made
