"""``sapiens-bench score``: results made elsewhere, against an annotation file. No card, no model, no pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, Format, parse_options

EXAMPLES = """Examples:

    sapiens-bench score --task pose --truth person_keypoints_val2017.json results.json

    sapiens-bench score --task pose --truth crowdpose_test.json a.json b.json --data-option 'area=0.53 x box'
"""
SHARD_SIZE = 1024  # rows of results cost nothing to make again, so shards may be large


def score(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS", show_default=False, help="COCO results files, demo JSON, or folders of it. One row each."
        ),
    ],
    truth: Annotated[Path, typer.Option("--truth", metavar="FILE", help="The annotation file.", show_default=False)],
    task: Annotated[str, typer.Option("--task", help="pose.")] = "pose",
    space: Annotated[
        str, typer.Option("--space", help="Keypoint set of the annotation file, where it does not say.")
    ] = "",
    nms: Annotated[
        bool, typer.Option("--nms", help="Suppress similar instances once more. Results are final.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the results, e.g. keypoint_scores=stored.")
    ] = None,
    data_option: Annotated[
        list[str] | None, typer.Option("--data-option", help="NAME=VALUE for the annotation file. Repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: results/runs/<name>.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the intervals.")] = 0,
    n_boot: Annotated[int, typer.Option("--n-boot", min=0, help="Bootstrap draws; 0: no intervals.")] = 1000,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    cards: Cards = None,
    max_errors: Annotated[
        float | None,
        typer.Option("--max-errors", min=0.0, max=1.0, help="Share of images that may fail.", show_default="0.01"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="Of the table printed at the end.")] = Format.text,
) -> None:
    """Score results made elsewhere against an annotation file, as the official evaluation does."""
    from sapiens_bench.cli.output import typed
    from sapiens_bench.cli.run import execute
    from sapiens_bench.engine.request import Request

    data_options = parse_options(data_option or [], "--data-option")
    options = parse_options(option or []) | ({"nms": True} if nms else {})
    files = [path.expanduser().resolve() for path in (truth, *results)]
    choices = [space, repr(limit), repr(sorted(data_options.items())), repr(sorted(options.items()))]
    request = Request(
        task=task,
        models=tuple(f"predictions:{path}" for path in dict.fromkeys(files[1:])),
        datasets=(f"truth[{space}]:{files[0]}" if space else f"truth:{files[0]}",),
        limit=limit,
        out=out or _folder(files, choices),
        device="cpu",
        seed=seed,
        cards=tuple(cards or ()),
        boxes="none",
        options=options,
        data_options=data_options,
        max_errors=max_errors,
        shard_size=SHARD_SIZE,
        n_boot=n_boot,
        command=typed(),
    )
    execute(request, dry_run=False, fmt=format_.value)


def _folder(files: list[Path], choices: list[str]) -> Path:
    """Below ./results/runs, named so that the same question about the same files finds the same folder."""
    digest = hashlib.sha256("\n".join([*choices, *map(_identity, files)]).encode()).hexdigest()
    return Path("results") / "runs" / f"score-{files[0].stem}-{digest[:8]}"


def _identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return str(path)  # the plan says that it is not there
    return f"{path} {status.st_size} {status.st_mtime_ns}"
