"""``sapiens-bench report``: the table of a finished run or profile, in any format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, OutFile, RunFolders, WithPictures
from sapiens_bench.cli.output import save, say, show, write
from sapiens_bench.cli.refusals import complain_of_refusals
from sapiens_bench.errors import IncompleteRun, TooManyErrors, UsageError

if TYPE_CHECKING:
    from sapiens_bench.store.record import RunRecord

EXAMPLES = """Examples:

    sapiens-bench report results/runs/NAME --format html --out report.html

    sapiens-bench report results/runs/NAME --published        # beside the paper's table of its task

    sapiens-bench report RUN_A RUN_B --table paper-ablation   # gains over the first model of each run

    sapiens-bench report results/studies/NAME --format md
"""


class ReportFormat(StrEnum):
    """How a report is written."""

    text, md, latex, html, csv, json = "text", "md", "latex", "html", "csv", "json"
    all = "all"


class PaperTable(StrEnum):
    """Tables of the paper."""

    pose, seg, depth, normal = "paper-pose", "paper-seg", "paper-depth", "paper-normal"
    albedo, pointmap = "paper-albedo", "paper-pointmap"
    ablation, costs = "paper-ablation", "costs"


def report(
    runs: RunFolders,
    format_: Annotated[
        ReportFormat,
        typer.Option("--format", help="How it is written; all: in every form, into a folder, --out FOLDER."),
    ] = ReportFormat.text,
    out: OutFile = None,
    cards: Cards = None,
    table: Annotated[
        PaperTable | None,
        typer.Option("--table", help="The paper's own tables: several runs (costs: and profiles) beside the print."),
    ] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="--table of the run's own task: every printed row, and what is other here."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when an image was excluded or missed, or a model refused.")
    ] = False,
    with_pictures: WithPictures = False,
    data_root: DataRoot = None,
    study: Annotated[bool, typer.Option("--box-study", hidden=True)] = False,
    pareto: Annotated[bool, typer.Option("--pareto", hidden=True)] = False,
) -> None:
    """Print the table of a run, a study or a profile as text, Markdown, LaTeX, CSV or JSON; html is a page."""
    if format_ is ReportFormat.all:
        from sapiens_bench.cli.report_all import write_all

        if published or table is not None or study or pareto:
            raise UsageError("--format all writes the tables of runs and their page. Name one format for this table.")
        records = write_all(runs, out, cards=cards or [], with_pictures=with_pictures, data_root=data_root)
        if strict:
            _be_strict(records)
        return
    if published and table is None:
        table = _table_of(runs)
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
    elif format_ is ReportFormat.html and any(
        (folder / "run.json").is_file() or folder.name == "run.json" for folder in runs
    ):
        records = _page(runs, out, cards=cards or [], with_pictures=with_pictures, data_root=data_root)
        if strict:
            _be_strict(records)
    elif len(runs) == 1 and _is_study(runs[0]):
        _show_study(runs[0], format_.value, out, cards=cards or [], with_pictures=with_pictures, data_root=data_root)
    else:
        _report(runs, fmt=format_.value, out=out, cards=cards or [], strict=strict)


def _is_study(folder: Path) -> bool:
    from sapiens_bench.store.files import STUDY

    return (folder / STUDY).is_file()


def _table_of(folders: list[Path]) -> PaperTable:
    """The paper's table about the task of the runs.

    Raises:
        StoreError: a folder holds no run. UsageError: no printed table is about their task.
    """
    from sapiens_bench.store.record import read_run

    task = read_run(folders[0]).task
    if task not in PaperTable.__members__ or task == "costs":
        raise UsageError(f"--published: no printed table that is known here is about {task}.")
    return PaperTable[task]


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
        raise UsageError("`report` prints one run, or a page of several (--format html); see box-study and pareto.")
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
        _be_strict([record])


def _show_study(
    folder: Path, fmt: str, out: Path | None, *, cards: list[Path], with_pictures: bool, data_root: Path | None
) -> None:
    """Print or write the tables of a study.

    Raises:
        StoreError: it cannot be read, or no condition was run.
        IncompleteRun: conditions are missing; the tables are written first.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.study_told import tell
    from sapiens_bench.study.folder import read
    from sapiens_bench.study.page import Pictures
    from sapiens_bench.study.stored import draws_of, is_over_time, told_over_time

    catalog = Catalog.load(cards)
    if is_over_time(folder):
        show(told_over_time(folder, catalog, n_draws=draws_of(read(folder))), fmt, out)
        return
    study = tell(folder, Pictures(catalog, data_root, with_pictures), fmt=fmt, out=out).study
    if study.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {study.incomplete}")


def _page(
    folders: list[Path], out: Path | None, *, cards: list[Path], with_pictures: bool, data_root: Path | None
) -> list[RunRecord]:
    """Print or write the page of one run or several; a run of costs alone, and a profile, keep their tables.

    Raises:
        StoreError: no run there, or rows that cannot be read.
        UsageError: runs that scored the same data set in different ways.
        IncompleteRun: rows are missing; the page is written first, headed INCOMPLETE.
    """
    from sapiens_bench.store.record import read_run

    records = [read_run(folder) for folder in folders]
    if len(folders) == 1 and (folders[0] / "profile.json").is_file() and not records[0].cells:
        _show_profile(folders[0], "html", out)
        return records
    text, incomplete = page_text(folders, records, cards=cards, with_pictures=with_pictures, data_root=data_root)
    if out is None:
        write(text)
    else:
        save(out, text)
        say(f"Written: {out}")
    if incomplete:
        raise IncompleteRun(f"INCOMPLETE: {incomplete}")
    return records


def page_text(
    folders: list[Path], records: list[RunRecord], *, cards: list[Path], with_pictures: bool, data_root: Path | None
) -> tuple[str, str]:
    """The page of runs, and what is missing in them. One without a measured model is its table."""
    from sapiens_bench.cards.catalog import Catalog

    catalog = Catalog.load(cards)
    if len(records) == 1 and not any(cell.status in ("done", "incomplete") for cell in records[0].cells):
        from sapiens_bench.report.html import render as render_table
        from sapiens_bench.report.tables import build

        table = build(records[0], catalog)
        return render_table(table), table.incomplete
    from sapiens_bench.publish.page import Choices, page
    from sapiens_bench.report.page import render

    roots = [folder.parent if folder.name == "run.json" else folder for folder in folders]
    runs = list(zip(labels_of(roots), roots, records))
    found = page(runs, catalog, Choices(with_pictures, data_root))
    return render(found), found.incomplete


def _be_strict(records: list[RunRecord]) -> None:
    for record in records:
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
    labels = labels_of(others)
    runs = [(label, read_run(folder)) for label, folder in zip(labels, others)]
    if name == PaperTable.ablation:
        from sapiens_bench.report.gains import ablation_table

        document = ablation_table(Catalog.load(cards), runs)
    elif name == "costs":
        from sapiens_bench.profiling.record import read_profile
        from sapiens_bench.report.costs import cost_table

        document = cost_table(runs, [read_profile(folder) for folder in profiles])
    else:
        from sapiens_bench.publish.paper import telling
        from sapiens_bench.report.paper import paper_table

        roots = [folder.parent if folder.name == "run.json" else folder for folder in others]
        with_roots = [(label, root, record) for (label, record), root in zip(runs, roots)]
        document = paper_table(name, runs, Catalog.load(cards), telling(with_roots))
    show(document, fmt, out)
    incomplete = [f"{label}: {missing}" for label, record in runs if (missing := build(record).incomplete)]
    if incomplete:
        raise IncompleteRun(f"INCOMPLETE: {'; '.join(incomplete)}")


def labels_of(folders: list[Path]) -> list[str]:
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
