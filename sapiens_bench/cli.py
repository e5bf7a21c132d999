"""The command line: parsing only. What a command does is in ``sapiens_bench.commands``, imported when it is called."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.commands.guard import DefaultGroup, GuardedGroup, complain, quiet_broken_pipe
from sapiens_bench.commands.profile import add_to as add_profile
from sapiens_bench.commands.weights_file import Trust, add_to

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


class Format(StrEnum):
    """How a table is written."""

    text, md, latex, html, csv, json = "text", "md", "latex", "html", "csv", "json"


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32, bf16, fp16 = "fp32", "bf16", "fp16"


Task = Annotated[str, typer.Option("--task", help="pose, seg, depth or normal.", show_default=False)]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only this task.")]
Cards = Annotated[
    list[Path] | None,
    typer.Option("--cards", help="Folder with cards of your own; may name code beside them. Repeatable."),
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Where data sets lie: FOLDER/<data set>, or FOLDER itself.")
]
WeightsRoot = Annotated[Path | None, typer.Option("--weights-root", help="Where weight files lie, at any depth to 3.")]
Split = Annotated[str, typer.Option("--split", help="Part of the data set, e.g. tiny. Default: the protocol's.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Loader threads. Default: up to 4.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `run` printed.", show_default=False)]
ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", show_default=False)]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]

app = typer.Typer(
    cls=GuardedGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=_EXAMPLES
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets: where they come from, whether they are complete.")
manifest_app = typer.Typer(no_args_is_help=True, help="What was rendered from what: comparable hashes.")
weights_app = typer.Typer(no_args_is_help=True, help="Weight files: what there is, how to get it.")
verify_app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Check a run (`verify RUN`) or this installation (`verify golden DIR`).",
)
app.add_typer(data_app, name="data")
data_app.add_typer(manifest_app, name="manifest")
app.add_typer(weights_app, name="weights")
add_to(weights_app)
add_profile(app)
app.add_typer(verify_app, name="verify")


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
        options=command.parse_options(option or []),
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
        str, typer.Argument(metavar="[models|datasets|tasks|detectors|spaces]", help="Default: the first three.")
    ] = "all",
    task: TaskFilter = None,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show models, data sets, tasks, detectors and keypoint or label sets, and which are on this machine."""
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


@verify_app.command("run")
def verify_run(run: RunFolder, json_: JsonOut = None) -> None:
    """Read all rows of a run again: planned, found, duplicate, corrupt, errors, hashes."""
    from sapiens_bench.commands import verify

    verify.run(run, json_out=json_)


@verify_app.command("golden")
def verify_golden(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    json_: JsonOut = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
) -> None:
    """Compare this installation with a folder of official inputs and outputs."""
    from sapiens_bench.commands import verify

    verify.golden(folder, json_out=json_, cards=cards or [], weights_root=weights_root)


@verify_app.command("coco")
def verify_coco(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the COCO files here.")] = None,
    cards: Cards = None,
) -> None:
    """Score a run's stored poses again with pycocotools, from COCO JSON, and compare all ten statistics."""
    from sapiens_bench.commands import coco

    coco.execute(run, out=out, cards=cards or [])


@verify_app.command("conventions")
def verify_conventions(
    model: Annotated[str, typer.Option("--model", help="A network for depth or normals.", show_default=False)],
    dataset: Annotated[str, typer.Option("--dataset", help="With exact depth or normals.")] = "synthetic-humans",
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")] = None,
    split: Split = "",
    images: Annotated[int, typer.Option("--images", min=1, help="How many images are looked at.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="NAME=VALUE for the model. Repeatable.")] = None,
    json_: JsonOut = None,
) -> None:
    """Score a model under all axis signs, or both depth directions; fail when the declared one is not the best."""
    from sapiens_bench.commands import conventions
    from sapiens_bench.commands.run import parse_options
    from sapiens_bench.engine.request import Request

    request = Request(
        task="",
        datasets=(dataset,),
        protocol=protocol,
        split=split,
        device=device,
        precision=precision.value,
        data_root=data_root,
        weights_root=weights_root,
        cards=tuple(cards or ()),
        options=parse_options(option or []),
    )
    conventions.execute(model, request, n_images=images, json_out=json_)


@data_app.command("show")
def data_show(name: Name, data_root: DataRoot = None, cards: Cards = None) -> None:
    """Licence, protocols, expected folders, and how to obtain it."""
    from sapiens_bench.commands import data

    data.show(name, cards=cards or [], data_root=data_root)


@data_app.command("check")
def data_check(name: Name, data_root: DataRoot = None, split: Split = "", cards: Cards = None) -> None:
    """Find it, verify pinned files, open it under every protocol."""
    from sapiens_bench.commands import data

    data.check(name, cards=cards or [], data_root=data_root, split=split)


@data_app.command("prepare")
def data_prepare(
    name: Name,
    data_root: Annotated[Path | None, typer.Option("--data-root", "--root", help="Where its files lie.")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: all of them.")] = None,
    split: Split = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    workers: Workers = None,
    cards: Cards = None,
) -> None:
    """Render what is made on this machine; resumes; prints the manifest that two labs can compare."""
    from sapiens_bench.commands import data

    data.prepare(
        name, cards=cards or [], data_root=data_root, protocol=protocol, split=split, limit=limit, workers=workers
    )


@manifest_app.command("compare")
def manifest_compare(first: ManifestFile, second: ManifestFile) -> None:
    """Whether two people hold the same ground truth, without exchanging it. Exit 1 when they do not."""
    from sapiens_bench.commands import data

    data.compare_manifests(first, second)


@data_app.command("export")
def data_export(
    name: Name,
    task: Annotated[str, typer.Option("--task", help="seg, depth or normal.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.", show_default=False)],
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")] = None,
    split: Split = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Write images, masks and truth as a plain folder that `--dataset folder` and Sapiens' own code read."""
    from sapiens_bench.commands import export

    export.execute(name, task, out, cards=cards or [], data_root=data_root, protocol=protocol, split=split, limit=limit)


@data_app.command("path")
def data_path(data_root: DataRoot = None, cards: Cards = None) -> None:
    """The folders in use."""
    from sapiens_bench.commands import data

    data.path(cards=cards or [], data_root=data_root)


@weights_app.command("list")
def weights_list(task: TaskFilter = None, weights_root: WeightsRoot = None, cards: Cards = None) -> None:
    """Every model with weights: here or missing, size, licence."""
    from sapiens_bench.commands import weights

    weights.show_list(task=task, cards=cards or [], weights_root=weights_root)


@weights_app.command("show")
def weights_show(name: Name, weights_root: WeightsRoot = None, cards: Cards = None) -> None:
    """File, sha256, licence, and how to get it."""
    from sapiens_bench.commands import weights

    weights.show(name, cards=cards or [], weights_root=weights_root)


@weights_app.command("get")
def weights_get(
    name: Name,
    accept_licence: Annotated[
        str, typer.Option("--accept-licence", metavar="LICENCE", help="Its name: you have read and accept it.")
    ] = "",
    cards: Cards = None,
) -> None:
    """Fetch the files of one model into the cache, checked by sha256."""
    from sapiens_bench.commands import weights

    weights.get(name, cards=cards or [], accept_licence=accept_licence)


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
