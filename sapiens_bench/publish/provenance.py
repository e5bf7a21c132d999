"""Where the numbers of a page come from, as sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.report.numbers import size
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.store.record import RunRecord

_FACT = ("Fact", "Value")
_MODEL = ("Model", "Status", "Weights", "Size", "sha256", "Licence", "Trained on", "Fingerprint")


def provenance(runs: Sequence[tuple[str, Path, RunRecord]]) -> tuple[Sheet, ...]:
    """Runs, models, data sets and packages, each once."""
    several = len(runs) > 1
    sheets: list[Sheet] = []
    for label, root, record in runs:
        head = f"{label}: " if several else ""
        sheets += [
            Sheet(f"{head}run", _FACT, _run(root, record), (0, 1)),
            Sheet(f"{head}models", _MODEL, _models(record), (0, 1, 2, 4, 5, 6, 7)),
            Sheet(f"{head}data sets", ("Data set", "Protocol", "Images", "Licence", "Boxes", "Manifest"),
                  _data(record), (0, 1, 3, 4, 5)),
            Sheet(f"{head}packages", ("Package", "Version"), tuple(record.packages.items()), (0, 1)),
        ]  # fmt: skip
    return tuple(sheet for sheet in sheets if sheet.rows)


def _run(root: Path, record: RunRecord) -> tuple[tuple[str, str], ...]:
    hardware = record.hardware
    facts = {
        "Folder": root.name,
        "Command": record.command,
        "Status": record.status,
        "Version": record.version,
        "Commit": record.git.commit + (" (with uncommitted changes)" if record.git.dirty else ""),
        "Started": record.started,
        "Finished": record.finished,
        "Device": hardware.device,
        "Processor": hardware.cpu,
        "GPUs": ", ".join(hardware.gpus),
        "Precision": str(record.request.get("precision") or ""),
        "Seeds": ", ".join(f"{name} {value}" for name, value in record.seeds.items()),
        "Bootstrap draws": str(record.request.get("n_boot", "")),
        "Record": "run.json has the cards as used; `sapiens-bench verify run` makes every score again from the rows",
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _models(record: RunRecord) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (c.title, c.status, c.weights_file, size(c.weights_bytes), c.weights_sha256[:16], c.licence, c.trained_on,
         c.fingerprint[:16])
        for c in record.cells
        if c.status in ("done", "incomplete")
    )  # fmt: skip


def _data(record: RunRecord) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (d.title or name, d.protocol, str(d.n_images), d.licence, d.boxes_source or d.boxes, d.manifest_sha256[:16])
        for name, d in record.datasets.items()
    )
