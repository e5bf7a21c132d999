"""``sapiens-bench box-study``: accuracy against box quality over several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.cli.flags import Format, FormatOption, OutFile, RunFolders
from sapiens_bench.cli.output import show

EXAMPLES = "Example: sapiens-bench box-study results/runs/GT results/runs/DETECTOR --format md"


def box_study(runs: RunFolders, format_: FormatOption = Format.text, out: OutFile = None) -> None:
    """Several runs that differ in their boxes: accuracy against box quality, model by model."""
    show_study(runs, fmt=format_.value, out=out)


def show_study(folders: Sequence[Path], *, fmt: str, out: Path | None) -> None:
    """Print or write the study.

    Raises:
        StoreError: a folder is no run. UsageError: the runs do not make a study.
    """
    from sapiens_bench.report.box_study import box_study as study
    from sapiens_bench.store.record import read_run

    show(study([read_run(folder) for folder in folders]), fmt, out)
