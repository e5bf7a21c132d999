"""The data set of a run, opened once more from what its record says: for whoever shows pictures and truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine import stored
from sapiens_bench.engine.build import OpenData
from sapiens_bench.engine.choices import DETECTOR
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import SapiensBenchError, UsageError
from sapiens_bench.store.record import CellRecord, RunRecord

NOT_THE_SAME = "the data set on this machine is not the one that was scored"


def reopen(record: RunRecord, cell: CellRecord, catalog: Catalog, data_root: Path | None = None) -> OpenData:
    """The data set of a cell under its protocol, split and options, as the run opened it.

    Args:
        data_root: where it lies; where the run found it when None.

    Raises:
        DataMissing, DatasetRejected: it is not here, or its files are malformed.
        UsageError: what is here is not what was scored.
        UnknownName, CardError: no card of this installation (or of ``catalog``) knows it.
    """
    asked = record.request
    boxes = str(asked.get("boxes") or "")
    made_elsewhere = boxes.startswith(DETECTOR)  # its box file is in a cache of the machine that ran
    root = data_root if data_root is not None else asked.get("data_root")
    request = Request(
        task=record.task,
        models=(),
        datasets=tuple(asked.get("datasets") or ()),
        protocol=cell.protocol,
        data_root=None if root is None else Path(root),
        boxes="",
        split=str(asked.get("split") or ""),
        seed=int(asked.get("seed") or 0),
        max_pixels=int(asked.get("max_pixels") or MAX_PIXELS),
        data_options=dict(asked.get("data_options") or {}),
        condition=dict(asked.get("condition") or {}),
        select=str(asked.get("select") or ""),
    )
    stored.register(request, catalog)
    # Truth can be shown where pictures are not: a picture that is missing is left out when it is asked for.
    choice = replace(request.data(), boxes="" if made_elsewhere else boxes, pictures=False)
    found = open_named(catalog.dataset(cell.dataset), cell.protocol, choice, catalog).open
    known = record.datasets.get(cell.dataset)
    told = "" if known is None or made_elsewhere else known.manifest_sha256
    if told and told != found.adapter.manifest_sha256:
        raise UsageError(f"{cell.dataset}: {NOT_THE_SAME} (manifest_sha256 {found.adapter.manifest_sha256[:12]} here, "
                         f"{told[:12]} in the run).")  # fmt: skip
    return found


def targets(data: OpenData, indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """(index, target) of the samples whose label can be read; no picture is opened where the adapter can do without."""
    adapter: Any = data.adapter
    if callable(getattr(adapter, "without_pictures", None)):
        adapter = adapter.without_pictures()
    for index in indices:
        try:
            target = adapter[index].target
        except SapiensBenchError:
            continue
        yield index, target
