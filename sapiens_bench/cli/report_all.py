"""`report --format all`: every form of runs at once, in one folder."""

from __future__ import annotations

import os
from pathlib import Path

from sapiens_bench.cli.output import save, say
from sapiens_bench.cli.report import labels_of, page_text
from sapiens_bench.errors import IncompleteRun, UsageError
from sapiens_bench.store.record import RunRecord, read_run

ENDINGS = {"text": "txt", "md": "md", "latex": "tex", "csv": "csv", "json": "json"}


def write_all(
    folders: list[Path], out: Path | None, *, cards: list[Path], with_pictures: bool, data_root: Path | None
) -> list[RunRecord]:
    """OUT/RUN.md, .tex, .csv, .json and .txt of each run, and OUT/page.html of all of them.

    Raises:
        UsageError: no folder to write to. StoreError: no run there.
        IncompleteRun: rows are missing; everything is written first, headed INCOMPLETE.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.publish.best import told_from_noise
    from sapiens_bench.report.formats import render
    from sapiens_bench.report.tables import build

    if out is None or out.is_file():
        raise UsageError("--format all writes several files: name a folder, --out FOLDER.")
    folders = [folder.parent if folder.name == "run.json" else folder for folder in folders]
    records = [read_run(folder) for folder in folders]
    text, incomplete = page_text(folders, records, cards=cards, with_pictures=with_pictures, data_root=data_root)
    catalog = Catalog.load(cards)
    for label, folder, record in zip(_file_names(folders), folders, records, strict=True):
        table = build(record, catalog, told_from_noise(record, folder))
        for form, ending in ENDINGS.items():
            save(out / f"{label}.{ending}", render(table, form))
    save(out / "page.html", text)
    say(f"Written: {out}, {len(ENDINGS) * len(records) + 1} files")
    if incomplete:
        raise IncompleteRun(f"INCOMPLETE: {incomplete}")
    return records


def _file_names(folders: list[Path]) -> list[str]:
    """A name without separators for each run, told apart by numbers where need be."""
    names = [
        label.strip("/").replace("/", "-")
        for label in labels_of([Path(os.path.realpath(folder)) for folder in folders])
    ]
    return names if len({*names, "page"}) > len(names) else [f"{n}-{name}" for n, name in enumerate(names, 1)]
