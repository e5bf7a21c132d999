"""Is a run folder what its record says? Every row is read again and every score made again; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.run_rows import CellCheck, check_cell
from sapiens_bench.checks.run_scores import score_again
from sapiens_bench.errors import PathEscape, StoreError
from sapiens_bench.store.folder import PLAN_FILE, read_plan
from sapiens_bench.store.lock import holder
from sapiens_bench.store.paths import QUARANTINE, cell_folders
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord

MEASURED = ("done", "incomplete")


@dataclass
class RunCheck:
    """Findings about a run folder."""

    root: Path
    record: RunRecord
    cells: list[CellCheck] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # about the folder as a whole
    notes: list[str] = field(default_factory=list)

    def all_faults(self) -> list[str]:
        """Those of the folder, then those of each cell with its name."""
        return self.faults + [f"{c.model} on {c.dataset}: {fault}" for c in self.cells for fault in c.faults]

    def all_notes(self) -> list[str]:
        """Likewise."""
        return self.notes + [f"{c.model} on {c.dataset}: {note}" for c in self.cells for note in c.notes]


def check_run(root: Path, record: RunRecord, catalog: Catalog) -> RunCheck:
    """Compare the rows of a run with its plan and its record.

    Args:
        root: the run folder.
        record: its run.json.
        catalog: where keypoint and label sets of the scores come from.
    """
    check = RunCheck(root, record)
    plan = _planned_keys(check)
    rows: dict[str, list[tuple[CellRecord, pa.Table | None]]] = {}
    for cell in record.cells:
        if cell.status not in MEASURED:
            continue
        found, table = check_cell(root, cell, plan.get(cell.dataset) if plan else None)
        check.cells.append(found)
        rows.setdefault(cell.dataset, []).append((cell, table))
    if record.status == "done":
        for dataset, members in rows.items():
            _scores(check, dataset, members, catalog)
    _state(check)
    _leftovers(check)
    return check


def _planned_keys(check: RunCheck) -> dict[str, list[str]] | None:
    """Ordered sample keys by data set, from plan.json; None when it is lost, which the same command mends."""
    try:
        data: Any = read_plan(check.root)
        return {name: [str(key) for key in facts["keys"]] for name, facts in data["datasets"].items()}
    except FileNotFoundError:
        reason = f"{PLAN_FILE} is not there"
    except (StoreError, PathEscape) as error:
        reason = str(error).rstrip(".")
    except (KeyError, TypeError, AttributeError):
        reason = f"{PLAN_FILE} is not a plan"
    if check.record.cells:  # the folder of a profile has costs and no plan
        check.faults.append(f"{reason}; the same `run` command makes it again")
    return None


def _scores(check: RunCheck, dataset: str, members: list[tuple[CellRecord, pa.Table | None]], catalog: Catalog) -> None:
    """Make the scores of a data set again. With one cell's rows missing it is unknown which images leave the others."""
    sound = [(cell, table) for cell, table in members if table is not None]
    if len(sound) < len(members):
        check.notes.append(f"{dataset}: scores were not made again, since rows are damaged")
        return
    scored, notes = score_again(check.record, sound, catalog)
    check.notes += notes
    by_place = {(c.dataset, c.protocol, c.model): c for c in check.cells}
    for found in scored:
        cell = found.cell
        place = by_place[cell.dataset, cell.protocol, cell.model]
        place.faults += found.faults[:5]
        if len(found.faults) > 5:
            place.faults.append(f"{len(found.faults) - 5} more scores differ")
    _images(check, dataset, [table for _, table in sound])


def _images(check: RunCheck, dataset: str, tables: list[pa.Table]) -> None:
    facts = check.record.datasets.get(dataset, DatasetRecord())
    left_out = {
        index
        for rows in tables
        for index, side in zip(rows["index"].to_pylist(), rows["error_side"].to_pylist(), strict=True)
        if side == "input"
    }
    if facts.n_excluded is not None and facts.n_excluded != len(left_out):
        check.faults.append(f"{dataset}: run.json excludes {facts.n_excluded} images, the rows {len(left_out)}")


def _state(check: RunCheck) -> None:
    status, owner = check.record.status, holder(check.root)
    if owner:
        check.faults.append(f"the run is still going on ({owner})")
    elif status != "done":
        check.faults.append(f"the run's status is {status!r}; the same `run` command resumes")


def _leftovers(check: RunCheck) -> None:
    """What lies in the folder and is no part of the record."""
    named = {(c.task, c.dataset, c.protocol, c.model) for c in check.record.cells}
    others = [f for f in cell_folders(check.root, "rows") if f.relative_to(check.root / "rows").parts not in named]
    if others:
        first = others[0].relative_to(check.root)
        check.notes.append(f"rows of {len(others)} cell(s) that run.json does not name, the first is {first}")
    aside = sum(1 for _ in _files(check.root / QUARANTINE))
    if aside:
        check.notes.append(f"{aside} damaged file(s) were set aside in {QUARANTINE}/ and may be deleted")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else iter(())
