"""``sapiens-bench run``: plan, evaluate, show the table and say what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.commands.output import grid, next_commands, say, stderr, stdout, write
from sapiens_bench.errors import IncompleteRun, SapiensBenchError, TooManyErrors, UnknownName, UsageError
from sapiens_bench.report.formats import FORMATS
from sapiens_bench.report.numbers import duration, size
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import RunRecord, read_run

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.engine.request import Request
    from sapiens_bench.report.table import Table


def execute(request: Request, *, dry_run: bool, fmt: str) -> None:
    """Run a request and print its table.

    Raises:
        SapiensBenchError: whatever the plan or the run refuses; after a run that is complete but has too many errors,
            or is incomplete, the table is printed first.
    """
    from sapiens_bench.cards.catalog import Catalog

    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)
    catalog = Catalog.load(request.cards)
    plan = _plan(request, catalog, dry_run=dry_run)
    if dry_run:
        show_plan(plan)
        return
    complaint: SapiensBenchError | None = None
    try:
        record = _watched(plan)
    except (TooManyErrors, IncompleteRun) as error:
        if not (plan.out / "run.json").exists():
            raise
        record, complaint = read_run(plan.out), error
    show_table(build(record, catalog), fmt)
    if fmt == "text":
        say("")
        say(f"Run: {plan.out}")
        next_commands(_next(plan.out, record))
    else:
        say(f"Run: {plan.out}", to_stderr=True)
    if complaint is not None:
        raise complaint


def _plan(request: Request, catalog: Catalog, *, dry_run: bool) -> Plan:
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.detect import make_box_files
    from sapiens_bench.engine.plan import resolve

    with Watcher(stderr(), 0, 0) as watcher:  # shows something only while a detector works
        boxes = make_box_files(request, catalog, watcher, dry_run=dry_run)
    console = stderr()
    if not console.is_terminal:
        return resolve(request, catalog, boxes)
    with console.status("Reading cards, data sets and weights ..."):
        return resolve(request, catalog, boxes)


def _watched(plan: Plan) -> RunRecord:
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.run import run

    with Watcher(stderr(), len(plan.cells), plan.n_images) as watcher:
        return run(plan, watcher)


def show_table(table: Table, fmt: str) -> None:
    """A table on stdout; in colour where stdout is a terminal."""
    from sapiens_bench.report.formats import render

    console = stdout()
    if fmt == "text" and console.is_terminal:
        from sapiens_bench.report.text import show

        show(table, console)
    else:
        write(render(table, fmt))


def show_plan(plan: Plan) -> None:
    """What would run, how long it may take and what it needs on disk; nothing is written."""
    rows = [
        (c.cell.dataset, c.cell.protocol, c.title, str(c.cell.n_samples), size(c.record.weights_bytes), "will run")
        for c in plan.cells
    ]
    rows += [(r.dataset, r.protocol, r.title, "", size(r.weights_bytes), r.status) for r in plan.unavailable]
    grid(("Data set", "Protocol", "Model", "Images", "Weights", ""), rows, right=(3, 4))
    say("")
    say(f"Images:    {plan.n_images} over {len(plan.cells)} model(s)")
    say(f"Time:      about {duration(plan.estimate_s)} (a rough estimate; rows on disk are not done again)")
    say(f"Disk:      {size(plan.disk_bytes)} needed, {size(plan.free_bytes)} free")
    say(f"Output:    {plan.out}")
    for note in plan.notes:
        say(f"Note:      {note}", "dim")
    for how in dict.fromkeys(r.how for r in plan.unavailable if r.how):
        say(f"Missing:   {how}", "dim")
    say("Nothing was run or written (--dry-run).")


def _next(out: Path, record: RunRecord) -> list[tuple[str, str]]:
    folder = shlex.quote(str(out))
    commands = [
        (f"sapiens-bench report {folder} --format html --out report.html", "a page to share"),
        (f"sapiens-bench report {folder} --format latex", "a table for a paper"),
        (f"sapiens-bench verify {folder}", "read all rows again and check them"),
    ]
    if any(cell.status == "weights missing" for cell in record.cells):
        commands.append((f"sapiens-bench weights list --task {record.task}", "what to fetch for the missing rows"))
    return commands


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``["flip_test=true", "name=x"]`` -> ``{"flip_test": True, "name": "x"}``; values are JSON where they parse."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {pair!r} must have the form name=value, e.g. --option flip_test=false.")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


def split_commas(values: Sequence[str]) -> tuple[str, ...]:
    """Repeated options and comma lists as one tuple, each name once."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))
