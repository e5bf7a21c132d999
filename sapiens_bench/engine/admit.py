"""May this model run on this data set, here and now? Reads cards, annotations and hashes; loads no model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.locate import WeightFiles, dataset_root, weight_files
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.cards.spaces import SpaceMap
from sapiens_bench.engine import stored
from sapiens_bench.engine.build import adapter_for, check_code, task_for
from sapiens_bench.engine.detect import asks_for_detector, boxes_file
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import LabelSpaceMismatch, UsageError
from sapiens_bench.store.record import CellRecord, CellStatus
from sapiens_bench.types import Adapter, Task


@dataclass(frozen=True)
class DataPlan:
    """A data set under one protocol, opened."""

    card: DatasetCard
    protocol_name: str
    protocol: EvalProtocol
    space: SpaceCard | None
    task: Task
    adapter: Adapter
    n_samples: int
    keys_sha256: str  # over the ordered keys that were selected
    code_sha256: str  # of the adapter's file, when the card names one beside itself


def code_hash(name: str, card: Path) -> str:
    """sha256 of the file that ``./file.py:Class`` names beside a card; "" for code of an installed package."""
    if not name.startswith("./"):
        return ""
    return hashlib.sha256((card.parent / name.partition(":")[0]).read_bytes()).hexdigest()


def data_plan(card: DatasetCard, protocol_name: str, catalog: Catalog, request: Request) -> DataPlan:
    """Open a data set.

    Raises:
        DataMissing: it is not on this machine.
        DatasetRejected: its annotations are malformed.
        UsageError: it holds no sample.
    """
    protocol = card.protocols[protocol_name]
    if request.data_options:
        protocol = protocol.model_copy(update={"options": {**protocol.options, **request.data_options}})
    space = None if protocol.space is None else catalog.space(protocol.space)
    root = stored.truth_root(card, request, catalog) or dataset_root(
        card, request.data_root, pictures=stored.needs_pictures(request, catalog)
    )
    boxes = str(boxes_file(card, protocol_name, catalog, request)) if asks_for_detector(request) else request.boxes
    options = AdapterOptions(boxes=boxes, split=request.split, seed=request.seed)
    task = task_for(protocol, space)
    beside = catalog.card_paths[card.id]
    adapter = adapter_for(card, protocol, space, root, options, beside, to_space=catalog.sources_of(protocol.space))
    n_samples = min(len(adapter), request.limit or len(adapter))
    if n_samples == 0:
        raise UsageError(f"{card.title} ({card.id}) holds no sample under {root}.")
    keys = json.dumps([str(key) for key in adapter.keys[:n_samples]]).encode()
    digest = hashlib.sha256(keys).hexdigest()
    return DataPlan(
        card, protocol_name, protocol, space, task, adapter, n_samples, digest, code_hash(card.adapter, beside)
    )


def admit(entry: ModelEntry, data: DataPlan, catalog: Catalog, request: Request) -> tuple[WeightFiles, SpaceMap | None]:
    """Verified weights and the map between the sets, or the reason why not, as an exception of ours."""
    check_code("wrapper", entry.card.wrapper)  # first: nobody should fetch weights that this version cannot run
    files = weight_files(entry.variant, stored.results_root(entry) or request.weights_root, request.trust)
    return files, _space_map(entry, data, catalog)


def _space_map(entry: ModelEntry, data: DataPlan, catalog: Catalog) -> SpaceMap | None:
    source = entry.card.space_of(entry.variant)
    target = data.protocol.space
    if target is None or (source is None and entry.card.kind != "network"):
        return None  # nothing to map; diagnostics and floors answer in the protocol's own set
    if source is None:
        raise LabelSpaceMismatch(f"The card of {entry.id} names no keypoint or label set; {data.card.id} has {target}.")
    try:
        space_map = catalog.space_map(source, target)
    except LabelSpaceMismatch as error:
        fitting = [name for name, p in data.card.protocols.items() if p.task == entry.card.task and p.space == source]
        hint = f" {data.card.id} has a protocol in {source}: --protocol {fitting[0]}." if fitting else ""
        raise LabelSpaceMismatch(f"{error}{hint}") from None
    if space_map.identity:
        return None
    if space_map.kind == "keypoints" and not space_map.complete and not data.task.partial_maps:
        raise LabelSpaceMismatch(
            f"{source} has only {len(space_map.surviving)} of the {len(space_map.index)} points of {target}. "
            f"A part of a set is a protocol of its own."
        )
    if data.task.remap is None:
        raise LabelSpaceMismatch(f"Task {data.task.name} cannot map predictions from {source} to {target}.")
    return space_map


def template(entry: ModelEntry, dataset: DatasetCard, protocol: str, status: CellStatus) -> CellRecord:
    """The row of a table, as far as the cards know it."""
    card, variant = entry.card, entry.variant
    weights = variant.weights
    return CellRecord(
        task=card.task,
        dataset=dataset.id,
        protocol=protocol,
        model=variant.id,
        title=variant.title,
        family=card.id,
        kind=card.kind,
        status=status,
        licence=card.licence.name,
        trained_on=variant.trained_on or card.trained_on,
        in_domain=dataset.id in card.in_domain,
        caveat=dataset.protocols[protocol].caveat,
        weights_file=weights.file if weights else "",
        weights_sha256=(weights.sha256 or "") if weights else "",
        weights_pinned=weights is None or weights.sha256 is not None,
        weights_bytes=weights.size_bytes if weights else None,
        published_as=variant.published_as,
        params_m=variant.params_m if variant.params_m is not None else float("nan"),
    )
