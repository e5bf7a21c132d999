"""``sapiens-bench score``: results made elsewhere, against annotations or maps. No card, no model, no pictures."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sapiens_bench.cli.flags import Cards, Format, MaxPixels, Scoring, Select, expanded, parse_options
from sapiens_bench.stats.draws import OF_SCORES

EXAMPLES = """Examples:

    sapiens-bench score --task pose --truth person_keypoints_val2017.json results.json

    sapiens-bench score --task pose --truth crowdpose_test.json a.json b.json --data-option 'area=0.53 x box'

    sapiens-bench score --truth posetrack18_val.json results.json --data-option head_box=bbox_head --scoring pck=head

    sapiens-bench score --truth person_keypoints_val2017.json results.json --select 'people=1,box_px>300'

    sapiens-bench score --task depth --truth gt/depths predictions/ --resize bilinear

    sapiens-bench score --task seg --truth gt/labels predictions/ --space body28

    sapiens-bench score --task matting --truth gt predictions/ --protocol unknown      # gt/alphas, gt/trimaps

    sapiens-bench score --task albedo --truth gt predictions/ --data-option colour_space=srgb --option colour_space=srgb
"""
SHARD_SIZE = 1024  # rows of poses cost nothing to make again, so shards may be large


def score(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS",
            show_default=False,
            help="Poses: COCO results files, demo JSON, or folders of it. Maps: folders, a file a sample. A row each.",
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option("--truth", metavar="PATH", help="The annotation file, or the folder of maps.", show_default=False),
    ],
    task: Annotated[
        str, typer.Option("--task", help="pose, seg, depth, normal, matting, albedo, a plug-in's.")
    ] = "pose",
    space: Annotated[
        str, typer.Option("--space", help="Keypoint or label set of the truth, where it does not say.")
    ] = "",
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Depth: scale_shift (default) or _l1, scale, median, none. Matting: whole, unknown. "
            "Albedo: srgb, linear.",
        ),
    ] = None,
    resize: Annotated[
        str | None, typer.Option("--resize", help="Maps of another size: bilinear, or nearest (labels: nearest).")
    ] = None,
    max_pixels: MaxPixels = None,
    nms: Annotated[
        bool, typer.Option("--nms", help="Suppress similar instances once more. Results are final.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the results, e.g. depth_kind=metric_depth.")
    ] = None,
    data_option: Annotated[
        list[str] | None, typer.Option("--data-option", help="NAME=VALUE for the truth, e.g. unit=mm. Repeatable.")
    ] = None,
    scoring: Scoring = None,
    out: Annotated[
        Path | None, typer.Option("--out", callback=expanded, help="Run folder. Default: results/runs/<name>.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the intervals.")] = 0,
    n_boot: Annotated[int, typer.Option("--n-boot", min=0, help="Bootstrap draws; 0: no intervals.")] = OF_SCORES,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    select: Select = "",
    cards: Cards = None,
    max_errors: Annotated[
        float | None,
        typer.Option("--max-errors", min=0.0, max=1.0, help="Share of images that may fail.", show_default="0.01"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="Of the table printed at the end.")] = Format.text,
) -> None:
    """Score results made elsewhere: poses against an annotation file, depth, normals or labels against a folder."""
    from sapiens_bench.cli.output import typed
    from sapiens_bench.cli.run import execute
    from sapiens_bench.engine.request import Request

    data_options = parse_options(data_option or [], "--data-option")
    options = parse_options(option or []) | ({"nms": True} if nms else {}) | ({"resize": resize} if resize else {})
    more: dict[str, Any] = {} if max_pixels is None else {"max_pixels": max_pixels}
    more |= {"shard_size": SHARD_SIZE} if task == "pose" else {}
    files = [Path(os.path.realpath(path.expanduser())) for path in (truth, *results)]  # of a link loop itself
    choices = [space, repr(limit), repr(sorted(data_options.items())), repr(sorted(options.items()))]
    keys = parse_options(scoring or [], "--scoring")
    choices += [repr(sorted(keys.items()))] if keys else []
    choices += [str(choice) for choice in (task if task != "pose" else "", protocol, max_pixels) if choice]
    choices += [f"select {select}"] if select else []
    request = Request(
        task=task,
        models=tuple(f"predictions:{path}" for path in dict.fromkeys(files[1:])),
        datasets=(f"truth[{space}]:{files[0]}" if space else f"truth:{files[0]}",),
        limit=limit,
        select=select,
        protocol=protocol,
        out=out or _folder(files, choices),
        device="cpu",
        seed=seed,
        cards=tuple(cards or ()),
        boxes="none" if task == "pose" else "",
        options=options,
        data_options=data_options,
        scoring=keys,
        max_errors=max_errors,
        n_boot=n_boot,
        command=typed(),
        **more,
    )
    execute(request, fmt=format_.value)


def _folder(files: list[Path], choices: list[str]) -> Path:
    """Below ./results/runs, named so that the same question about the same files finds the same folder."""
    digest = hashlib.sha256("\n".join([*choices, *map(_identity, files)]).encode()).hexdigest()
    return Path("results") / "runs" / f"score-{files[0].stem}-{digest[:8]}"


def _identity(path: Path) -> str:
    """Changes when the file does, or any file of the folder."""
    from sapiens_bench.pixels.listing import listed
    from sapiens_bench.store.files import file_identity

    try:
        inside = [Path(found.path) for found in listed(path)] if path.is_dir() else [path]
    except OSError:
        inside = []  # the plan says that it cannot be read
    return "\n".join([str(path), *map(str, inside), file_identity(inside)])
