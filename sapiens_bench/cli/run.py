"""``sapiens-bench run``: plan, evaluate, show the table and say what to do next."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from sapiens_bench.cli.config import Config
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
    GpusPerWorker,
    Limit,
    MaxPixels,
    Models,
    Options,
    OwnInput,
    OwnNormalise,
    OwnOutput,
    OwnSpace,
    OwnWeightsRoot,
    Pipeline,
    Precision,
    Prefetch,
    Protocol,
    Scoring,
    Select,
    Split,
    Task,
    Threads,
    Trust,
    WorkersOf,
    address_of,
    expanded_or_address,
    parse_options,
    parse_workers,
    split_commas,
)
from sapiens_bench.cli.output import next_commands, say, show, stderr, typed
from sapiens_bench.cli.refusals import complain_of_refusals
from sapiens_bench.errors import IncompleteRun, SapiensBenchError, TooManyErrors, UnknownName, UsageError
from sapiens_bench.stats.draws import OF_SCORES

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.engine.request import Request
    from sapiens_bench.store.record import RunRecord

ALL_TASKS = "all"  # of --task: one table a task
EXAMPLES = """Examples:

    sapiens-bench run --task pose --models all                        # runs at once: nothing to download

    sapiens-bench run --task all --models all                         # four tables

    sapiens-bench run --task pose --models movenet-thunder --split tiny --dry-run

    sapiens-bench run --task pose --models ./net.onnx --normalise imagenet     # your own network: docs/own_model.md

    sapiens-bench run --task depth --dataset hi4d --data-root /data --weights-root /weights --device cuda

    sapiens-bench run --out results/runs/NAME --models +movenet-thunder   # one more model in a finished run

    sapiens-bench run --task pose --models all --engine ray --address HEAD:6379     # on a cluster: docs/cluster.md

    sapiens-bench run --config run.yaml --limit 8        # the file: task: pose, models: all, option: {padding: 1.3}

The same command run again goes on where the first one stopped.

Exit codes: 0 what is on this machine ran; 2 the request cannot be met; 3 too many images failed; 4 rows are missing;
5 refused for security; 6 one or more models were refused, the others ran; 130 stopped.
"""


def run(
    task: Task = "",
    models: Models = None,
    dataset: Datasets = None,
    protocol: Protocol = None,
    split: Split = "",
    limit: Limit = None,
    select: Select = "",
    boxes: Annotated[
        str, typer.Option("--boxes", help="Pose: gt, jitter:FRACTION, detector:ID[,SCORE], or a box file.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=expanded_or_address, help="Run folder, or s3://... Default: results/runs/<name>."
        ),
    ] = None,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    batch_size: BatchSize = None,
    prefetch: Prefetch = None,
    engine: EngineOption = Engine.local,
    workers: WorkersOf = "auto",
    gpus_per_worker: GpusPerWorker = None,
    address: Address = "",
    threads: Threads = None,
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Images per file of rows: what a stopped run may lose.")
    ] = 64,
    shard: Annotated[
        str, typer.Option("--shard", help="I/N: only the I-th of N parts, for job arrays; `merge` joins them.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the intervals and diagnostics.")] = 0,
    n_boot: Annotated[int, typer.Option("--n-boot", min=0, help="Bootstrap draws; 0: no intervals.")] = OF_SCORES,
    data_root: DataRoot = None,
    weights_root: OwnWeightsRoot = None,
    cards: Cards = None,
    option: Options = None,
    data_option: DataOptions = None,
    scoring: Scoring = None,
    space: OwnSpace = "",
    input_: OwnInput = "",
    normalise: OwnNormalise = "",
    output: OwnOutput = "",
    pipeline: Annotated[
        Pipeline | None, typer.Option("--pipeline", help="Of Sapiens v1: the official one, or the lite demo's.")
    ] = None,
    trust_checkpoint: Trust = None,
    max_pixels: MaxPixels = None,
    max_errors: Annotated[
        float | None,
        typer.Option("--max-errors", min=0.0, max=1.0, help="Share of images that may fail.", show_default="0.01"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="No image may fail: --max-errors 0.")] = False,
    save_preds: Annotated[bool, typer.Option("--save-preds/--no-save-preds", help="Keep predictions (pose).")] = True,
    save_maps: Annotated[
        bool, typer.Option("--save-maps", help="Keep dense predictions as PNG (8 or 16 bit).")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="Of the table (or plan) printed.")] = Format.text,
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, its time, memory and disk; run nothing.")
    ] = False,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="With --dry-run: predict for so many GPUs.")] = 0,
    price: Annotated[
        float | None, typer.Option("--price-per-hour", min=0, help="With --dry-run: of one GPU, or of this machine.")
    ] = None,
) -> None:
    """Evaluate models on data sets and print the table."""
    from sapiens_bench.adapters.context import MAX_PIXELS
    from sapiens_bench.engine.again import parse_part
    from sapiens_bench.engine.request import OwnModel, Request, parse_trust

    if not task and not any(name.strip().startswith("+") for name in models or ()):
        raise UsageError(
            "Say which task with --task: pose, seg, depth, normal, pointmap, matting, albedo, a plug-in's, or "
            "all (the first four, those of the Sapiens paper)."
        )
    request = Request(
        task=task,
        models=split_commas(models or ["all"]),
        datasets=split_commas(dataset or []),
        protocol=protocol,
        limit=limit,
        out=out,
        device=device,
        batch_size=batch_size,
        prefetch=prefetch,
        engine=engine.value,
        workers=parse_workers(workers),
        gpus_per_worker=gpus_per_worker,
        address=address,
        threads=threads,
        shard_size=shard_size,
        seed=seed,
        precision=precision.value,
        cards=tuple(cards or ()),
        data_root=data_root,
        weights_root=weights_root,
        boxes=boxes,
        options=parse_options(option or []) | ({"pipeline": pipeline.value} if pipeline else {}),
        data_options=parse_options(data_option or [], "--data-option"),
        scoring=parse_options(scoring or [], "--scoring"),
        trust=parse_trust(trust_checkpoint or []),
        max_errors=0.0 if strict and max_errors is None else max_errors,
        n_boot=n_boot,
        split=split,
        select=select,
        save_preds=save_preds,
        save_maps=save_maps,
        part=parse_part(shard),
        own=OwnModel(space, input_, normalise, output),
        command=typed(),
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
    )
    if (gpus or price is not None) and not dry_run:
        raise UsageError("--gpus and --price-per-hour belong to --dry-run: they predict, and change nothing of a run.")
    asked = DryRun(gpus, price) if dry_run else None
    if task == ALL_TASKS:
        from sapiens_bench.cli.run_all import execute_all
        from sapiens_bench.engine.ray_cluster import cores_for, kept

        with kept("local" if dry_run else request.engine, address, cores_for(request.workers, threads)):
            execute_all(request, lambda each: execute(each, dry_run=asked, fmt=format_.value), format_.value)
        return
    execute(request, dry_run=asked, fmt=format_.value)


class DryRun(NamedTuple):
    """What a prediction is for."""

    gpus: int  # 0: the device that is asked for
    price_per_hour: float | None


def execute(request: Request, *, dry_run: DryRun | None = None, fmt: str, place: str = "") -> None:
    """Run a request and print its table; or print what it would be and take.

    Args:
        place: the address of the run folder, where ``request.out`` only stands in for it on this machine.

    Raises:
        SapiensBenchError: whatever the plan or the run refuses; after a run that is complete but has too many errors,
            or is incomplete, the table is printed first.
        ModelsRefused: likewise, where some models ran and others were refused.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.hashes import without_notes
    from sapiens_bench.engine.again import with_added

    if url := address_of(request.out):
        _execute_at(url, request, dry_run=dry_run, fmt=fmt)
        return
    request = with_added(request)
    catalog = Catalog.load(request.cards)
    try:
        with without_notes() if dry_run is not None else nullcontext():
            plan = _plan(request, catalog, dry_run=dry_run is not None)
    except UnknownName as error:
        if (error.kind, error.name) != ("option", "pipeline"):
            raise
        raise UsageError(
            f"--pipeline {request.options['pipeline']}: only Sapiens v1 has pipelines, and {', '.join(request.models)} "
            "names none of its models. Leave --pipeline out, or add --models 'sapiens-*'."
        ) from None
    if dry_run is not None:
        from sapiens_bench.cli.dry_run import plan_document

        show(plan_document(plan, catalog, *dry_run, place=place), fmt)
        looked = "Nothing was run (--dry-run); --select looked at every image, and what had to be rendered is kept."
        say(looked if request.select else "Nothing was run or written (--dry-run).", to_stderr=fmt != "text")
        return
    complaint: SapiensBenchError | None = None
    try:
        record = _watched(plan)
    except (TooManyErrors, IncompleteRun) as error:
        from sapiens_bench.store.record import read_run

        if not (plan.out / "run.json").exists():
            raise
        record, complaint = read_run(plan.out), error
    _show_results(record, plan.out, catalog, fmt, place)
    if complaint is not None:
        raise complaint
    complain_of_refusals(record)


def _execute_at(url: str, request: Request, *, dry_run: DryRun | None, fmt: str) -> None:
    """The same where the run folder is on an object store: through a folder of this machine."""
    from sapiens_bench.cards.folders import cache_root
    from sapiens_bench.store.addresses import staging
    from sapiens_bench.store.remote import mirrored

    if url.startswith("memory:"):
        raise UsageError(
            f"--out {url}: a store in memory ends with this command. Give s3://, gs://, file:// or a folder."
        )
    with mirrored(url, staging(url, cache_root())) as local:
        execute(replace(request, out=local), dry_run=dry_run, fmt=fmt, place=url)


def _plan(request: Request, catalog: Catalog, *, dry_run: bool) -> Plan:
    """The plan; a detector that the request names runs first where its boxes are not in the cache."""
    from sapiens_bench.adapters.selection.watch import watched
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.detect import make_box_files
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.plan import resolve

    with ProgressView(stderr()) as view:  # shows something only while a detector works
        boxes = make_box_files(request, catalog, view, dry_run=dry_run)
    console = stderr()
    if request.select:  # every image is judged before anything runs
        with ProgressView(console) as view, watched(lambda name, n, of: view(DataProgress(name, n, of, "Judging"))):
            return resolve(request, catalog, boxes)
    if not console.is_terminal:
        return resolve(request, catalog, boxes)
    with console.status("Reading cards, data sets and weights ..."):
        return resolve(request, catalog, boxes)


def _watched(plan: Plan) -> RunRecord:
    from sapiens_bench.cli.arrow import spare_pandas
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.run import run as run_plan

    spare_pandas()
    with ProgressView(stderr(), len(plan.cells), plan.n_images) as view:
        return run_plan(plan, view)


def _show_results(record: RunRecord, out: Path, catalog: Catalog, fmt: str, place: str = "") -> None:
    """The table, where it lies, and the commands that use it."""
    from sapiens_bench.publish.best import told_from_noise
    from sapiens_bench.report.tables import build

    show(build(record, catalog, told_from_noise(record, out)), fmt)
    if fmt != "text":
        say(f"Run: {place or out}", to_stderr=True)
        return
    say(f"\nRun: {place or out}")
    folder = shlex.quote(place or str(out))
    commands = [
        (f"sapiens-bench view {folder}", "a page with plots and pictures, opened and to share"),
        (f"sapiens-bench report {folder} --format latex", "a table for a paper"),
        (f"sapiens-bench verify {folder}", "read all rows again and check them"),
    ]
    cells = record.cells
    if any(c.status == "refused" or c.counts.input_errors or c.counts.prediction_errors for c in cells):
        commands.insert(0, (f"sapiens-bench errors {folder}", "what was refused or has no result, and what to do"))
    if any(cell.status == "weights missing" for cell in cells):
        commands.append((f"sapiens-bench weights list --task {record.task}", "what to fetch for the missing rows"))
    next_commands(commands)
