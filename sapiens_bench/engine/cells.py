"""A model meets a data set: may it run there, and what identifies its rows?"""

from __future__ import annotations

from typing import Any

from sapiens_bench import __version__
from sapiens_bench.adapters.conditions.condition import VERSION as CONDITIONS_VERSION
from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.adapters.selection.rule import VERSION as SELECTION_VERSION
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.cards.spaces import SpaceMap
from sapiens_bench.engine.data_specs import FoundData
from sapiens_bench.engine.model_specs import Candidate
from sapiens_bench.engine.request import plain
from sapiens_bench.engine.specs import CellSpec, ModelSpec
from sapiens_bench.errors import LabelSpaceMismatch, SapiensBenchError, WeightsMissing
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.store.record import CellRecord, CellStatus
from sapiens_bench.types import Cell


def cell_spec(model: ModelSpec, data: FoundData, catalog: Catalog, boxes: str, shard_size: int) -> CellSpec:
    """The cell of a model on a data set.

    Raises:
        LabelSpaceMismatch: no map joins their keypoint or label sets.
    """
    space_map = _space_map(model, data, catalog)
    fields = _fields(model, data, space_map, boxes)
    spec, facts = data.spec, data.facts
    cell = Cell(
        task=spec.protocol.task,
        dataset=spec.id,
        protocol=spec.protocol_name,
        model=model.id,
        n_samples=facts.n_samples,
        shard_size=shard_size,
        fingerprint=fingerprint(fields),
    )
    record = blank_record(model.entry, spec.card, spec.protocol_name, "planned").model_copy(
        update={
            "fingerprint": cell.fingerprint,
            "weights_sha256": model.weights.sha256,
            "weights_pinned": model.weights.pinned,
            "headline": data.open.task.headline,
            "approximate": _approximate(space_map),
        }
    )
    path = model.weights.path
    if record.weights_bytes is None and path is not None and path.is_file():
        record.weights_bytes = path.stat().st_size
    record.counts.planned = facts.n_samples
    return CellSpec(cell, spec, model, space_map, fields, record)


def unavailable_record(candidate: Candidate, data: FoundData, error: SapiensBenchError) -> CellRecord:
    """The row of a model that cannot run on a data set."""
    # A file that was named and is not there is a refusal; weights that a card knows how to get are a gap.
    is_gap = isinstance(error, WeightsMissing) and candidate.refusal is None
    status: CellStatus = "weights missing" if is_gap else "refused"
    record = blank_record(candidate.entry, data.spec.card, data.spec.protocol_name, status)
    record.refuse(error, status)
    record.headline = data.open.task.headline
    record.counts.planned = data.facts.n_samples
    return record


def missing_record(candidate: Candidate, card: DatasetCard, protocol: str, error: SapiensBenchError) -> CellRecord:
    """The row of a model on a data set that is not here."""
    record = blank_record(candidate.entry, card, protocol, "data missing")
    record.refuse(error, "data missing")
    return record


def _space_map(model: ModelSpec, data: FoundData, catalog: Catalog) -> SpaceMap | None:
    entry, spec = model.entry, data.spec
    source, target = entry.card.space_of(entry.variant), spec.protocol.space
    if target is None or (source is None and entry.card.kind != "network"):
        return None  # nothing to map; diagnostics and floors answer in the protocol's own set
    if source is None:
        raise LabelSpaceMismatch(f"The card of {entry.id} names no keypoint or label set; {spec.id} has {target}.")
    try:
        space_map = catalog.space_map(source, target)
    except LabelSpaceMismatch as error:
        fitting = [name for name, p in spec.card.protocols.items() if p.task == entry.card.task and p.space == source]
        hint = f" {spec.id} has a protocol in {source}: --protocol {fitting[0]}." if fitting else ""
        read = f"{model.weights.path}: its points are read as those of {source}. " if model.is_results else ""
        raise LabelSpaceMismatch(f"{read}{error}{hint}") from None
    if space_map.identity:
        return None
    task = data.open.task
    if space_map.kind == "keypoints" and not space_map.complete and not task.partial_maps:
        raise LabelSpaceMismatch(
            f"{source} has only {len(space_map.surviving)} of the {len(space_map.index)} points of {target}. "
            f"A part of a set is a protocol of its own."
        )
    if task.remap is None:
        raise LabelSpaceMismatch(f"Task {task.name} cannot map predictions from {source} to {target}.")
    return space_map


def _fields(model: ModelSpec, data: FoundData, space_map: SpaceMap | None, boxes: str) -> dict[str, Any]:
    """All that may change a row. Not: batch size, workers, device, shard size."""
    entry, spec, facts = model.entry, data.spec, data.facts
    size = model.input
    # Only where it is not the usual one, so that a fingerprint is the one it was before there was a choice.
    limit = {} if spec.max_pixels == MAX_PIXELS else {"max_pixels": spec.max_pixels}
    return {
        "version": __version__,
        "dataset": spec.id,
        "adapter": spec.card.adapter,
        "exif": spec.card.exif,
        "manifest_sha256": facts.manifest_sha256,
        "samples": {"n": facts.n_samples, "sha256": facts.keys_sha256},
        "protocol": {
            "name": spec.protocol_name,
            **spec.protocol.model_dump(mode="json", include={"options", "scoring"}),
        },
        "space": None if spec.space is None else spec.space.model_dump(mode="json", exclude=_LOOKS),
        "boxes": boxes,
        "split": spec.split,
        "model": model.id,
        "wrapper": entry.card.wrapper,
        "code_sha256": [spec.code_sha256, model.code_sha256],
        "weights_sha256": model.weights.sha256,
        "input": None if size is None else size.model_dump(mode="json"),
        "options": plain(model.options),
        "model_space": entry.card.space_of(entry.variant),
        "map": None if space_map is None else [int(i) for i in space_map.index],
        "precision": model.precision,
        **({} if model.backend == "torch" else {"backend": model.backend}),
        "seed": model.seed if model.is_diagnostic else None,
        "metrics": {metric.name: metric.version for metric in data.open.task.metrics},
        **limit,
        **_further_files(model),
        **_condition(data),
        **_selection(data),
    }


def _condition(data: FoundData) -> dict[str, Any]:
    """What is done to every picture, and the set it is done to; nothing where nothing is."""
    condition, adapter = data.spec.condition, data.open.adapter
    if condition is None:
        return {}
    of = getattr(adapter, "base_manifest_sha256", "")
    return {"condition": {**condition.model_dump(), "version": CONDITIONS_VERSION, "of_manifest_sha256": of}}


def _further_files(model: ModelSpec) -> dict[str, Any]:
    """Hashes of a card's further files, pinned or not; nothing where it has none."""
    weights = model.entry.variant.weights
    known = {part.path: part.sha256 for part in model.weights.parts}
    pins = {} if weights is None else dict(sorted(weights.also.items()))
    found = {name: pin or known[model.weights.also[name]] for name, pin in pins.items()}
    return {"also_sha256": found} if found else {}


def _selection(data: FoundData) -> dict[str, Any]:
    """By which rule samples were chosen; nothing where all are taken. Which they are is in the manifest."""
    rule = data.spec.select
    return {} if rule is None else {"select": {"rule": rule.text, "version": SELECTION_VERSION}}


_LOOKS = {"title", "colours", "source"}  # of a set: no score depends on them


def _approximate(space_map: SpaceMap | None) -> str:
    if space_map is not None and space_map.kind == "keypoints" and not space_map.complete:
        missing = len(space_map.index) - len(space_map.surviving)
        return f"{space_map.source} -> {space_map.target}, {missing} of {len(space_map.index)} points scored as misses"
    if space_map is None or not space_map.approximate:
        return ""
    return f"{space_map.source} -> {space_map.target}, {len(space_map.index)} entries by name"


def blank_record(entry: ModelEntry, dataset: DatasetCard, protocol: str, status: CellStatus) -> CellRecord:
    """The row of a table, as far as the cards know it."""
    card, variant = entry.card, entry.variant
    weights = variant.weights
    return CellRecord(
        task=card.task,
        dataset=dataset.id,
        protocol=protocol,
        model=entry.id,
        title=entry.title,
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
