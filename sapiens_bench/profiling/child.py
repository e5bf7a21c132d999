"""One measurement in a process of its own: ``python -m sapiens_bench.profiling.child``, JSON in, JSON out.

Standard input holds one job, standard output gets one line: ``{"ok": true, "result": ...}`` or
``{"ok": false, "error": <class>, "message": <text>, "out_of_memory": <bool>}``. Whatever libraries print goes to
standard error. The job names its builder as "module:function", because this folder knows no engine.

Jobs: ``{"kind": "ceiling", "device", "precision", "threads"}`` and ``{"kind": "profile", "build", "arguments",
"device", "batch", "compile", "budget", "threads"}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, cast

from sapiens_bench.errors import SapiensBenchError


def main() -> int:
    """Do the job on standard input."""
    answer_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints must not spoil the answer
    try:
        answer = {"ok": True, "result": work(json.load(sys.stdin))}
    except BaseException as error:  # any model may raise anything; the parent tells the user
        answer = {"ok": False, "error": type(error).__name__, "message": _text(error), "out_of_memory": _is_oom(error)}
        if not isinstance(error, SapiensBenchError | MemoryError):
            import traceback

            traceback.print_exc()
    answer_to.write(json.dumps(answer, allow_nan=True) + "\n")
    answer_to.flush()
    return 0 if answer["ok"] else 1


def work(job: dict[str, Any]) -> dict[str, Any]:
    """The result of a job as plain JSON values."""
    import torch

    if job.get("threads"):
        torch.set_num_threads(int(job["threads"]))
    if job["kind"] == "ceiling":
        from sapiens_bench.profiling.roofline import measure_ceiling

        return measure_ceiling(job["device"], job["precision"]).model_dump(mode="json")
    from sapiens_bench.profiling.stages import profile
    from sapiens_bench.profiling.timing import Budget

    module, _, name = str(job["build"]).partition(":")
    builder = cast("Callable[..., Any]", getattr(importlib.import_module(module), name))
    build, x = builder(**job["arguments"])
    measured = profile(
        build,
        x,
        device=job["device"],
        batch=int(job["batch"]),
        compiled=bool(job["compile"]),
        budget=Budget(**job["budget"]),
    )
    return measured.model_dump(mode="json")


def _text(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(lines[:4])[:600] or type(error).__name__


def _is_oom(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text


if __name__ == "__main__":
    sys.exit(main())
