"""``sapiens-bench export``: a run in the forms that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, Models, OutFile, RunFolder, WithPictures, split_commas
from sapiens_bench.cli.output import save, say, write
from sapiens_bench.errors import IncompleteRun, UsageError

if TYPE_CHECKING:
    from sapiens_bench.publish.exports import Source

EXAMPLES = """Examples:

    sapiens-bench export results/runs/NAME --as coco --out results_coco

    sapiens-bench export results/runs/NAME --as hf-eval --models movenet-thunder --out model_index.yaml
"""


class Form(StrEnum):
    """What others read."""

    coco, csv, hf_eval, fiftyone = "coco", "csv", "hf-eval", "fiftyone"


def export(
    run: RunFolder,
    form: Annotated[
        Form,
        typer.Option(
            "--as",
            help="coco: results JSON of poses; csv: as timm keeps its results; hf-eval: model-index of a hub card; "
            "fiftyone: samples.json.",
            show_default=False,
        ),
    ],
    out: OutFile = None,
    models: Models = None,
    cards: Cards = None,
    data_root: DataRoot = None,
    with_pictures: WithPictures = False,
) -> None:
    """Write scores or predictions of a run as COCO results, CSV, hub metadata or FiftyOne samples."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.publish.exports import Source
    from sapiens_bench.report.tables import build
    from sapiens_bench.store.record import read_run

    record = read_run(run)
    chosen = tuple(name for name in split_commas(models or ()) if name != "all")
    root = run.parent if run.name == "run.json" else run
    source = Source(root, record, Catalog.load(cards or []), chosen, data_root, with_pictures)
    if form in (Form.csv, Form.hf_eval):
        _one_file(source, form, out)
    else:
        _folder(source, form, out)
    if incomplete := build(record).incomplete:
        raise IncompleteRun(f"INCOMPLETE: {incomplete}")


def _one_file(source: Source, form: Form, out: Path | None) -> None:
    from sapiens_bench.publish.exports import hub_yaml, timm_csv

    text, notes = (timm_csv(source), []) if form is Form.csv else hub_yaml(source)
    for note in notes:
        say(note, "yellow", to_stderr=True)
    if out is None:
        write(text)
    else:
        save(out, text)
        say(f"Written: {out}")


def _folder(source: Source, form: Form, out: Path | None) -> None:
    from sapiens_bench.publish.export_poses import coco_files, fiftyone_files
    from sapiens_bench.store.files import write_atomic

    if out is None:
        raise UsageError(f"--as {form.value} writes several files: give a folder with --out.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --as {form.value} writes a folder.")
    if out.suffix.lower() == ".json":
        raise UsageError(f"--as {form.value} writes a folder, and {out} is called like a file: --out {out.stem}.")
    found = coco_files(source) if form is Form.coco else fiftyone_files(source)
    for note in dict.fromkeys(found.notes):
        say(note, "yellow", to_stderr=True)
    for name, data in found.files.items():
        write_atomic(out / name, data)
    say(f"Written: {len(found.files)} file(s) in {out}")
