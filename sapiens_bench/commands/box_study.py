"""``sapiens-bench report A B ... --box-study``: accuracy against box quality over several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.commands.output import say
from sapiens_bench.commands.run import show_table
from sapiens_bench.errors import StorageFull, UnknownName, UsageError
from sapiens_bench.report.box_study import box_study
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.store.record import read_run


def execute(folders: Sequence[Path], *, fmt: str, out: Path | None) -> None:
    """Print or write the study.

    Raises:
        StoreError: a folder is no run. UsageError: the runs do not make a study.
    """
    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)
    table = box_study([read_run(folder) for folder in folders])
    if out is None:
        show_table(table, fmt)
        return
    try:
        out.write_text(render(table, fmt), encoding="utf-8")
    except OSError as error:
        raise StorageFull(f"{out} could not be written: {error.strerror}.") from None
    say(f"Written: {out}")


def only_one(folders: Sequence[Path]) -> Path:
    """The one folder of a plain report.

    Raises:
        UsageError: there are several.
    """
    if len(folders) != 1:
        raise UsageError("`report` prints one run. Several runs make a --box-study.")
    return folders[0]
