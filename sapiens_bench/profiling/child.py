"""One measurement, as a job for a process of its own (``workers.Child``): plain values in, plain values out.

The job names its builder as "module:function", because this folder knows no engine.

Jobs: ``{"kind": "ceiling", "device", "precision", "threads"}`` and ``{"kind": "profile", "build", "arguments",
"device", "batch", "compile", "channels_last", "budget", "threads"}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sapiens_bench.workers import find


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

    builder = cast("Callable[..., Any]", find(str(job["build"])))
    build, x = builder(**job["arguments"])
    measured = profile(
        build,
        x,
        device=job["device"],
        batch=int(job["batch"]),
        compiled=bool(job["compile"]),
        channels_last=bool(job["channels_last"]),
        budget=Budget(**job["budget"]),
    )
    return measured.model_dump(mode="json")
