"""The samples of a data set of scans: where each is stored, how the missing ones are made, how one is read.

``THuman2`` and ``Hi4D`` find the files and say which views there are; everything after that is the same and lies here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.folders import whole_image
from sapiens_bench.adapters.prepare import PreparedFault, PrepareReport, Progress
from sapiens_bench.adapters.scans.cache import SampleFolder, StoredEntry, stamp, store_folder
from sapiens_bench.adapters.scans.jobs import Job, Outcome, Recipe, View, job_to_json
from sapiens_bench.adapters.scans.photo import RealPhoto
from sapiens_bench.adapters.scans.render import run_job
from sapiens_bench.errors import SampleFault, StorageFull, raise_if_machine
from sapiens_bench.pixels.codecs import MAX_PIXELS, read_rgb
from sapiens_bench.render.camera import Framing
from sapiens_bench.render.manifest import manifest_bytes
from sapiens_bench.render.mesh import Up
from sapiens_bench.store.files import free_bytes, remove_strays, write_atomic
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.types import Sample
from sapiens_bench.workers import run_all

MAX_NOTES = 20  # about single scans
# Bytes a pixel of the image takes on disk, for the check of free space: a person covers up to about half of a picture.
_BYTES_PER_PIXEL, _BYTES_PER_PIXEL_PHOTO = 6.0, 4.5


@dataclass(frozen=True, slots=True)
class ScanView:
    """One sample."""

    key: str
    group: str
    scan: str  # names the mesh in messages and in the draws' seed
    mesh: Path
    sources: tuple[Path, ...]  # every file that decides what comes out; another content is another sample
    framing: Framing | None = None  # a virtual camera ...
    number: int = 0
    yaw_deg: int | None = None  # where it is not drawn
    photo: RealPhoto | None = None  # ... or a real picture
    up: Up = "y"
    face_labels: Path | None = None  # persons of the faces
    may_be_plain: bool = False  # drawn in one colour where the mesh has none


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
        known = [recipe.sha256(), [[view.key, stamps[view.sources], *_turned(view)] for view in views]]
        self.manifest_sha256 = hashlib.sha256(json.dumps(known).encode("utf-8", "surrogateescape")).hexdigest()
        self.manifest_path = self.folder / f"manifest-{label}-{self.manifest_sha256[:8]}.jsonl"
        self.notes: tuple[str, ...] = ()  # about scans, from the last time they were made or found

    def _folder(self, view: ScanView, source_stamp: str) -> SampleFolder:
        _, _, name = view.key.partition("/")
        return SampleFolder(self.folder / "samples" / "-".join((name, *_turned(view), source_stamp[:12])))

    def identity(self, index: int) -> str:
        """Name, size and time of change of the files behind a sample; -1 where one is missing."""
        return ", ".join(_identity(path) for path in self.views[index].sources)

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

        def on_done(job: int, records: list[dict[str, Any]]) -> None:
            nonlocal done, n_bytes
            outcomes = [Outcome(**record) for record in records]
            done += len(outcomes)
            n_bytes += sum(o.n_bytes for o in outcomes)
            faults.extend(PreparedFault(o.key, o.code, o.detail) for o in outcomes if o.code)
            progress(done, len(indices))

        if missing:
            remove_strays(self.folder)
        jobs = [job_to_json(job) for job in self._jobs(missing)]
        run_all("sapiens_bench.adapters.scans.render:run_record", jobs, workers, on_done, self.folder)
        if missing:
            remove_strays(self.folder)  # of workers that were killed; their samples were made by others
        entries = [entry for i in range(len(self.views)) if (entry := self.entry(i)) is not None]
        write_atomic(self.manifest_path, manifest_bytes(stored.entry for stored in entries))
        self.notes = _shortened(sorted({note for stored in entries for note in stored.notes}))
        faults.sort(key=lambda fault: fault.key)
        n_present, n_failed = len(indices) - len(missing), len(faults)
        n_made = len(missing) - n_failed
        return PrepareReport(n_made, n_present, n_failed, n_bytes, self.manifest_path, tuple(faults), self.notes)

    def _jobs(self, indices: Sequence[int]) -> list[Job]:
        """One job per mesh, in index order."""
        by_mesh: dict[Path, list[int]] = {}
        for i in indices:
            by_mesh.setdefault(self.views[i].mesh, []).append(i)
        return [self._job(group) for group in by_mesh.values()]

    def _job(self, indices: Sequence[int]) -> Job:
        first = self.views[indices[0]]
        views = tuple(self._view(i) for i in indices)
        return Job(
            first.scan, str(first.mesh), views, self.recipe, first.up, str(first.face_labels or ""), first.may_be_plain
        )

    def _view(self, i: int) -> View:
        view = self.views[i]
        return View(view.key, str(self._folders[i].path), view.framing, view.number, view.yaw_deg, view.photo)

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
            MemoryError, OSError: the machine ran out of something.
        """
        try:
            return self._read(index, max_pixels)
        except SampleFault as fault:
            raise_if_machine(fault)
            raise

    def _read(self, index: int, max_pixels: int) -> Sample:
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
        camera = stored.entry.camera
        K = None if camera.is_orthographic else camera.K.copy()
        return Sample(index, view.key, view.group, whole_image(view.key, rgb, K), target)


def _turned(view: ScanView) -> tuple[str, ...]:
    """What tells samples of one file apart that the recipe does not: the axis that was taken as up."""
    return () if view.up == "y" else (f"up-{view.up}",)


def _identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise_if_machine(error)
        return f"{path.name} -1"
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


def _shortened(notes: Sequence[str]) -> tuple[str, ...]:
    """The first notes, and how many more there are."""
    more = len(notes) - MAX_NOTES
    return (*notes[:MAX_NOTES], f"... and {more} more notes about single scans") if more > 0 else tuple(notes)
