"""``sapiens-bench report``: the table of a finished run, in any format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.commands.output import say
from sapiens_bench.commands.profile import show as show_profile
from sapiens_bench.commands.run import show_table
from sapiens_bench.errors import IncompleteRun, StorageFull, TooManyErrors, UnknownName
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import RunRecord, read_run


def execute(folder: Path, *, fmt: str, out: Path | None, cards: Sequence[Path], strict: bool) -> None:
    """Print or write the table of a run.

    Raises:
        StoreError: no run there.
        IncompleteRun: rows are missing; the table is written first, headed INCOMPLETE.
        TooManyErrors: ``strict``, and an image was excluded or missed.
    """
    from sapiens_bench.cards.catalog import Catalog

    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)
    profiled = (folder / "profile.json").is_file()
    record = None if profiled and not (folder / "run.json").is_file() else read_run(folder)
    if record is None or (profiled and not record.cells):
        show_profile(folder, fmt=fmt, out=out)
        return
    table = build(record, Catalog.load(cards))
    if out is None:
        show_table(table, fmt)
        if profiled and fmt in ("text", "md"):
            show_profile(folder, fmt=fmt, out=None)
    else:
        try:
            out.write_text(render(table, fmt), encoding="utf-8")
        except OSError as error:
            raise StorageFull(f"{out} could not be written: {error.strerror}.") from None
        say(f"Written: {out}")
    if table.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {table.incomplete}")
    if strict:
        _refuse_errors(record)


def _refuse_errors(record: RunRecord) -> None:
    bad = [c for c in record.cells if c.counts.input_errors + c.counts.prediction_errors]
    if bad:
        parts = "; ".join(
            f"{c.title} on {c.dataset}: {c.counts.input_errors} excluded, {c.counts.prediction_errors} missed"
            for c in bad
        )
        raise TooManyErrors(f"--strict allows no error rows. {parts}.")
