"""What is said, and which exit code is given, when some models of a run were refused and the others ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sapiens_bench.errors import LabelSpaceMismatch, ModelsRefused

if TYPE_CHECKING:
    from sapiens_bench.store.record import RunRecord

_SHOWN = 5
_OF_FILES = ("own-", "results-", "unusable-")  # families of cards that were made for a file that the request names


def complain_of_refusals(record: RunRecord) -> None:
    """Call when the table has been shown. Rows that lack weights or a data set are gaps, not refusals;
    so is a model whose set has no map to the protocol's, unless it was asked for by its own name or its file.

    Raises:
        ModelsRefused: models that were asked for, by name or by "all", were refused.
    """
    named = {name for text in record.request.get("models", ()) for name in str(text).split(",")}
    refused = [
        cell
        for cell in record.cells
        if cell.status == "refused"
        and (cell.error_kind != LabelSpaceMismatch.__name__ or cell.model in named or cell.family.startswith(_OF_FILES))
    ]
    if not refused:
        return
    lines = [f"  - {cell.title} on {cell.dataset}: {cell.how}" for cell in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  - and {len(refused) - _SHOWN} more")
    rows = f"{len(refused)} of {len(record.cells)} row(s) were refused, the others are as printed"
    raise ModelsRefused("\n".join([f"One or more models were refused ({rows}):", *lines]))
