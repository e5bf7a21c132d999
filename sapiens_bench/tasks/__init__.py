"""What is predicted and how it is scored, one folder per task."""

from __future__ import annotations

TASKS: dict[str, str] = {  # name -> "module:function"; make_task(protocol, space) -> Task, imported on first use
    "pose": "sapiens_bench.tasks.pose.task:make_task",
    "seg": "sapiens_bench.tasks.seg.task:make_task",
    "depth": "sapiens_bench.tasks.depth.task:make_task",
    "normal": "sapiens_bench.tasks.normal.task:make_task",
}
