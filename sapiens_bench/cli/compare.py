"""``sapiens-bench compare``: is A better than B, by how much, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import DataRoot, Format, FormatOption, OutFile, OwnWeightsRoot, expanded, split_commas
from sapiens_bench.cli.output import show
from sapiens_bench.errors import IncompleteRun, UsageError
from sapiens_bench.stats.draws import OF_DIFFERENCES

EXAMPLES = """Examples:

    sapiens-bench compare results/runs/BEFORE results/runs/AFTER

    sapiens-bench compare results/runs/NAME --models movenet-thunder,blazepose-full --by part

    sapiens-bench compare results/runs/NAME --models movenet-thunder@fp32,movenet-thunder@bf16 --drift 16

    sapiens-bench compare results/studies/NAME   # which model a condition costs more
"""


class Correction(StrEnum):
    """What holds for all rows together."""

    holm = "holm"
    bh = "bh"


class By(StrEnum):
    """What a score is split by."""

    part = "part"
    class_ = "class"
    slice = "slice"


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A [RUN_B]", help="Folders that `run` or `study` printed, or baseline files.",
            show_default=False, callback=expanded,
        ),
    ],
    models: Annotated[
        list[str] | None, typer.Option("--models", help="Only these ids; comma list or repeated.", show_default="all")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option("--scores", help="METRIC/SCORE keys, e.g. oks/AR.", show_default="the score that ranks"),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option("--by", help="Also each part of a pose or class; or slices of the data: size, occlusion ..."),
    ] = None,
    correction: Annotated[
        Correction,
        typer.Option("--correction", help="Of p over all rows; bh: Benjamini-Hochberg, the false discovery rate."),
    ] = Correction.holm,
    n_boot: Annotated[int, typer.Option("--n-boot", min=1, help="Bootstrap draws.")] = OF_DIFFERENCES,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    drift: Annotated[
        int | None,
        typer.Option("--drift", metavar="N", min=1, help="Two forms of a model: run N images again, compare outputs."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Of --drift.", show_default="as the run")] = "",
    data_root: DataRoot = None,
    weights_root: OwnWeightsRoot = None,
    format_: FormatOption = Format.text,
    out: OutFile = None,
) -> None:  # fmt: skip
    """Compare two runs model by model, or the models of one run: differences, intervals, p values, in plain words."""
    from sapiens_bench.cli.arrow import spare_pandas
    from sapiens_bench.decide import compare as body
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.store.files import STUDY

    spare_pandas()
    if any((path / STUDY).is_file() for path in runs):
        _compare_studies(runs, split_commas(models or ()), split_commas(scores or ()), n_boot, seed, format_.value, out)
        return
    if len(runs) > 2:
        raise UsageError(f"`compare` takes one run or two, found {len(runs)}.")
    found = body.compare(
        [read_side(path) for path in runs],
        models=split_commas(models or ()),
        scores=split_commas(scores or ()),
        by="" if by is None else by.value,
        n_draws=n_boot,
        seed=seed,
        correction=correction.value,
    )
    document = body.document(found)
    if drift is not None:
        from sapiens_bench.decide.forms import Places, drifts, with_drift

        document = with_drift(document, drifts(found, drift, Places(data_root, weights_root, device)))
    show(document, format_.value, out)
    if found.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {found.incomplete}")


def _compare_studies(
    folders: Sequence[Path],
    models: Sequence[str],
    scores: Sequence[str],
    n_boot: int,
    seed: int,
    fmt: str,
    out: Path | None,
) -> None:
    """Which of two models a condition costs more: of one study, or each model's profiles in two.

    Raises:
        UsageError: a study beside a run, or more than two studies or scores.
        IncompleteRun: conditions are missing; the tables are written first.
    """
    from sapiens_bench.study import contrast
    from sapiens_bench.study.stored import is_study, read_study

    if lone := [path for path in folders if not is_study(path)]:
        raise UsageError(f"{lone[0]} is no study: a study is compared with a study. `report` tells one by itself.")
    if len(folders) > 2 or len(scores) > 1:
        raise UsageError("`compare` takes one study or two, and of studies one score.")
    studies = [read_study(path) for path in folders]
    found = contrast.contrasts(studies, models=models, score="".join(scores), n_draws=n_boot, seed=seed)
    show(contrast.document(studies, found, n_draws=n_boot, seed=seed), fmt, out)
    if said := [f"{study.path}: {study.incomplete}" for study in studies if study.incomplete]:
        raise IncompleteRun(f"INCOMPLETE: {' '.join(said)}")
