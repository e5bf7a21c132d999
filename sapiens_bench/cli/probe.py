"""``sapiens-bench probe``: fit a small head on a trunk and judge it like every other model."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import (
    Address,
    Cards,
    DataRoot,
    Device,
    Engine,
    EngineOption,
    Format,
    FormatOption,
    GpusPerWorker,
    Threads,
    WorkersOf,
    expanded,
    parse_workers,
    split_commas,
)
from sapiens_bench.cli.output import next_commands, say, typed

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.probe.request import ProbeRequest
    from sapiens_bench.probe.write import Fitted

EXAMPLES = """Examples:

    sapiens-bench probe --backbone movenet-lightning --task seg --train synthetic-humans:train --eval synthetic-humans --out probes/lightning

    sapiens-bench probe --backbone timm:vit_small_patch14_dinov2 --backbone-weights dinov2.safetensors --task depth --train synthetic-humans:train --eval synthetic-humans --seeds 5 --out probes/dinov2

A stopped command goes on from its last checkpoint when it is given again.
"""  # noqa: E501


class Decay(StrEnum):
    cosine = "cosine"
    linear = "linear"
    poly = "poly"
    constant = "constant"


class DepthLoss(StrEnum):
    silog = "silog"
    aligned = "aligned"


class PoseLoss(StrEnum):
    mse = "mse"
    ohkm = "ohkm"


class ClassWeights(StrEnum):
    frequency = "frequency"
    paper = "paper"


class HeadSize(StrEnum):
    small = "small"
    large = "large"


class Arch(StrEnum):
    deeplabv3plus = "deeplabv3plus"
    mask2former = "mask2former"
    upernet = "upernet"
    dpt = "dpt"


class HeadPrecision(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"


def probe(
    backbone: Annotated[
        str,
        typer.Option("--backbone", help="movenet-*, blazepose-*, sapiens-SIZE, sapiens2-SIZE, maws:SIZE, timm:NAME."),
    ],
    task: Annotated[
        list[str], typer.Option("--task", help="seg, depth, normal (several share one head, comma list), or pose.")
    ],
    train: Annotated[str, typer.Option("--train", metavar="DATASET[:SPLIT]", help="What the head is fitted on.")],
    evaluate: Annotated[
        str | None, typer.Option("--eval", metavar="DATASET[:SPLIT]", help="What it is judged on; other people.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", callback=expanded, help="Folder. Default: results/probes/<name>.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the rows. Default: after the backbone.")] = "",
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            "--backbone-weights", callback=expanded, help="File of a trunk that is not shipped; random draws it."
        ),
    ] = None,
    finetune: Annotated[bool, typer.Option("--finetune", help="Train the trunk too, rates falling by layer.")] = False,
    train_limit: Annotated[int | None, typer.Option("--train-limit", min=2, help="Only the first N pictures.")] = None,
    validation: Annotated[
        float, typer.Option("--validation", min=0.01, max=0.9, help="Share of the training groups kept back.")
    ] = 0.1,
    views: Annotated[
        int, typer.Option("--views", min=0, max=64, help="Of each picture; the first is plain. 0: new ones every step.")
    ] = 2,
    input_: Annotated[str, typer.Option("--input", metavar="HxW", help="Of the trunk.")] = "256x192",
    head: Annotated[HeadSize, typer.Option("--head", help="large: about 2 M parameters, attention.")] = HeadSize.small,
    arch: Annotated[
        Arch | None, typer.Option("--arch", help="A published decoder instead of the head; mask2former: seg only.")
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", min=8, max=1024, help="Channels of the head. Default: its size's.")
    ] = None,
    stem: Annotated[bool, typer.Option("--stem/--no-stem", help="The head also sees the picture itself.")] = True,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Batches; the budget, equal for all trunks.")] = 1000,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=0.1, help="Of training: as many of the steps as fit.")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", min=0.01, help="Passes, instead of --steps.")] = None,
    batch: Annotated[int, typer.Option("--batch-size", min=1, help="Views a step.")] = 16,
    lr: Annotated[
        float | None, typer.Option("--lr", min=0.0, help="Default: the best of 3e-4, 1e-3, 3e-3 on the validation.")
    ] = None,
    weight_decay: Annotated[float, typer.Option("--weight-decay", min=0.0)] = 0.1,
    warm_up: Annotated[int, typer.Option("--warm-up", min=0, help="Steps.")] = 50,
    decay: Annotated[Decay, typer.Option("--decay", help="Of the learning rate after the warm-up.")] = Decay.cosine,
    clip: Annotated[float, typer.Option("--clip", min=0.0, help="Gradient norm; 0: none.")] = 1.0,
    depth_loss: Annotated[
        DepthLoss, typer.Option("--depth-loss", help="silog: the paper's; aligned: AbsRel after the best fit.")
    ] = DepthLoss.silog,
    pose_loss: Annotated[
        PoseLoss, typer.Option("--pose-loss", help="Of heatmaps. ohkm: of a person's hardest keypoints.")
    ] = PoseLoss.mse,
    class_weights: Annotated[
        ClassWeights, typer.Option("--class-weights", help="By frequency, or the paper's.")
    ] = ClassWeights.frequency,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Trainings with other draws.")] = 1,
    start_from: Annotated[
        Path | None,
        typer.Option("--start-from", callback=expanded, help="An earlier probe: its --out, or its HEAD.safetensors."),
    ] = None,
    checkpoint_every: Annotated[int, typer.Option("--checkpoint-every", min=1, help="Steps.")] = 100,
    precision: Annotated[
        HeadPrecision, typer.Option("--precision", help="Of the head's training.")
    ] = HeadPrecision.fp32,
    device: Device = "auto",
    gpus: Annotated[
        int, typer.Option("--gpus", min=1, help="That share each batch (accelerate); with --device cpu: processes.")
    ] = 1,
    threads: Threads = None,
    engine: EngineOption = Engine.local,
    workers: WorkersOf = "auto",
    gpus_per_worker: GpusPerWorker = None,
    address: Address = "",
    data_root: DataRoot = None,
    cards: Cards = None,
    format_: FormatOption = Format.text,
) -> None:
    """Fit a small head on a frozen trunk and evaluate it like any other model."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.request import parse_input
    from sapiens_bench.probe.request import DataName, ProbeRequest

    request = ProbeRequest(
        backbone=backbone,
        tasks=split_commas(task),
        train=DataName.parse(train),
        evaluate=None if evaluate is None else DataName.parse(evaluate),
        out=out or Path(),
        backbone_weights=backbone_weights,
        finetune=finetune,
        name=name,
        train_limit=train_limit,
        validation=validation,
        views=views,
        input_hw=parse_input(input_),
        head=head.value,
        arch=arch.value if arch else "",
        width=width,
        stem=stem,
        epochs=epochs,
        steps=steps,
        max_seconds=max_seconds,
        batch=batch,
        lr=lr,
        weight_decay=weight_decay,
        warm_up=warm_up,
        decay=decay.value,
        clip=clip,
        depth_loss=depth_loss.value,
        pose_loss=pose_loss.value,
        class_weights=class_weights.value,
        seeds=seeds,
        start_from=start_from,
        checkpoint_every=checkpoint_every,
        precision=precision.value,
        device=device,
        processes=gpus,
        threads=threads,
        engine=engine.value,
        workers=parse_workers(workers),
        gpus_per_worker=gpus_per_worker,
        address=address,
        data_root=data_root,
        cards=tuple(cards or ()),
        command=typed(),
    )
    if out is None:
        from dataclasses import replace

        request = replace(request, out=Path("results/probes") / request.model_name)
    execute(request, Catalog.load(request.cards), format_.value)


def execute(request: ProbeRequest, catalog: Catalog, fmt: str) -> None:
    """Fit, say what was made, evaluate."""
    from sapiens_bench.probe.run import probe as fit_heads
    from sapiens_bench.probe.watch import Lines

    fitted = fit_heads(request, catalog, Lines())
    if not fitted:  # another process, launched with this one, has written the heads and judges them
        return
    for each in fitted:
        say(
            f"{request.out / each.file}: {each.size_bytes / 1e6:.2f} MB, validation loss {each.validation_loss:.4f}",
            to_stderr=True,
        )
    if request.evaluate is None:
        _say_next(request)
        return
    for task in request.tasks:
        _evaluate(request, task, fitted, fmt)
        if len(fitted) > 1:
            from sapiens_bench.probe.noise import seed_noise

            say(seed_noise(request.out / f"run-{task}"), to_stderr=fmt != "text")


def _evaluate(request: ProbeRequest, task: str, fitted: list[Fitted], fmt: str) -> None:
    """The ordinary run of the new rows and the task's floors."""
    from sapiens_bench.cli.run import execute as run
    from sapiens_bench.engine.request import Request
    from sapiens_bench.tasks import task_kind

    assert request.evaluate is not None
    rows = tuple(request.model_id(task, each.seed) for each in fitted)
    run(
        Request(
            task=task,
            models=(*rows, *((f"floors-{task}",) if task_kind(task).floors else ())),
            datasets=(request.evaluate.name,),
            split=request.evaluate.split,
            out=request.out / f"run-{task}",
            device=request.device,
            cards=(*request.cards, request.out),
            data_root=request.data_root,
            weights_root=request.out,
            threads=request.threads,
            engine=request.engine,
            workers=request.workers,
            gpus_per_worker=request.gpus_per_worker,
            address=request.address,
            command=request.command,
        ),
        fmt=fmt,
    )


def _say_next(request: ProbeRequest) -> None:
    folder = shlex.quote(str(request.out))
    task = request.tasks[0]
    command = f"sapiens-bench run --task {task} --models '{request.model_name}-*'"
    next_commands([(f"{command} --cards {folder} --weights-root {folder}", "judge it")])
