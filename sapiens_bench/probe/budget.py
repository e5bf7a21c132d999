"""How many steps fit into a time: measured before the first one, so that the learning rate runs its whole course."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from sapiens_bench.probe import processes
from sapiens_bench.probe.train import Job, Settings, make_optimizer, one_step, rows_of_step

WARM_UP_STEPS = 6  # not timed: the device chooses its algorithms
SHARE_MEASURED = 0.04  # of the time, spent on measuring
SHARE_USED = 0.92  # of what is left; the rest is for validation, checkpoints and a slower machine


def steps_within(job: Job, settings: Settings, seconds: float, folder: Path) -> Settings:
    """The settings with as many steps as ``seconds`` allow, ``settings.steps`` at most.

    Steps are made and timed, then weights are put back. A training in ``folder`` that had begun keeps its number.
    """
    begun = processes.from_main(lambda: _begun(folder, settings))
    if begun is not None:
        return begun
    began = time.perf_counter()
    state = {name: tensor.clone() for name, tensor in job.module.state_dict().items()}
    optimizer = make_optimizer(job, settings)
    n, first = 0, began
    while n < WARM_UP_STEPS + 2 or processes.from_main(partial(_is_within, first + SHARE_MEASURED * seconds)):
        losses = one_step(job, settings, optimizer, rows_of_step(n, settings, job.train_rows), n)
        n += 1
        if n == WARM_UP_STEPS or n % 5 == 0:
            float(losses["loss"])  # waits for the device
        if n == WARM_UP_STEPS:
            first = time.perf_counter()
    float(losses["loss"])
    each = (time.perf_counter() - first) / (n - WARM_UP_STEPS)
    job.module.load_state_dict(state)
    job.module.zero_grad(set_to_none=True)
    left = max(0.0, seconds - (time.perf_counter() - began)) * SHARE_USED
    return with_steps(settings, processes.from_main(lambda: min(settings.steps, max(1, int(left / each)))))


def _is_within(until: float) -> bool:
    return time.perf_counter() < until


def with_steps(settings: Settings, steps: int) -> Settings:
    """The same training in another number of steps: warm-up and validations follow."""
    every = max(1, steps // 10) if settings.validate_every else 0
    return replace(settings, steps=steps, warm_up=min(settings.warm_up, steps // 4), validate_every=every)


def _begun(folder: Path, settings: Settings) -> Settings | None:
    """The settings of the checkpoint there, if they are these but for the number of steps."""
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return None
    try:
        found = json.loads(torch.load(path, map_location="cpu", weights_only=True)["settings"])
    except (RuntimeError, KeyError, ValueError, OSError, EOFError):
        return None  # ``fit`` says what is wrong with it
    planned = with_steps(settings, int(found["steps"]))
    same = json.loads(json.dumps(asdict(planned)))
    return planned if same == found else None
