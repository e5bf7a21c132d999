"""The samples of a data set of scans: where each is stored, how the missing ones are made, how one is read.

``THuman2`` and ``Hi4D`` find the files and say which views there are; everything after that is the same and lies here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.adapters.folders import whole_image
from sapiens_bench.adapters.prepare import PreparedFault, PrepareReport, Progress
from sapiens_bench.adapters.scans.cache import SampleFolder, StoredEntry, stamp, store_folder
from sapiens_bench.adapters.scans.photo import RealPhoto
from sapiens_bench.adapters.scans.pool import run_jobs
from sapiens_bench.adapters.scans.render import Job, Outcome, Recipe, View, run_job
from sapiens_bench.errors import SampleFault, StorageFull
from sapiens_bench.pixels.codecs import MAX_PIXELS, read_rgb
from sapiens_bench.render.camera import Framing
from sapiens_bench.render.manifest import write_manifest
from sapiens_bench.store.files import free_bytes
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.types import Sample

# Bytes a pixel of the image takes on disk, for the check of free space: a person covers up to about half of a picture.
_BYTES_PER_PIXEL, _BYTES_PER_PIXEL_PHOTO = 6.0, 4.5


@dataclass(frozen=True, slots=True)
class ScanView:
    """One sample."""

    key: str
    group: str
    scan: str  # names the mesh in messages and in the draws' seed
    obj: Path
    sources: tuple[Path, ...]  # every file that decides what comes out; another content is another sample
    framing: Framing | None = None  # a drawn camera ...
    number: int = 0
    photo: RealPhoto | None = None  # ... or a real picture
    face_labels: Path | None = None  # persons of the faces


class ScanSamples:
    """Stored samples by index."""

    def __init__(self, dataset: str, task: str, recipe: Recipe, views: Sequence[ScanView], label: str) -> None:
        self.task, self.recipe, self.views = task, recipe, views
        self.folder = store_folder(dataset, recipe.sha256())
        stamps: dict[tuple[Path, ...], str] = {}
        for view in views:
            if view.sources not in stamps:
                stamps[view.sources] = stamp(view.sources)
        self._folders = [self._folder(view, stamps[view.sources]) for view in views]
        known = [recipe.sha256(), [[view.key, stamps[view.sources]] for view in views]]
        self.manifest_sha256 = hashlib.sha256(json.dumps(known).encode("utf-8", "surrogateescape")).hexdigest()
        self.manifest_path = self.folder / f"manifest-{label}-{self.manifest_sha256[:8]}.jsonl"

    def _folder(self, view: ScanView, source_stamp: str) -> SampleFolder:
        _, _, name = view.key.partition("/")
        return SampleFolder(self.folder / "samples" / f"{name}-{source_stamp[:12]}")

    def entry(self, index: int) -> StoredEntry | None:
        """What is stored of a sample, or None when it is not there."""
        return self._folders[index].entry()

    def make(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport:
        """Render what is missing, then write the manifest of all that is there.

        Raises:
            StorageFull: too little space.
        """
        missing = [i for i in indices if self.entry(i) is None]
        self._check_space(missing)
        done, n_bytes = len(indices) - len(missing), 0
        faults: list[PreparedFault] = []
        progress(done, len(indices))

        def on_done(outcomes: list[Outcome]) -> None:
            nonlocal done, n_bytes
            done += len(outcomes)
            n_bytes += sum(o.n_bytes for o in outcomes)
            faults.extend(PreparedFault(o.key, o.code, o.detail) for o in outcomes if o.code)
            progress(done, len(indices))

        run_jobs(self._jobs(missing), workers, on_done)
        entries = [entry for i in range(len(self.views)) if (entry := self.entry(i)) is not None]
        write_manifest(self.manifest_path, [stored.entry for stored in entries])
        notes = tuple(sorted({note for stored in entries for note in stored.notes}))
        faults.sort(key=lambda fault: fault.key)
        n_present, n_failed = len(indices) - len(missing), len(faults)
        n_made = len(missing) - n_failed
        return PrepareReport(n_made, n_present, n_failed, n_bytes, self.manifest_path, tuple(faults), notes)

    def _jobs(self, indices: Sequence[int]) -> list[Job]:
        """One job per mesh, in index order."""
        by_mesh: dict[Path, list[int]] = {}
        for i in indices:
            by_mesh.setdefault(self.views[i].obj, []).append(i)
        return [self._job(group) for group in by_mesh.values()]

    def _job(self, indices: Sequence[int]) -> Job:
        first = self.views[indices[0]]
        views = [self.views[i] for i in indices]
        made = tuple(
            View(v.key, str(self._folders[i].path), v.framing, v.number, v.photo) for i, v in zip(indices, views)
        )
        return Job(first.scan, str(first.obj), made, self.recipe, str(first.face_labels or ""))

    def _check_space(self, missing: Sequence[int]) -> None:
        needed = 0.0
        for i in missing:
            photo = self.views[i].photo
            if photo is None:
                needed += _BYTES_PER_PIXEL * self.recipe.width * self.recipe.height
            else:
                needed += _BYTES_PER_PIXEL_PHOTO * photo.width * photo.height
        free = free_bytes(self.folder)
        if free < needed:
            raise StorageFull(
                f"{len(missing)} samples need up to {needed / 1e9:.2f} GB, {self.folder} has {free / 1e9:.2f} GB free. "
                "Free some space, or set SAPIENS_BENCH_CACHE to a folder on another disk."
            )

    def read(self, index: int, max_pixels: int = MAX_PIXELS) -> Sample:
        """One sample; made now when nobody prepared it.

        Raises:
            SampleFault: why it could not be made, or scan.cache when stored files are damaged.
        """
        folder, view = self._folders[index], self.views[index]
        stored = folder.entry()
        if stored is None:
            if fault := folder.fault():
                raise fault
            (outcome,) = run_job(self._job([index]))
            if outcome.code:
                raise SampleFault(outcome.code, outcome.detail)
            stored = folder.entry()
        if stored is None:
            raise SampleFault("scan.cache", f"{folder.path} vanished while it was read. Prepare the data set again.")
        if stored.has_rgb or view.photo is None:
            rgb = folder.rgb()
        else:
            rgb = read_rgb(view.photo.image, max_pixels=max_pixels, expected_size=(view.photo.width, view.photo.height))
        mask = folder.mask()
        if mask.shape != rgb.shape[:2]:
            raise SampleFault("scan.cache", f"{folder.path}: mask and picture differ in size. Prepare it again.")
        target = (
            DepthTarget(folder.depth(mask), mask) if self.task == "depth" else NormalTarget(folder.normals(mask), mask)
        )
        return Sample(index, view.key, view.group, whole_image(view.key, rgb, stored.entry.camera.K.copy()), target)
