"""The options that every `study` command has: those of `run` that say what is measured, on what, and how it is told."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from sapiens_bench.cli.flags import (
    Address,
    BatchSize,
    Cards,
    DataOptions,
    DataRoot,
    Datasets,
    Device,
    Engine,
    EngineOption,
    Format,
    FormatOption,
    GpusPerWorker,
    Limit,
    Models,
    Options,
    OwnWeightsRoot,
    Precision,
    Protocol,
    Scoring,
    Select,
    Split,
    Task,
    Threads,
    Trust,
    WorkersOf,
    expanded,
    parse_options,
    parse_workers,
    split_commas,
)
from sapiens_bench.cli.output import typed
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.draws import OF_DIFFERENCES

if TYPE_CHECKING:
    from sapiens_bench.engine.request import Request


@dataclass(frozen=True, slots=True)
class Asked:
    """What the shared options say."""

    base: Request
    out: Path | None
    n_draws: int
    score: str
    fmt: str
    beside: Path | None = None


def _asked(
    task: Task = "",
    models: Models = None,
    dataset: Datasets = None,
    protocol: Protocol = None,
    split: Split = "",
    limit: Limit = None,
    select: Select = "",
    out: Annotated[
        Path | None, typer.Option("--out", callback=expanded, help="Study folder. Default: results/studies/<name>.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    batch_size: BatchSize = None,
    engine: EngineOption = Engine.local,
    workers: WorkersOf = "auto",
    gpus_per_worker: GpusPerWorker = None,
    address: Address = "",
    threads: Threads = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the conditions' draws and the intervals.")] = 0,
    n_boot: Annotated[int, typer.Option("--n-boot", min=1, help="Bootstrap draws.")] = OF_DIFFERENCES,
    score: Annotated[
        str, typer.Option("--score", help="METRIC/SCORE key, e.g. oks/AR.", show_default="the score that ranks")
    ] = "",
    data_root: DataRoot = None,
    weights_root: OwnWeightsRoot = None,
    cards: Cards = None,
    option: Options = None,
    data_option: DataOptions = None,
    scoring: Scoring = None,
    trust_checkpoint: Trust = None,
    save_maps: Annotated[
        bool, typer.Option("--save-maps", help="Keep dense predictions, for the pictures of `report` and `view`.")
    ] = False,
    format_: FormatOption = Format.text,
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            callback=expanded,
            show_default=False,
            help="A run of the same models on photographs (study video: over real frames): do they rank alike there?",
        ),
    ] = None,
) -> Asked:
    from sapiens_bench.engine.request import Request, parse_trust

    if not task or task == "all":
        raise UsageError(
            "Say which task with --task: pose, seg, depth, normal, pointmap, matting, albedo or a plug-in's. A study "
            "has one."
        )
    base = Request(
        task=task,
        models=split_commas(models or ["all"]),
        datasets=split_commas(dataset or []),
        protocol=protocol,
        split=split,
        limit=limit,
        select=select,
        device=device,
        precision=precision.value,
        batch_size=batch_size,
        engine=engine.value,
        workers=parse_workers(workers),
        gpus_per_worker=gpus_per_worker,
        address=address,
        threads=threads,
        seed=seed,
        n_boot=0,
        data_root=data_root,
        weights_root=weights_root,
        cards=tuple(cards or ()),
        options=parse_options(option or []),
        data_options=parse_options(data_option or [], "--data-option"),
        scoring=parse_options(scoring or [], "--scoring"),
        trust=parse_trust(trust_checkpoint or []),
        save_maps=save_maps,
        command=typed(),
    )
    return Asked(base, out, n_boot, score, format_.value, beside)


def with_asked(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the shared options before its own; it is called with ``Asked`` first."""
    shared = inspect.signature(_asked).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        asked = _asked(**{name: values.pop(name) for name in shared})
        command(asked, **values)

    hints = {**get_type_hints(_asked, include_extras=True), **_hints(command)}
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
                  for p in (*shared.values(), *own)]  # fmt: skip
    del wrapped.__wrapped__  # typer would look at the command's own signature
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def _hints(command: Callable[..., None]) -> dict[str, Any]:
    return get_type_hints(command, include_extras=True)
