"""The command line: parsing only. What a command does is in ``sapiens_bench.commands``, imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli import data, verify, weights
from sapiens_bench.cli.errors import add_to as add_errors
from sapiens_bench.cli.flags import (
    Cards,
    DataRoot,
    Format,
    Pipeline,
    Precision,
    Split,
    Task,
    TaskFilter,
    Trust,
    WeightsRoot,
    Workers,
)
from sapiens_bench.commands.guard import GuardedGroup, complain, quiet_broken_pipe
from sapiens_bench.commands.profile import add_to as add_profile

_EXAMPLES = """Examples:

    sapiens-bench run --task pose --models all

    sapiens-bench run --task pose --dataset coco-val2017 --data-root ~/coco --models 'movenet-*,oracle' --limit 100

    sapiens-bench report results/runs/NAME --format latex
"""
_RUN_EXAMPLES = """Examples:

    sapiens-bench run --task pose --models all                        # runs at once: nothing to download

    sapiens-bench run --task pose --models movenet-thunder --split tiny --dry-run

    sapiens-bench run --task depth --dataset hi4d --data-root /data --weights-root /weights --device cuda

The same command run again goes on where the first one stopped.
"""


app = typer.Typer(cls=GuardedGroup, no_args_is_help=True, pretty_exceptions_enable=False, epilog=_EXAMPLES)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
add_profile(app)
app.add_typer(verify.app, name="verify")
add_errors(app)


def _version(wanted: bool) -> None:
    if wanted:
        from sapiens_bench import __version__

        print(f"sapiens-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Benchmark and evaluation harness for human vision models: 2D pose, body-part segmentation, depth, normals."""


@app.command(epilog=_RUN_EXAMPLES)
def run(
    task: Task,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", help="all, ids, families or globs; comma list or repeated.", show_default="all"),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="Comma list or repeated. Default: every one of the task that is here."),
    ] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")] = None,
    split: Split = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images of each set.")] = None,
    boxes: Annotated[
        str, typer.Option("--boxes", help="Pose: gt, jitter:FRACTION, detector:ID[,SCORE], or a box file.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: results/runs/<name>.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Crops per forward pass. Default: 8, on a GPU 32.")
    ] = None,
    workers: Workers = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the intervals and diagnostics.")] = 0,
    n_boot: Annotated[int, typer.Option("--n-boot", min=0, help="Bootstrap draws; 0: no intervals.")] = 1000,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the models, over their cards. Repeatable.")
    ] = None,
    pipeline: Annotated[
        Pipeline | None, typer.Option("--pipeline", help="Of Sapiens v1: the official one, or the lite demo's.")
    ] = None,
    trust_checkpoint: Trust = None,
    max_errors: Annotated[
        float | None,
        typer.Option("--max-errors", min=0.0, max=1.0, help="Share of images that may fail.", show_default="0.01"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="No image may fail: --max-errors 0.")] = False,
    save_preds: Annotated[bool, typer.Option("--save-preds/--no-save-preds", help="Keep predictions (pose).")] = True,
    save_maps: Annotated[
        bool, typer.Option("--save-maps", help="Keep dense predictions as PNG (8 or 16 bit).")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="Of the table printed at the end.")] = Format.text,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, its time and disk; run nothing.")] = False,
) -> None:
    """Evaluate models on data sets and print the table."""
    from sapiens_bench.commands import run as command
    from sapiens_bench.commands.output import typed
    from sapiens_bench.engine.request import Request, parse_trust

    request = Request(
        task=task,
        models=command.split_commas(models or ["all"]),
        datasets=command.split_commas(dataset or []),
        protocol=protocol,
        limit=limit,
        out=out,
        device=device,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        precision=precision.value,
        cards=tuple(cards or ()),
        data_root=data_root,
        weights_root=weights_root,
        boxes=boxes,
        options=command.parse_options(option or []) | ({"pipeline": pipeline.value} if pipeline else {}),
        trust=parse_trust(trust_checkpoint or []),
        max_errors=0.0 if strict and max_errors is None else max_errors,
        n_boot=n_boot,
        split=split,
        save_preds=save_preds,
        save_maps=save_maps,
        command=typed(),
    )
    command.execute(request, dry_run=dry_run, fmt=format_.value)


@app.command(name="list")
def list_(
    what: Annotated[
        str,
        typer.Argument(metavar="[models|datasets|tasks|detectors|spaces|published]", help="Default: the first three."),
    ] = "all",
    task: TaskFilter = None,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show models, data sets, tasks, detectors, keypoint or label sets, printed tables; which are on this machine."""
    from sapiens_bench.commands import listing

    listing.execute(what, task=task, cards=cards or [], data_root=data_root, weights_root=weights_root, as_json=json_)


@app.command(epilog="Example: sapiens-bench report results/runs/NAME --format html --out report.html")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folder that `run` printed.", show_default=False)],
    format_: Annotated[Format, typer.Option("--format")] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file, not to stdout.")] = None,
    cards: Cards = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when any image was excluded or missed.")] = False,
    study: Annotated[bool, typer.Option("--box-study", help="Several runs: accuracy against box quality.")] = False,
    pareto: Annotated[bool, typer.Option("--pareto", help="Runs and profiles: accuracy against cost.")] = False,
) -> None:
    """Print the table of a run as text, Markdown, LaTeX, HTML, CSV or JSON."""
    from sapiens_bench.commands import box_study, profile
    from sapiens_bench.commands import report as command

    if pareto:
        profile.pareto(runs, fmt=format_.value, out=out, cards=cards or [])
        return
    if study:
        box_study.execute(runs, fmt=format_.value, out=out)
        return
    command.execute(box_study.only_one(runs), fmt=format_.value, out=out, cards=cards or [], strict=strict)


def main() -> None:
    """Entry point of the ``sapiens-bench`` script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a crash
    try:
        app()
    except BrokenPipeError:
        quiet_broken_pipe()
        sys.exit(0)
    except KeyboardInterrupt as error:
        sys.exit(complain(error))


if __name__ == "__main__":
    main()
