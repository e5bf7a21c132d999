"""The training loop: AdamW, warm-up and decay, clipping, checkpoints, a log.

Everything a step does follows from its number (which rows, which learning rate) and from the checkpoint, so a process
that is killed goes on from the last checkpoint and ends, on a CPU, with the same weights bit for bit.

    <folder>/checkpoint.pt     what is trained and how, step, weights, optimizer state; replaced by rename
    <folder>/log.csv           one line every ``log_every`` steps, and one at each validation
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.errors import ProbeDiverged, StoreError
from sapiens_bench.probe import processes
from sapiens_bench.probe.optim import layer_decay
from sapiens_bench.probe.schedule import Decay, factor
from sapiens_bench.probe.views import draws
from sapiens_bench.store.files import write_atomic

Losses = dict[str, Tensor]
COLUMNS = ("step", "split", "lr", "loss")
APART = 1 << 40  # between the seeds of two processes, so that they draw other numbers


@dataclass(frozen=True)
class Settings:
    """What a training does; two with the same settings, data and machine end with the same weights."""

    steps: int
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    layer_decay: float = 0.85  # of a fine-tuned trunk; a head alone has one rate
    warm_up: int = 50
    decay: Decay = "cosine"
    clip: float = 1.0  # of the gradient's norm; 0: none
    seed: int = 0
    checkpoint_every: int = 100
    log_every: int = 20
    validate_every: int = 0  # 0: at the end only
    bf16: bool = False  # autocast of the head


@dataclass(frozen=True)
class Job:
    """What is trained on what."""

    module: nn.Module
    losses: Callable[[nn.Module, Sequence[int], int | None], Losses]  # rows, step (None: validation) -> task losses
    train_rows: Sequence[int]
    validation_rows: Sequence[int]
    layer_name: Callable[[str], str] = str  # a parameter's name as ``layer_decay`` reads it
    n_layers: int = 0
    device: str = "cpu"
    made_from: Mapping[str, str] = field(default_factory=dict)  # what a checkpoint must agree in, by names for people


def rows_of_step(step: int, settings: Settings, rows: Sequence[int]) -> list[int]:
    """The rows of a step: one shuffled pass over all of them after another, cut into batches."""
    size = min(settings.batch, len(rows))
    first = step * size
    out: list[int] = []
    while len(out) < size:
        epoch, place = divmod(first + len(out), len(rows))
        order = draws("probe epoch", settings.seed, epoch).permutation(len(rows))
        out += [rows[int(i)] for i in order[place : place + size - len(out)]]
    return out


def fit(
    job: Job, settings: Settings, folder: Path, on_step: Callable[[int, float], None] = lambda step, loss: None
) -> float:
    """Train; goes on from a checkpoint in ``folder`` of the same training. Returns the last validation loss.

    Raises:
        ProbeDiverged: the loss, or that of the rows held back, is not finite; says the step. The last good checkpoint
            is kept.
        StoreError: the checkpoint is of another training (says in what), or damaged.
    """
    optimizer = make_optimizer(job, settings)
    step, lines = _resume(job, optimizer, settings, folder)
    processes.same_as_main(job.module)
    rates = [group["lr"] for group in optimizer.param_groups]
    last = float("nan")
    waits = stops_to_look(job.device)
    pending: list[Losses] = []
    while step < settings.steps:
        share = factor(step, settings.steps, settings.warm_up, settings.decay)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        pending.append(one_step(job, settings, optimizer, rows_of_step(step, settings, job.train_rows), step))
        step += 1
        is_validated = step == settings.steps or bool(settings.validate_every and step % settings.validate_every == 0)
        is_saved = step == settings.steps or step % settings.checkpoint_every == 0
        is_logged = step % settings.log_every == 0
        if waits and not (is_logged or is_validated or is_saved):
            continue
        losses = _numbers(pending, step, settings)
        pending.clear()
        if is_logged:
            lines.append(_line(step, "train", settings.lr * share, losses))
        if is_validated:
            found = _validated(job, settings)
            _refuse_infinite(found, f"The validation loss after step {step}", settings)
            lines.append(_line(step, "validation", settings.lr * share, found))
            last = found["loss"]
        if is_saved and processes.is_main():
            _save(job, optimizer, rates, settings, step, lines, folder)
        on_step(step, losses["loss"])
    return last if last == last else _last_validation(lines)


def stops_to_look(device: str) -> bool:
    """Whether to read a loss costs time, so that it is read only where a line of the log or a checkpoint needs it."""
    return device.startswith("cuda")


def make_optimizer(job: Job, settings: Settings) -> torch.optim.AdamW:
    """AdamW with the groups of the released Sapiens v1 configurations: one a pair of rate and weight decay."""
    named = [(name, p) for name, p in job.module.named_parameters() if p.requires_grad]
    table = layer_decay(
        ((job.layer_name(name), p) for name, p in named),
        num_layers=job.n_layers,
        rate=settings.layer_decay,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        setting = table[job.layer_name(name)]
        groups.setdefault((setting["lr"], setting["weight_decay"]), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()], betas=settings.betas
    )


def one_step(job: Job, settings: Settings, optimizer: torch.optim.Optimizer, rows: Sequence[int], step: int) -> Losses:
    """Change the weights once. Returns the losses before, on the device, without gradient."""
    job.module.train()
    torch.manual_seed(settings.seed * 1_000_003 + step + processes.index() * APART)  # of dropout, and of drawn points
    optimizer.zero_grad(set_to_none=True)
    losses = _autocast(job, settings, rows, step)
    total = torch.stack(list(losses.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    processes.mean_gradients(parameters)
    if settings.clip:
        nn.utils.clip_grad_norm_(parameters, settings.clip)
    optimizer.step()
    found = {"loss": total, **losses}
    return {name: processes.averaged(loss.detach()) for name, loss in found.items()}


def _numbers(pending: Sequence[Losses], step: int, settings: Settings) -> dict[str, float]:
    """The losses of the last step.

    Raises:
        ProbeDiverged: one of those since the last look is not finite; says the first.
    """
    names = list(pending[0])
    table = torch.stack([torch.stack([losses[name].float() for name in names]) for losses in pending]).tolist()
    found = [dict(zip(names, row, strict=True)) for row in table]
    for number, losses in enumerate(found, step - len(found) + 1):
        _refuse_infinite(losses, f"The loss of step {number}", settings)
    return found[-1]


def _refuse_infinite(losses: Mapping[str, float], what: str, settings: Settings) -> None:
    """Raises ProbeDiverged: the sum is not finite. After the last step only the rows held back can tell."""
    if math.isfinite(losses["loss"]):
        return
    bad = ", ".join(f"{task} {value:g}" for task, value in losses.items() if task != "loss")
    raise ProbeDiverged(
        f"{what} is not finite ({bad}). The last good checkpoint, if there is one, is kept. Give a smaller --lr (it "
        f"was {settings.lr:g}) or --precision fp32, and another --out."
    )


def _autocast(job: Job, settings: Settings, rows: Sequence[int], step: int | None) -> Losses:
    with torch.autocast(job.device.split(":")[0], torch.bfloat16, enabled=settings.bf16):
        return job.losses(job.module, rows, step)


def _validated(job: Job, settings: Settings) -> dict[str, float]:
    """What the first process finds: all look at the same rows, and choices that follow must be the same."""
    found = validate(job, settings)
    return processes.from_main(lambda: found)


def validate(job: Job, settings: Settings) -> dict[str, float]:
    """Mean losses over the validation rows, batch by batch; ``loss`` is their sum."""
    job.module.eval()
    sums: dict[str, float] = {}
    rows = list(job.validation_rows)
    with torch.no_grad():
        for first in range(0, len(rows), settings.batch):
            part = rows[first : first + settings.batch]
            for task, loss in _autocast(job, settings, part, None).items():
                sums[task] = sums.get(task, 0.0) + float(loss) * len(part)
    means = {task: total / max(len(rows), 1) for task, total in sums.items()}
    return {"loss": sum(means.values()), **means}


# on disk -------------------------------------------------------------------------------------------------------------


def _line(step: int, split: str, lr: float, losses: Mapping[str, float]) -> dict[str, Any]:
    return {"step": step, "split": split, "lr": f"{lr:.4g}", **{name: f"{value:.6g}" for name, value in losses.items()}}


def _last_validation(lines: Sequence[Mapping[str, Any]]) -> float:
    return next((float(line["loss"]) for line in reversed(lines) if line["split"] == "validation"), float("nan"))


def _save(
    job: Job,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    settings: Settings,
    step: int,
    lines: Sequence[Mapping[str, Any]],
    folder: Path,
) -> None:
    """Log first, then the checkpoint: what the log says beyond the checkpoint is cut off on resume."""
    text = io.StringIO()
    tasks = [name for name in lines[-1] if name not in COLUMNS] if lines else []
    writer = csv.DictWriter(text, [*COLUMNS, *tasks], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomic(folder / "log.csv", text.getvalue().encode())
    data = io.BytesIO()
    state = {
        "settings": json.dumps(asdict(settings), sort_keys=True),
        "made_from": dict(job.made_from),
        "step": step,
        "module": dict(job.module.state_dict()),
        "optimizer": optimizer.state_dict(),
        "rates": list(rates),
        "lines": [dict(line) for line in lines],
    }
    torch.save(state, data)
    write_atomic(folder / "checkpoint.pt", data.getbuffer())


def _resume(
    job: Job, optimizer: torch.optim.Optimizer, settings: Settings, folder: Path
) -> tuple[int, list[dict[str, Any]]]:
    """The step to go on from and the log so far; the module and the optimizer are brought there."""
    path = folder / "checkpoint.pt"
    try:
        state = processes.from_main(lambda: _checkpoint(path))
        if state is None:
            return 0, []
        others = _differences(state, settings, job.made_from)
        if not others:
            job.module.load_state_dict(state["module"])
            optimizer.load_state_dict(state["optimizer"])
            for group, rate in zip(optimizer.param_groups, state["rates"], strict=True):
                group["lr"] = rate
    except (RuntimeError, KeyError, ValueError, OSError, EOFError) as error:
        raise StoreError(
            f"{path} cannot be used ({str(error).splitlines()[0]:.200}). Delete it to begin anew."
        ) from None
    if others:
        raise StoreError(
            f"{path} is of another training: {', '.join(others)}. Give another --out (--start-from "
            f"{folder.parent} begins with its weights), or delete it."
        )
    return int(state["step"]), list(state["lines"])


def _differences(state: Mapping[str, Any], settings: Settings, made_from: Mapping[str, str]) -> list[str]:
    """In what a checkpoint's training is another one; settings with both values."""
    there, here = json.loads(state["settings"]), json.loads(json.dumps(asdict(settings)))
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    found = [f"{name} {there.get(name)} there, {here.get(name)} now" for name in names]
    before = state.get("made_from", {})  # absent from checkpoints of earlier versions: of an unknown training
    return found + [f"another {name}" for name in {**before, **made_from} if before.get(name) != made_from.get(name)]


def _checkpoint(path: Path) -> dict[str, Any] | None:
    """What lies in the file; None without one."""
    if not path.is_file():
        return None
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return found
