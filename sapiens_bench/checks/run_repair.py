"""run.json made again from the rows, when it cannot be read: the rows are the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from sapiens_bench import __version__
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.run_scores import score_again, task_of
from sapiens_bench.engine.cells import blank_record
from sapiens_bench.engine.scores import count, examples
from sapiens_bench.errors import StoreError
from sapiens_bench.stats.draws import OF_SCORES
from sapiens_bench.store.causes import row_causes
from sapiens_bench.store.files import read_json
from sapiens_bench.store.fingerprint import FILE as CELL_FILE
from sapiens_bench.store.lock import locked
from sapiens_bench.store.paths import cell_folders, set_aside
from sapiens_bench.store.record import FILE, CellRecord, DatasetRecord, RunRecord, write_run
from sapiens_bench.store.rows import read_rows

_LOST = (
    f"{FILE} was damaged and was made again from the rows: the command, the machine, the times, and whether only a "
    "part of a data set was asked for (--limit) are lost."
)


def repair(root: Path, catalog: Catalog) -> RunRecord:
    """Set a damaged run.json aside and put one in its place that the rows of the folder give.

    Raises:
        StoreError: no rows are there, or they are damaged as well.
        FolderInUse: a run works in the folder.
    """
    with locked(root):
        record = rebuilt(root, catalog)
        if (root / FILE).exists():
            set_aside(root, root / FILE)
        write_run(root, record)
    return record


def rebuilt(root: Path, catalog: Catalog) -> RunRecord:
    """The record that the rows of a folder give.

    Raises:
        StoreError: no rows are there, or they are damaged.
    """
    cells = [_cell(root, folder, catalog) for folder in cell_folders(root, "rows")]
    if not cells:
        raise StoreError(f"{root} holds no rows, so there is nothing that {FILE} could be made from.")
    record = RunRecord(
        status="done" if all(cell.status == "done" for cell, _, _ in cells) else "incomplete",
        task=cells[0][0].task,
        version=__version__,
        request={"task": cells[0][0].task, "n_boot": OF_SCORES, "seed": 0, "split": cells[0][2].get("split") or ""},
        seeds={"bootstrap": 0, "models": 0},
        notes=[_LOST],
        cells=[cell for cell, _, _ in cells],
    )
    for cell, rows, fields in cells:
        record.datasets.setdefault(cell.dataset, _dataset(cell, rows, fields, catalog))
    for name, facts in record.datasets.items():
        members = [(cell, rows) for cell, rows, _ in cells if cell.dataset == name]
        scored, notes = score_again(record, members, catalog)
        record.notes += notes
        for found in scored:
            found.cell.scores, found.cell.headline = found.scores, task_of(record, found.cell, catalog).headline
        left_out = {i for _, rows in members for i in _indices_at_fault(rows)}
        facts.n_excluded, facts.n_scored = len(left_out), facts.n_images - len(left_out)
    return record


def _cell(root: Path, folder: Path, catalog: Catalog) -> tuple[CellRecord, pa.Table, dict[str, Any]]:
    """A cell as its rows, its cell.json and today's cards know it."""
    task, dataset, protocol, model = folder.relative_to(root / "rows").parts
    try:
        claim = read_json(folder / CELL_FILE)
        fields, fingerprint = dict(claim["fields"]), str(claim["fingerprint"])
    except (FileNotFoundError, StoreError, KeyError, TypeError, ValueError):
        fields, fingerprint = {}, ""
    rows = read_rows(folder)
    record = CellRecord(task=task, dataset=dataset, protocol=protocol, model=model, title=model, status="done")
    entry, card = catalog.of_row(model), catalog.datasets.get(dataset)
    if entry is not None and card is not None and protocol in card.protocols:
        record = blank_record(entry, card, protocol, "done")
    samples = fields.get("samples")
    planned = samples.get("n") if isinstance(samples, dict) else None
    record.fingerprint, record.weights_sha256 = fingerprint, str(fields.get("weights_sha256") or "")
    record.counts = count(rows, planned if isinstance(planned, int) else rows.num_rows)
    record.status = "done" if record.counts.done == record.counts.planned else "incomplete"
    record.errors, record.causes = examples(rows), row_causes(rows)
    return record, rows, fields


def _dataset(cell: CellRecord, rows: pa.Table, fields: dict[str, Any], catalog: Catalog) -> DatasetRecord:
    card = catalog.datasets.get(cell.dataset)
    protocol = card.protocols.get(cell.protocol) if card is not None else None
    return DatasetRecord(
        title=card.title if card else cell.dataset,
        licence=card.licence.name if card else "",
        n_images=cell.counts.planned or rows.num_rows,
        manifest_sha256=str(fields.get("manifest_sha256") or ""),
        protocol=cell.protocol,
        protocol_title=protocol.title if protocol else "",
        caveat=protocol.caveat if protocol else "",
        boxes=str(fields.get("boxes") or ""),
    )


def _indices_at_fault(rows: pa.Table) -> list[int]:
    sides = zip(rows["index"].to_pylist(), rows["error_side"].to_pylist(), strict=True)
    return [index for index, side in sides if side == "input"]
