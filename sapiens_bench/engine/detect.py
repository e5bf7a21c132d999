"""Boxes by a detector card (``--boxes detector:<id>[,<score threshold>]``): made once, kept in the cache, then a file.

The file is named by everything that can change it: detector, weights, options, annotations and how many images.
Images are done in parts of 64, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.cards.catalog import Catalog, DetectorEntry
from sapiens_bench.cards.locate import WeightFiles, cache_root, confirm, dataset_root, weight_files
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.engine.build import adapter_for
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.events import DataProgress, Event, Note, ignore
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import DataMissing, SampleFault, UsageError
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.types import Adapter

PREFIX = "detector:"
VERSION = 1  # raised whenever boxes can change
PART = 64  # images


class BoxJob(NamedTuple):
    """One box file: who makes it, over which images, and where it goes."""

    entry: DetectorEntry
    weights: WeightFiles
    options: dict[str, Any]
    adapter: Adapter  # under ground-truth boxes; only its pictures are used
    dataset: str
    n: int
    folder: Path

    @property
    def path(self) -> Path:
        """The finished file."""
        return self.folder / f"{self.dataset}-{self.entry.variant.id}-{self.n}.json"


def asks_for_detector(request: Request) -> bool:
    """Whether the request's boxes come from a detector card."""
    return request.boxes.startswith(PREFIX)


def box_job(card: DatasetCard, protocol: str, catalog: Catalog, request: Request) -> BoxJob:
    """Find out which file a request means; opens annotations and hashes weights, runs nothing.

    Raises:
        UnknownName: no such detector. WeightsMissing: its weights are not here. DataMissing: the data set is not here.
        UsageError: the choice cannot be read, or the data set is not in a COCO format.
    """
    name, _, threshold = request.boxes.removeprefix(PREFIX).partition(",")
    entry = catalog.detector(name)
    options = dict(entry.variant.options)
    if threshold:
        options["score_threshold"] = _threshold(threshold, request.boxes)
    weights = weight_files(entry.variant, request.weights_root, request.trust)
    about = card.protocols[protocol]
    space = None if about.space is None else catalog.space(about.space)
    root = dataset_root(card, request.data_root)
    truth = AdapterOptions(boxes="gt", split=request.split, seed=request.seed)
    adapter = adapter_for(
        card, about, space, root, truth, catalog.card_paths[card.id], to_space=catalog.sources_of(about.space)
    )
    if not hasattr(adapter, "image_id"):
        raise UsageError(f"--boxes {request.boxes}: {card.id} is not in a COCO format, so box files do not fit it.")
    key = fingerprint(
        {
            "version": VERSION,
            "wrapper": entry.card.wrapper,
            "weights_sha256": weights.sha256,
            "options": options,
            "manifest_sha256": adapter.manifest_sha256,
        }
    )
    n = min(len(adapter), request.limit or len(adapter))
    return BoxJob(entry, weights, options, adapter, card.id, n, cache_root() / "boxes" / key[:16])


def _threshold(text: str, choice: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UsageError(
            f"boxes {choice!r}: write detector:<id>[,<score threshold>] with a threshold from 0 to below 1"
        )
    return value


def boxes_file(card: DatasetCard, protocol: str, catalog: Catalog, request: Request) -> Path:
    """The file that ``prepare_boxes`` made.

    Raises:
        DataMissing: it was not made yet.
    """
    job = box_job(card, protocol, catalog, request)
    if not job.path.is_file():
        raise DataMissing(
            f"The boxes of {job.entry.variant.id} for {job.n} images of {card.id} are not made yet; "
            "`sapiens-bench run` without --dry-run makes them first."
        )
    return job.path


def prepare_boxes(request: Request, catalog: Catalog, on_event: Callable[[Event], None] = ignore) -> list[Path]:
    """Run the detector over every data set of the request that is on this machine; to be called before ``make_plan``.

    Returns:
        The box files, made now or found; empty when the request does not name a detector.

    Raises:
        UnknownName, WeightsMissing, CheckpointRejected ...: the detector cannot be used.
    """
    if not asks_for_detector(request):
        return []
    files: list[Path] = []
    for card in _data_sets(request, catalog):
        protocol = request.protocol or card.default_protocol(request.task)
        if protocol not in card.protocols or card.protocols[protocol].task != request.task:
            continue
        try:
            job = box_job(card, protocol, catalog, request)
        except DataMissing:
            continue  # the plan says so in its own words
        if not job.path.is_file():
            _make(job, resolve_device(request.device), on_event)
        files.append(job.path)
    return files


def _data_sets(request: Request, catalog: Catalog) -> list[DatasetCard]:
    named = list(dict.fromkeys(part for text in request.datasets for part in text.split(",") if part))
    if named:
        return [catalog.dataset(name) for name in named]
    cards = [card for card in catalog.datasets.values() if card.default_protocol(request.task) is not None]
    return [card for card in cards if card.adapter == "coco_keypoints"]


def _make(job: BoxJob, device: str, on_event: Callable[[Event], None]) -> None:
    """Detect people part by part, then join the parts; every file is written by rename."""
    from sapiens_bench.models.detectors import DetectorContext, build_detector, detector_weights

    on_event(Note(f"Detecting people with {job.entry.variant.title} on {job.n} images of {job.dataset}."))
    weights = detector_weights(job.entry, job.weights.path)
    confirm(job.weights)
    detect = build_detector(DetectorContext(job.entry, weights, device, job.options))
    entries: list[dict[str, Any]] = []
    for start in range(0, job.n, PART):
        stop = min(start + PART, job.n)
        part = job.folder / "parts" / f"{start:07d}-{stop:07d}.json"
        if not part.is_file():
            found = [entry for index in range(start, stop) for entry in _entries(job.adapter, index, detect)]
            write_atomic(part, json.dumps(found).encode())
        entries += json.loads(part.read_bytes())
        on_event(DataProgress(job.dataset, stop, job.n))
    write_atomic(job.path, json.dumps(entries, indent=0).encode() + b"\n")


def _entries(adapter: Any, index: int, detect: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """COCO results of one image, best first; none for a picture that cannot be read (its row says why)."""
    try:
        image = adapter[index].input.image_HW3
    except SampleFault:
        return []
    boxes, scores = detect(image)
    return [
        {
            "image_id": adapter.image_id(index),
            "category_id": 1,
            "bbox": [round(float(v), 3) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(float(score), 6),
        }
        for (x1, y1, x2, y2), score in zip(boxes.astype(float), scores, strict=True)
    ]
