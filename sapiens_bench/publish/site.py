"""A leaderboard of many runs as a folder of plain pages: one table for what was scored alike, a page for each run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.decide.sides import Member, read_side
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import SapiensBenchError, UsageError
from sapiens_bench.publish.best import MEANS, leads_of, standing_out
from sapiens_bench.publish.page import page
from sapiens_bench.publish.pairwise import contest
from sapiens_bench.report.page import RunLink, SiteBoard, render, render_site
from sapiens_bench.report.table import Column, TableRow
from sapiens_bench.report.tables import NO_EMPHASIS, Chosen, Emphasis, build
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.store.record import CellRecord, RunRecord, read_run

_MEASURED = ("done",)
_SKIPPED = {"rows", "preds", "maps", "quarantine", "failed"}
Alike = tuple[str, ...]  # what numbers of one table share


@dataclass
class Site:
    """Pages by name, and the runs that are not in them with the reason."""

    files: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    n_runs: int = 0


@dataclass(frozen=True)
class _Entry:
    name: str  # the run's folder below the root
    root: Path
    record: RunRecord
    members: Sequence[Member]

    @property
    def address(self) -> str:
        return f"runs/{re.sub(r'[^A-Za-z0-9._-]+', '-', self.name).strip('.-') or 'run'}.html"


def site(root: Path, catalog: Catalog) -> Site:
    """The pages of every run below a folder that is what its record says; the others are named with the reason.

    A table holds only what was scored on the same samples of the same data under the same protocol, boxes and metric
    versions. Of a model that several runs measured alike the last one counts.

    Raises:
        UsageError: no run lies there.
    """
    found, made = run_folders(root), Site()
    if not found:
        raise UsageError(f"{root} holds no run: a run is a folder with a run.json.")
    entries = []
    for folder in found:
        name = str(folder.relative_to(root)) if folder != root else folder.name
        try:
            entries.append(_entry(name, folder, catalog))
        except SapiensBenchError as error:
            made.left_out[name] = str(error)
    for entry in entries:
        made.files[entry.address] = render(page([(entry.name, entry.root, entry.record)], catalog))
    made.files["index.html"] = render_site(_boards(entries, catalog), made.left_out)
    made.n_runs = len(entries)
    return made


def run_folders(root: Path) -> list[Path]:
    """Folders that hold a run.json, in order; nothing inside a run is looked at, and no link is followed."""
    if (root / "run.json").is_file():
        return [root]
    children = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink()) if root.is_dir() else []
    return [run for child in children if child.name not in _SKIPPED for run in run_folders(child)]


def _entry(name: str, folder: Path, catalog: Catalog) -> _Entry:
    """A run whose rows are what its record says.

    Raises:
        UsageError: it is not in order; names the first fault.
        StoreError: it cannot be read.
    """
    record = read_run(folder)
    faults = check_run(folder, record, catalog).all_faults()
    if faults:
        raise UsageError(f"not in order: {faults[0]}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))
    return _Entry(name, folder, record, read_side(folder).members)


def _boards(entries: Sequence[_Entry], catalog: Catalog) -> list[SiteBoard]:
    groups: dict[Alike, list[tuple[_Entry, CellRecord, Member]]] = {}
    for entry in sorted(entries, key=lambda e: e.record.finished or e.record.started):
        members = {(*m.place, m.model): m for m in entry.members}
        for cell in entry.record.cells:
            if cell.status in _MEASURED:
                member = members[cell.dataset, cell.protocol, cell.model]
                groups.setdefault(_alike(cell, member), []).append((entry, cell, member))
    return [_board(rows, catalog) for _, rows in sorted(groups.items())]


def _alike(cell: CellRecord, member: Member) -> Alike:
    """Everything that ``decide.agreement`` compares, as text."""
    from sapiens_bench.decide.agreement import COMPARED

    facts = member.fields
    compared = [repr(facts.get(name)) for name in COMPARED if name not in ("dataset", "protocol")]
    return (cell.task, cell.dataset, cell.protocol, *compared)


def _board(rows: Sequence[tuple[_Entry, CellRecord, Member]], catalog: Catalog) -> SiteBoard:
    """One table: the last measurement of every model."""
    last = {cell.model: (entry, cell, member) for entry, cell, member in rows}
    first = rows[-1][0].record
    merged = first.model_copy(update={"cells": [cell for _, cell, _ in last.values()], "notes": [], "status": "done"})
    members = [member for _, _, member in last.values()]
    table = build(merged, catalog, _emphasis(merged, members))
    links: dict[str, list[str]] = {}
    for entry, cell, _ in last.values():
        links.setdefault(entry.name, []).append(cell.title)
    by_name = {entry.name: entry for entry, _, _ in last.values()}
    return SiteBoard(table, tuple(_link(by_name[name], titles) for name, titles in links.items()))


def _link(entry: _Entry, titles: Sequence[str]) -> RunLink:
    record = entry.record
    hardware = record.hardware
    machine = ", ".join(hardware.gpus) if hardware.device.startswith("cuda") else hardware.cpu
    facts = (record.finished or record.started, machine, f"version {record.version}" if record.version else "")
    return RunLink(entry.name, entry.address, ", ".join(titles), ", ".join(fact for fact in facts if fact))


def _emphasis(record: RunRecord, members: Sequence[Member]) -> Emphasis:
    n_boot = int(record.request.get("n_boot") or 0)
    if not n_boot or len(members) < 2:
        return NO_EMPHASIS

    def choose(place: tuple[str, str], rows: Sequence[TableRow], columns: Sequence[Column]) -> Chosen:
        leads = leads_of(rows, columns)
        weights = Draws(draws_for(len(leads), n_boot), record.seeds.get("bootstrap", 0))
        found = contest(members, weights) if leads else None
        return standing_out(leads, {"": found}, lambda model: ("", model)) if found is not None else Chosen()

    return Emphasis(choose, MEANS)
