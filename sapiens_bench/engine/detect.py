"""A stage before planning: a detector card makes the box file of each data set (``--boxes detector:<id>[,<score>]``).

Made once and kept in the cache; after that the boxes are a file like any other. The file is named by everything that
can change it: detector, weights, options, annotations and how many images. Images are done in parts of 64, so that a
stopped run goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sapiens_bench.cards.catalog import Catalog, DetectorEntry
from sapiens_bench.cards.locate import WeightFiles, cache_root, confirm, weight_files
from sapiens_bench.engine.choices import DataChoice
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.events import DataProgress, Event, Note, ignore
from sapiens_bench.engine.model_specs import candidates
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import DataMissing, SampleFault, UsageError
from sapiens_bench.models.options import DetectorOptions
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.types import Adapter

VERSION = 1  # raised whenever boxes can change
PART = 64  # images


class BoxJob(NamedTuple):
    """One box file: who makes it, over which images, and where it goes."""

    entry: DetectorEntry
    weights: WeightFiles
    options: DetectorOptions
    adapter: Adapter  # under ground-truth boxes; only its pictures are used
    dataset: str
    n: int
    folder: Path

    @property
    def path(self) -> Path:
        """The finished file."""
        return self.folder / f"{self.dataset}-{self.entry.variant.id}-{self.n}.json"


def make_box_files(
    request: Request, catalog: Catalog, on_event: Callable[[Event], None] = ignore, *, dry_run: bool = False
) -> dict[str, Path]:
    """Run the detector over every data set of the request that is on this machine.

    Args:
        dry_run: run nothing; say which files are there.

    Returns:
        Data set -> its box file, made now or found; empty when the request does not name a detector.

    Raises:
        UnknownName, WeightsMissing, CheckpointRejected ...: the detector cannot be used.
    """
    files: dict[str, Path] = {}
    choice = request.data()
    if choice.detector and not dry_run:
        candidates(request.model(), catalog)  # a mistyped model or option must not cost an hour of detection
    for job in _jobs(request, choice, catalog) if choice.detector else ():
        if not job.path.is_file() and not dry_run:
            _make(job, resolve_device(request.device), on_event)
        if job.path.is_file():
            files[job.dataset] = job.path
    return files


def _jobs(request: Request, choice: DataChoice, catalog: Catalog) -> list[BoxJob]:
    from sapiens_bench.models.detectors import detector_options

    name, _, threshold = choice.detector.partition(",")
    entry = catalog.detector(name)
    options = dict(entry.variant.options)
    if threshold:
        options["score_threshold"] = _threshold(threshold, choice.boxes)
    chosen = detector_options(entry, options)
    weights = weight_files(entry.variant, request.weights_root, request.trust)
    jobs: list[BoxJob] = []
    for card in [catalog.dataset(name) for name in choice.names] or list(catalog.datasets.values()):
        protocol = choice.protocol or card.default_protocol(choice.task)
        about = card.protocols.get(protocol or "")
        if protocol is None or about is None or about.task != choice.task or not (choice.names or _takes_boxes(card)):
            continue
        try:
            data = open_named(card, protocol, replace(choice, boxes="gt", select=""), catalog)
        except DataMissing:
            continue  # the plan says so in its own words
        adapter = data.open.adapter
        if not hasattr(adapter, "image_id"):
            raise UsageError(f"--boxes {choice.boxes}: {card.id} is not in a COCO format, so box files do not fit it.")
        key = fingerprint(
            {
                "version": VERSION,
                "wrapper": entry.card.wrapper,
                "weights_sha256": weights.sha256,
                "options": options,
                "manifest_sha256": adapter.manifest_sha256,
            }
        )
        folder = cache_root() / "boxes" / key[:16]
        jobs.append(BoxJob(entry, weights, chosen, adapter, card.id, data.facts.n_samples, folder))
    return jobs


def _takes_boxes(card: Any) -> bool:
    return str(card.adapter) == "coco_keypoints"


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


def _person(adapter: Any) -> int:
    """Category of people in the annotation file."""
    index = getattr(adapter, "index", None)
    return 1 if index is None else min(index.scored)


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
            "category_id": _person(adapter),
            "bbox": [round(float(v), 3) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(float(score), 6),
        }
        for (x1, y1, x2, y2), score in zip(boxes.astype(float), scores, strict=True)
    ]
