"""``sapiens-bench verify run``: read a run's rows again and count."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cli.output import grid, save, say
from sapiens_bench.errors import IncompleteRun, StoreError
from sapiens_bench.store.record import RunRecord, read_run

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.run_folder import RunCheck

_N_SHOWN = 20


def run(folder: Path, *, json_out: Path | None, cards: Sequence[Path] = (), repair: bool = False) -> None:
    """Check every cell of a run folder: rows against plan and commits, scores against rows.

    Raises:
        StoreError: no run there, or its record is damaged (``repair`` makes it again from the rows).
        IncompleteRun: rows are missing, duplicate or damaged, or run.json says something else than they do.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.run_folder import check_run
    from sapiens_bench.cli.arrow import spare_pandas

    spare_pandas()
    catalog = Catalog.load(cards)
    root = folder.parent if folder.name == "run.json" else folder
    check = check_run(root, _record(root, catalog, repair), catalog)
    _show(check)
    if json_out is not None:
        data = {
            "schema": "verify/2",
            "run": str(root),
            "cells": [asdict(cell) for cell in check.cells],
            "faults": check.all_faults(),
            "notes": check.all_notes(),
        }
        save(json_out, json.dumps(data, indent=1, allow_nan=False) + "\n")
    if faults := check.all_faults():
        more = [f"  - and {len(faults) - _N_SHOWN} more"] if len(faults) > _N_SHOWN else []
        raise IncompleteRun(
            "\n".join([f"{root} is not in order:", *(f"  - {fault}" for fault in faults[:_N_SHOWN]), *more])
        )
    say(f"{root}: {sum(c.found for c in check.cells)} rows of {len(check.cells)} cell(s) in order.", "green")


def _record(root: Path, catalog: Catalog, repair: bool) -> RunRecord:
    """The run's record, made again where it is damaged and the user asks for that."""
    try:
        return read_run(root)
    except StoreError as error:
        if not (root / "rows").is_dir():
            raise
        if not repair:
            raise IncompleteRun(
                f"{error} Its rows are the truth: the same `run` command makes the record again without computing an "
                f"image; where the command is lost, `sapiens-bench verify run {shlex.quote(str(root))} --repair` does."
            ) from None
    from sapiens_bench.checks.run_repair import repair as make_again

    record = make_again(root, catalog)
    say(f"run.json was made again from the rows of {len(record.cells)} cell(s).")
    return record


def _show(check: RunCheck) -> None:
    from sapiens_bench.store.causes import run_causes, sentence

    titles = {(c.dataset, c.model): c.title for c in check.record.cells}
    rows = [
        (c.dataset, titles[c.dataset, c.model], *map(str, (c.planned, c.found, c.duplicate, c.corrupt, c.error)),
         c.sha256[:16])
        for c in check.cells
    ]  # fmt: skip
    heads = ("Data set", "Model", "Planned", "Found", "Duplicate", "Corrupt", "Error", "sha256 of rows")
    grid(heads, rows, right=(2, 3, 4, 5, 6))
    unmeasured = {"weights missing", "data missing"}  # nothing of theirs is here to be verified
    skipped = {(c.dataset, c.model) for c in check.record.cells if c.status in unmeasured}
    causes = [found for found in run_causes(check.record) if (found.dataset, found.model) not in skipped]
    for found in causes[:_N_SHOWN]:
        place = " on ".join(part for part in (found.model, found.dataset) if part)
        say(f"{place}: {sentence(found.cause)}" if place else sentence(found.cause), "yellow")
    if len(causes) > _N_SHOWN:
        say(f"and {len(causes) - _N_SHOWN} more: sapiens-bench errors {shlex.quote(str(check.root))}", "yellow")
    for note in check.all_notes():
        say(f"note: {note}", "dim")
