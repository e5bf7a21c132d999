"""Why numbers are missing or doubtful: the one mechanism that every command and report asks.

Sources: error rows; notes of an adapter about its files and about its boxes; refusals; notes of the run. A kind is
shown once, with its first case, how often it occurred, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from sapiens_bench.errors import StoreError
from sapiens_bench.store.paths import cell_folder
from sapiens_bench.store.record import Cause, CellRecord, DatasetRecord, RunRecord

if TYPE_CHECKING:
    import pyarrow as pa

# What to do, by error code, or by its part before the point where the code is not listed. What belongs to a single case
# (a path, a size, an option of the card) is in the row's detail.
_AGAIN = "then run the same command again: the image is tried again"
FIXES: Mapping[str, str] = {
    "image.missing": f"Put the file there, {_AGAIN}.",
    "image.truncated": f"Get the file anew, {_AGAIN}.",
    "image.decode": f"Replace the file by a picture that opens in a viewer, {_AGAIN}.",
    "image.sha256": f"Get the file anew: it is not the one that the data set lists, {_AGAIN}.",
    "image.exif_policy": "Write `exif: apply` (turn pictures as their cameras say) or `exif: ignore` on the card.",
    "image.size": "Use the pictures that the annotations were made on, in their size.",
    "image.too_large": "Scale the picture down.",
    "image.path": "Put the file under the data set's folder; links may not lead out of it.",
    "image": f"Mend or replace the picture, {_AGAIN}.",
    "label.missing": f"Put the label file there, {_AGAIN}.",
    "label.empty": "Nothing of this image is scored under the protocol: it is left out for every model.",
    "label.focal": (
        "Score in metres (`--scoring frame=camera`; not comparable with the canonical frame), or give the data set the "
        f"focal length of this picture, {_AGAIN}."
    ),
    "label": f"Mend the label file, {_AGAIN}.",
    "mesh": f"Mend the scan's OBJ, MTL and texture files, {_AGAIN}.",
    "scan": "Mend or remove the scan, or read what the data set's options say about it.",
    "input.exception": f"See the detail; mend its cause, {_AGAIN}.",
    "pred.missing": "Let the method answer for this image: until then it counts as a miss.",
    "pred.nonfinite": "Find out why the model gives NaN or infinity (often fp16 or bf16); until then it is a miss.",
    "pred.shape": "Give predictions in the size and layout that the detail names; until then they count as misses.",
    "pred.label": "Give label indices of the protocol's set; until then they count as misses.",
    "pred": "Look at this prediction; until it is mended it counts as a miss.",
    "worker": "Its images count as misses. Delete RUN/failed, and the same command tries them again.",
    "model": "The model failed on this image, which counts as a miss. See the detail.",
}
ALL_FAILED = "every image failed"


class Found(NamedTuple):
    """A cause and where it applies; "" is everywhere."""

    dataset: str
    model: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One image without a sound row."""

    task: str
    dataset: str
    protocol: str
    model: str
    index: int
    key: str
    code: str
    side: str
    detail: str
    fix: str


def fix_of(code: str) -> str:
    """What to do about an error code; "" when nothing general can be said."""
    return FIXES.get(code) or FIXES.get(code.partition(".")[0], "")


def row_causes(rows: pa.Table) -> list[Cause]:
    """The kinds of error among rows, in order of their first sample."""
    found: dict[tuple[str, str], Cause] = {}
    import pyarrow.compute as pc  # a table of a record needs no rows

    failed = rows.filter(pc.equal(rows["status"], "error"))
    columns = [failed[name].to_pylist() for name in ("error_code", "error_side", "key", "error_detail")]
    for code, side, key, detail in zip(*columns, strict=True):
        cause = found.get((code, side))
        if cause is None:
            found[code, side] = Cause(kind=code, side=side, count=1, first_key=key, detail=detail, fix=fix_of(code))
        else:
            cause.count = (cause.count or 0) + 1
    return list(found.values())


def error_rows(root: Path, cell: CellRecord) -> list[ErrorRow]:
    """Every error row of a cell, in index order.

    Raises:
        StoreError: the rows are damaged.
    """
    from sapiens_bench.store.rows import read_rows

    place = (cell.task, cell.dataset, cell.protocol, cell.model)
    rows = read_rows(cell_folder(root, "rows", *place))
    import pyarrow.compute as pc  # a table of a record needs no rows

    failed = rows.filter(pc.equal(rows["status"], "error"))
    columns = [failed[name].to_pylist() for name in ("index", "key", "error_code", "error_side", "error_detail")]
    return [
        ErrorRow(*place, index, key, code, side, detail, fix_of(code))
        for index, key, code, side, detail in zip(*columns, strict=True)
    ]


def list_all(root: Path, record: RunRecord) -> tuple[list[Found], list[ErrorRow]]:
    """All causes of a run, and all its error rows; a cell whose rows are damaged is told as a cause."""
    causes, rows = run_causes(record), list[ErrorRow]()
    for cell in record.cells:
        if cell.status in ("done", "incomplete"):
            try:
                rows += error_rows(root, cell)
            except StoreError as error:  # the others are listed all the same
                cause = Cause(kind=type(error).__name__, side="run", detail=str(error))
                causes.append(Found(cell.dataset, cell.model, cause))
    return causes, rows


def run_causes(record: RunRecord) -> list[Found]:
    """All that a reader of the run's numbers must know: notes of the run, of its data sets, then cell by cell."""
    return list(_all(record))


def _all(record: RunRecord) -> Iterator[Found]:
    for text in record.notes:
        yield Found("", "", Cause(kind="note", side="run", detail=text))
    for name, facts in record.datasets.items():
        yield from (Found(name, "", cause) for cause in dataset_causes(facts))
    for cell in record.cells:
        yield from (Found(cell.dataset, cell.model, cause) for cause in cell_causes(cell))


def dataset_causes(facts: DatasetRecord) -> list[Cause]:
    """What an adapter had to say about its files and its boxes."""
    notes = [Cause(kind="note", side="data", detail=text) for text in facts.notes]
    return notes + [Cause(kind="note", side="boxes", detail=text) for text in facts.boxes_notes]


def cell_causes(cell: CellRecord) -> list[Cause]:
    """Why a cell has no numbers, or which of its images have none."""
    if cell.status in ("done", "incomplete"):
        return cell.causes or _of_examples(cell)
    if not cell.how:
        return []
    side: Literal["data", "model"] = "data" if cell.status == "data missing" else "model"
    return [Cause(kind=cell.error_kind or cell.status, side=side, detail=cell.how, fix=cell.fix)]


def _of_examples(cell: CellRecord) -> list[Cause]:
    """Records of earlier versions kept the first few failed images alone: all kinds are there, uncounted."""
    found: dict[tuple[str, str], Cause] = {}
    for e in cell.errors:
        told = {"kind": e.code, "side": e.side, "count": None, "first_key": e.key, "detail": e.detail}
        found.setdefault((e.code, e.side), Cause.model_validate({**told, "fix": fix_of(e.code)}))
    return list(found.values())


def all_failed(cell: CellRecord) -> bool:
    """Whether a measured cell has rows and not one of them is sound: it deserves no green tick, whatever its score."""
    return cell.status in ("done", "incomplete") and cell.counts.done > 0 and cell.counts.ok == 0


def complaint(cell: CellRecord) -> str:
    """One line for a cell that must not look fine: all of its images failed, and the first cause; "" for others."""
    if not all_failed(cell):
        return ""
    causes = cell_causes(cell)
    return f"{ALL_FAILED}: {sentence(causes[0])}" if causes else ALL_FAILED


def ended(text: str) -> str:
    """The text with one full stop at its end; an ellipsis, as in ``exif=...``, stays."""
    plain = text.strip()
    return plain if plain.endswith(("...", "?", "!")) else f"{plain.rstrip('.')}."


def sentence(cause: Cause) -> str:
    """A cause in one line, ended by a full stop. It may hold text from files: escape it for where it goes."""
    if cause.kind == "note":
        return ended(cause.detail)
    detail = cause.detail.strip().rstrip(".")
    many = f"{cause.count} images, first " if cause.count is not None and cause.count > 1 else ""
    case = ": ".join(part for part in (f"{many}{cause.first_key}" if cause.first_key else "", detail) if part)
    told = f"{cause.kind} ({case})." if cause.first_key else f"{cause.kind}: {case}." if case else f"{cause.kind}."
    return " ".join(part for part in (told, cause.fix) if part)
