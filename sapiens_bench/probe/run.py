"""A probe from request to files: data, views, feature maps, learning rate, training, head file and cards."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.folders import cache_root
from sapiens_bench.engine.choices import DataChoice, Places
from sapiens_bench.engine.data_specs import FoundData, open_named
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.ray_cluster import jobs_on
from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.dense_head import HeadPlan
from sapiens_bench.models.parts.head_file import Head, HeadFile, build_head, save_head
from sapiens_bench.models.parts.trunks import Trunk, open_trunk
from sapiens_bench.probe import launch, processes
from sapiens_bench.probe.budget import steps_within
from sapiens_bench.probe.cache import Rows, TrainingData, maps_of, near, views_of
from sapiens_bench.probe.feed import ProbeData, losses_of, statistics_of
from sapiens_bench.probe.fresh import source_hw
from sapiens_bench.probe.leakage import (
    doubt_of_groups,
    refuse_shared_groups,
    refuse_shared_pictures,
    split_groups,
)
from sapiens_bench.probe.objective import Objective, class_weights
from sapiens_bench.probe.paper import PAPER_CLASS_WEIGHTS
from sapiens_bench.probe.parts import Elsewhere
from sapiens_bench.probe.people import find_people
from sapiens_bench.probe.plot import plot_losses, write_tensorboard
from sapiens_bench.probe.request import ARCH_WIDTH, HEADS, RATES, DataName, ProbeRequest
from sapiens_bench.probe.train import Job, Settings, fit
from sapiens_bench.probe.transfer import start_from
from sapiens_bench.probe.views import Grid
from sapiens_bench.probe.write import Fitted, write_cards, write_head
from sapiens_bench.types import Adapter, Materialised
from sapiens_bench.workers import OnDone

_log = logging.getLogger(__name__)
CHANNELS = {"depth": 1, "normal": 3}
NAMED = ("seg", "pose")  # tasks whose channels are the names of a set
Watch = Callable[[str, int, int], None]  # what, done, total


class Probed(nn.Module):
    """Trunk and head together, for fine-tuning; the trunk's normalisation layers keep their statistics."""

    def __init__(self, trunk: Trunk, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = trunk, head

    def train(self, mode: bool = True) -> Probed:
        super().train(mode)
        self.backbone.eval()
        return self


def probe(request: ProbeRequest, catalog: Catalog, watch: Watch) -> list[Fitted]:
    """Fit the heads of every seed and write ``<out>/<name>*.safetensors`` and one card a task.

    Of processes that were launched together, the first writes, and the others give an empty list.

    Raises:
        UsageError: leakage, no sample, wrong sizes. ProbeDiverged: a loss that is not finite.
        UnknownName, DataMissing, WeightsMissing ...: what the request names is not there.
    """
    if request.processes > 1 and not processes.launched():
        return launch.probe_in_processes(request)
    with processes.joined(request.device) as device:
        return _probe(replace(request, device=device), catalog, watch)


def _probe(request: ProbeRequest, catalog: Catalog, watch: Watch) -> list[Fitted]:
    with processes.main_first():
        prepared = probe_data(request, catalog, watch)
    rate, tried = choose_rate(prepared, watch)
    fitted = []
    for seed in range(request.seeds):
        settings = _settings(prepared, rate, seed)
        head, loss, settings = train_one(prepared, settings, request.out / f"seed-{seed}", watch, request.max_seconds)
        if not processes.is_main():
            continue
        about = _about(prepared, settings, tried, loss)
        own = prepared.trunk.state_dict() if _keeps_trunk(prepared) else None
        fitted.append(write_head(request, seed, save_head(about, head, own), loss, request.out))
    if not fitted:
        return []
    logs = {f"seed {seed}": request.out / f"seed-{seed}" / "log.csv" for seed in range(request.seeds)}
    plot_losses(logs, request.out / "loss.png")
    for path in logs.values():
        write_tensorboard(path, path.parent / "tensorboard")
    write_cards(request, fitted, prepared.plan, _space(request, catalog), prepared.trunk, request.out)
    return fitted


def probe_data(request: ProbeRequest, catalog: Catalog, watch: Watch) -> ProbeData:
    """Open data and trunk, refuse leakage, and make views and feature maps.

    Raises: see ``probe``.
    """
    device = resolve_device(request.device, "fp32")
    torch.backends.cudnn.benchmark = device.startswith("cuda")  # every step has the same sizes
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    torch.manual_seed(0)
    trunk = open_trunk(request.backbone, request.backbone_weights, input_hw=request.input_hw, device=device)
    found = {task: open_part(request, request.train, task, catalog) for task in request.tasks}
    first = next(iter(found.values()))
    samples = tuple(range(first.facts.n_samples))
    judged = _judged(request, catalog)
    names = (str(request.train), str(request.evaluate))
    for each in judged:
        look_at_groups = refuse_shared_groups if _are_of_one_kind(request, catalog) else _tell_shared_groups
        look_at_groups(first.open.adapter, samples, each.open.adapter, names)
    plan = _plan(request, trunk, found)
    with torch.random.fork_rng(devices=[]):  # a width that its decoder cannot have is refused before the pictures
        build_head(plan)
    if isinstance(first.open.adapter, Materialised):  # takes minutes: whatever can be refused has been by now
        with jobs_on(Places.of(request), _log.warning):
            first.open.adapter.materialise(samples, request.threads or 2, lambda n, of: watch("pictures", n, of))
    fresh = not request.views
    grid = Grid(source_hw(request.input_hw), 1) if fresh else Grid(request.input_hw, plan.out_stride)
    data = _training_data(request, found, samples, grid)
    root = cache_root() / "probe"
    views = views_of(data, root, watch, request.threads or os.cpu_count() or 1)
    for each in judged[:1]:
        refuse_shared_pictures(views.pictures, each.open.adapter, names)
    elsewhere = _elsewhere(request, trunk)
    maps = (
        None if request.finetune or fresh else near(maps_of(data, views, trunk, root, device, watch, elsewhere), device)
    )
    groups = [first.open.adapter.groups[index] for index in data.indices]
    fitted, held = split_groups(groups, request.validation)
    train_rows = [i * data.n_views + view for i in fitted for view in range(data.n_views)]
    request.refuse_small_batch(len(train_rows), "1 view to fit on")
    plain = [i * data.n_views for i in held]
    objective = _objective(request, plan, views)
    return ProbeData(request, data, near(views, device), maps, trunk, plan, objective, train_rows, plain, device)


def _elsewhere(request: ProbeRequest, trunk: Trunk) -> Elsewhere | None:
    """Workers for the feature maps, where they were asked for."""
    if request.engine == "local":
        return None
    from sapiens_bench.engine.ray_jobs import spread_jobs

    def send(function: str, jobs: Sequence[Any], folder: Path, on_done: OnDone) -> None:
        with ExitStack() as stack:
            spread_jobs(Places.of(request), _log.warning, stack, function, jobs, folder, on_done)

    weights = "" if request.backbone_weights is None else str(request.backbone_weights.absolute())
    return Elsewhere(send, request.backbone, weights, request.input_hw, trunk.identity, request.device)


def _training_data(
    request: ProbeRequest, found: dict[str, FoundData], samples: tuple[int, ...], grid: Grid
) -> TrainingData:
    """The samples, once each; for pose once a person."""
    space = next((data.spec.space for task, data in found.items() if task in NAMED), None)
    flips = np.array(space.flip_index or range(len(space.names)), np.int64) if space is not None else None
    adapters = {task: data.open.adapter for task, data in found.items()}
    people: tuple[int, ...] = ()
    if "pose" in found:
        samples, people = find_people(adapters["pose"], samples, request.threads or os.cpu_count() or 1)
    return TrainingData(adapters, flips, samples, request.views or 1, grid, seed=0, people=people)


def open_part(request: ProbeRequest, name: DataName, task: str, catalog: Catalog) -> FoundData:
    """A data set's part under its default protocol of a task.

    Raises:
        UnknownName, UsageError, DataMissing: it is not there, or has no such task.
    """
    card = catalog.dataset(name.name)
    protocol = card.default_protocol(task)
    if protocol is None:
        raise UsageError(
            f"{card.id} has no {task}; it has {', '.join(sorted({p.task for p in card.protocols.values()}))}."
        )
    choice = DataChoice(
        task=task,
        names=(name.name,),
        protocol=protocol,
        split=name.split,
        boxes="",
        seed=0,
        limit=request.train_limit if name is request.train else None,
        max_pixels=MAX_PIXELS,
        options={},
        scoring={},
        root=request.data_root,
    )
    return open_named(card, protocol, choice, catalog)


def _judged(request: ProbeRequest, catalog: Catalog) -> list[FoundData]:
    if request.evaluate is None:
        return []
    return [open_part(request, request.evaluate, task, catalog) for task in request.tasks]


def _tell_shared_groups(train: Adapter, indices: Sequence[int], judged: Adapter, names: tuple[str, str]) -> None:
    if doubt := doubt_of_groups(train, indices, judged, names):
        _log.warning(doubt)


def _are_of_one_kind(request: ProbeRequest, catalog: Catalog) -> bool:
    """Whether groups of equal names are the same people: 0001 of another publisher's scans is somebody else."""
    sides = (request.train, request.evaluate)
    return len({catalog.dataset(side.name).adapter for side in sides if side is not None}) == 1


def _plan(request: ProbeRequest, trunk: Trunk, found: dict[str, FoundData]) -> HeadPlan:
    outputs = {}
    for task, data in found.items():
        space = data.spec.space
        outputs[task] = len(space.names) if task in NAMED and space is not None else CHANNELS[task]
    n = outputs.get("seg")
    if n is not None and request.class_weights == "paper" and n not in PAPER_CLASS_WEIGHTS:
        raise UsageError(f"--class-weights paper: the paper has none for {n} classes.")
    if request.arch:
        return HeadPlan(trunk.taps, outputs, width=request.width or ARCH_WIDTH, stem=0, arch=request.arch)
    sizes: dict[str, Any] = dict(HEADS[request.head])
    plan = HeadPlan(trunk.taps, outputs, **sizes)
    plan = plan if request.width is None else replace(plan, width=request.width)
    return plan if request.stem else replace(plan, stem=0)


def _objective(request: ProbeRequest, plan: HeadPlan, views: Rows) -> Objective:
    weights: tuple[float, ...] = ()
    if "seg" in request.tasks:
        n = plan.outputs["seg"]
        labels = views.arrays["seg"][:: request.views] if request.views else views.arrays["seg"][:, ::4, ::4]
        weights = PAPER_CLASS_WEIGHTS[n] if request.class_weights == "paper" else class_weights(labels, n)
    return Objective(request.tasks, weights, request.depth_loss, request.pose_loss)


def _settings(prepared: ProbeData, rate: float, seed: int) -> Settings:
    request = prepared.request
    steps = request.steps
    if request.epochs is not None:
        steps = max(1, round(request.epochs * len(prepared.train_rows) / request.batch))
    return Settings(
        steps=steps,
        batch=request.batch,
        lr=rate,
        weight_decay=request.weight_decay,
        warm_up=min(request.warm_up, steps // 4),
        decay=request.decay,
        clip=request.clip,
        seed=seed,
        checkpoint_every=request.checkpoint_every,
        validate_every=max(1, steps // 10),
        bf16=request.precision == "bf16",
    )


def choose_rate(prepared: ProbeData, watch: Watch) -> tuple[float, dict[str, float]]:
    """The learning rate given, or the one of ``RATES`` whose loss on the validation groups is least.

    The rule, the same for every backbone: an eighth of the steps with each rate, seed 0; the smaller of equal ones.
    Returns the rate, and the losses of those tried.
    """
    if prepared.request.lr is not None:
        return prepared.request.lr, {}
    found: dict[str, float] = {}
    for rate in RATES:
        full = _settings(prepared, rate, 0)
        steps = max(10, full.steps // 8)
        short = replace(full, steps=steps, warm_up=min(full.warm_up, steps // 4), validate_every=0)
        _, loss, _ = train_one(prepared, short, prepared.request.out / f"lr-{rate:g}", watch)
        found[f"{rate:g}"] = loss
    best = min(RATES, key=lambda rate: (found[f"{rate:g}"], rate))
    return best, found


def train_one(
    prepared: ProbeData, settings: Settings, folder: Path, watch: Watch, seconds: float | None = None
) -> tuple[Head, float, Settings]:
    """One training. Returns the head, folded, its loss on the validation rows, and the settings.

    Args:
        seconds: the settings get as many steps as fit, those they have at most.
    """
    torch.manual_seed(int.from_bytes(hashlib.sha256(f"head {settings.seed}".encode()).digest()[:6], "big"))
    head = build_head(prepared.plan).to(prepared.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    head.standardise(*statistics_of(prepared))
    if prepared.request.start_from is not None:
        start_from(prepared, head, prepared.request.start_from, settings.seed)
    processes.share_statistics(head)
    finetune = prepared.request.finetune
    module: nn.Module = Probed(prepared.trunk, head) if finetune else head
    if finetune:
        for parameter in prepared.trunk.parameters():
            parameter.requires_grad_(True)
    job = Job(
        module=module,
        losses=lambda _, rows, step: losses_of(prepared, head, rows, settings.seed, step),
        train_rows=prepared.train_rows,
        validation_rows=prepared.validation_rows,
        layer_name=_layer_name(prepared.trunk) if finetune else str,
        n_layers=prepared.trunk.n_layers if finetune else 0,
        device=prepared.device,
        made_from=prepared.made_from,
    )
    if seconds is not None:
        settings = steps_within(job, settings, seconds, folder)

    def on_step(step: int, loss: float) -> None:
        if processes.is_main():
            watch(f"{folder.name}, loss {loss:.3f}", step, settings.steps)

    loss = fit(job, settings, folder, on_step)
    return head.fold(), loss, settings


def _layer_name(trunk: Trunk) -> Callable[[str], str]:
    def name(full: str) -> str:
        return trunk.layer_name(full.removeprefix("backbone.")) if full.startswith("backbone.") else full

    return name


def _keeps_trunk(prepared: ProbeData) -> bool:
    """Whether the head's file must hold the trunk: it was trained, or has no file of its own."""
    return prepared.request.finetune or prepared.trunk.identity.startswith("random")


def _about(prepared: ProbeData, settings: Settings, tried: dict[str, float], loss: float) -> HeadFile:
    request = prepared.request
    made: dict[str, Any] = {
        "train": str(request.train),
        "pictures": len(set(prepared.data.indices)),
        **({"people": len(prepared.data.people), "pose_loss": request.pose_loss} if prepared.data.people else {}),
        "views": request.views,
        "validation_groups": len(prepared.validation_rows),
        "manifest_sha256": prepared.data.first.manifest_sha256,
        "finetune": request.finetune,
        "depth_loss": request.depth_loss,
        "class_weight": list(prepared.objective.class_weight),
        "settings": {name: getattr(settings, name) for name in Settings.__dataclass_fields__},
        "start_from": None if request.start_from is None else str(request.start_from),
        "rates_tried": tried,
        "validation_loss": round(loss, 6),
        "command": request.command,
        **({"processes": processes.count()} if processes.count() > 1 else {}),
        "torch": torch.__version__,
    }
    identity = prepared.trunk.identity
    return HeadFile(request.backbone, identity, request.input_hw, prepared.plan, made)


def _space(request: ProbeRequest, catalog: Catalog) -> str | None:
    task = next((task for task in request.tasks if task in NAMED), None)
    if task is None:
        return None
    card = catalog.dataset(request.train.name)
    return card.protocols[card.default_protocol(task) or ""].space
