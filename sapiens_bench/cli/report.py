"""``sapiens-bench report``: the table of a finished run or profile, in any format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import Cards, Format, FormatOption, OutFile, RunFolders
from sapiens_bench.cli.output import say, show
from sapiens_bench.cli.refusals import complain_of_refusals
from sapiens_bench.errors import IncompleteRun, TooManyErrors, UsageError

if TYPE_CHECKING:
    from sapiens_bench.store.record import RunRecord

EXAMPLES = "Example: sapiens-bench report results/runs/NAME --format html --out report.html"


class PaperTable(StrEnum):
    """Tables of the paper."""

    pose, seg, depth, normal = "paper-pose", "paper-seg", "paper-depth", "paper-normal"
    costs = "costs"


def report(
    runs: RunFolders,
    format_: FormatOption = Format.text,
    out: OutFile = None,
    cards: Cards = None,
    table: Annotated[
        PaperTable | None,
        typer.Option("--table", help="The paper's own tables: several runs (costs: and profiles) beside the print."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when an image was excluded or missed, or a model refused.")
    ] = False,
    study: Annotated[bool, typer.Option("--box-study", hidden=True)] = False,
    pareto: Annotated[bool, typer.Option("--pareto", hidden=True)] = False,
) -> None:
    """Print the table of a run, or the tables of a profile, as text, Markdown, LaTeX, HTML, CSV or JSON."""
    if table is not None:
        _paper_table(runs, table.value, fmt=format_.value, out=out, cards=cards or [])
    elif pareto:
        from sapiens_bench.cli.pareto import show_pareto

        say("`report --pareto` is a command of its own: sapiens-bench pareto RUN PROFILE", "dim", to_stderr=True)
        show_pareto(runs, fmt=format_.value, out=out, plots=None, cards=cards or [])
    elif study:
        from sapiens_bench.cli.box_study import show_study

        say("`report --box-study` is a command of its own: sapiens-bench box-study RUN...", "dim", to_stderr=True)
        show_study(runs, fmt=format_.value, out=out)
    else:
        _report(runs, fmt=format_.value, out=out, cards=cards or [], strict=strict)


def _report(folders: list[Path], *, fmt: str, out: Path | None, cards: list[Path], strict: bool) -> None:
    """Print or write the table of one run.

    Raises:
        StoreError: no run there.
        IncompleteRun: rows are missing; the table is written first, headed INCOMPLETE.
        TooManyErrors: ``strict``, and an image was excluded or missed.
        ModelsRefused: ``strict``, and a model was refused.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.publish.best import told_from_noise
    from sapiens_bench.report.tables import build
    from sapiens_bench.store.record import read_run

    if len(folders) != 1:
        raise UsageError("`report` prints one run. `box-study` and `pareto` join several.")
    folder = folders[0]
    profiled = (folder / "profile.json").is_file()
    record = None if profiled and not (folder / "run.json").is_file() else read_run(folder)
    if record is None or (profiled and not record.cells):
        _show_profile(folder, fmt, out)
        return
    table = build(record, Catalog.load(cards), told_from_noise(record, folder))
    show(table, fmt, out)
    if profiled and out is None and fmt in ("text", "md"):
        _show_profile(folder, fmt, None)
    if table.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {table.incomplete}")
    if strict:
        _refuse_errors(record)
        complain_of_refusals(record)


def _paper_table(folders: list[Path], name: str, *, fmt: str, out: Path | None, cards: list[Path]) -> None:
    """Print or write a table of the paper.

    Raises:
        StoreError: a folder holds no run (and, for costs, no profile).
        UsageError: a run is of another task.
        IncompleteRun: rows of a run are missing; the table is written first and marks them.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.report.tables import build
    from sapiens_bench.store.record import read_run

    profiles = [folder for folder in folders if name == "costs" and (folder / "profile.json").is_file()]
    others = [folder for folder in folders if folder not in profiles or (folder / "run.json").is_file()]
    labels = _labels(others)
    runs = [(label, read_run(folder)) for label, folder in zip(labels, others)]
    if name == "costs":
        from sapiens_bench.profiling.record import read_profile
        from sapiens_bench.report.costs import cost_table

        document = cost_table(runs, [read_profile(folder) for folder in profiles])
    else:
        from sapiens_bench.report.paper import paper_table

        document = paper_table(name, runs, Catalog.load(cards))
    show(document, fmt, out)
    incomplete = [f"{label}: {missing}" for label, record in runs if (missing := build(record).incomplete)]
    if incomplete:
        raise IncompleteRun(f"INCOMPLETE: {'; '.join(incomplete)}")


def _labels(folders: list[Path]) -> list[str]:
    """Names of folders, with as much of the path as tells them apart."""
    for depth in range(1, max((len(f.parts) for f in folders), default=1) + 1):
        labels = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(labels)) == len(labels):
            break
    return [str(folder) for folder in folders] if len(set(labels)) < len(labels) else labels


def _show_profile(folder: Path, fmt: str, out: Path | None) -> None:
    from sapiens_bench.profiling.record import read_profile
    from sapiens_bench.report.profile_tables import document

    show(document(read_profile(folder)), fmt, out)


def _refuse_errors(record: RunRecord) -> None:
    bad = [c for c in record.cells if c.counts.input_errors + c.counts.prediction_errors]
    if bad:
        parts = "; ".join(
            f"{c.title} on {c.dataset}: {c.counts.input_errors} excluded, {c.counts.prediction_errors} missed"
            for c in bad
        )
        raise TooManyErrors(f"--strict allows no error rows. {parts}.")
