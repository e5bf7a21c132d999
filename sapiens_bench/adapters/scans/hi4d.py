"""Hi4D: real pictures of calibrated cameras with the geometry of the scan, or rendered views of the scans.

Protocol options (all optional):

    source: camera4                # camera4: real pictures; virtual: rendered from seeded cameras
    cameras: [4]                   # of the real pictures
    pairs: [28, 32, 37]            # empty: all
    list: hi4d_list.txt            # in the root: one sequence or picture a line; other frames are left out
    person: all                    # all, 0 or 1: whose pixels are scored
    allow_silhouette_mismatch: false
    framings, views, size, focal_mm, yaw_deg, pitch_deg, seed, grey, backgrounds      # virtual only, see thuman2.py

**Self-check.** The silhouette of the scan must agree with the mask that came with the picture. The intersection over
union of every frame goes into the manifest; a sequence whose mean is below 0.95 is refused, since keys, distortion,
units or frame numbers must be wrong then. Pictures of cameras with lens distortion are undistorted first.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from PIL import Image

from sapiens_bench.adapters.folders import refuse_split
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.adapters.prepare import PreparedFault, PrepareReport, Progress
from sapiens_bench.adapters.scans.hi4d_layout import (
    Calibration,
    FrameList,
    Sequence4D,
    find_sequences,
    read_cameras,
    read_list,
)
from sapiens_bench.adapters.scans.options import RECIPE_OPTIONS, ScanOptions, make_recipe
from sapiens_bench.adapters.scans.photo import RealPhoto
from sapiens_bench.adapters.scans.samples import ScanSamples, ScanView
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault
from sapiens_bench.render.camera import Framing
from sapiens_bench.types import Sample

DRAWS = "hi4d-render/1"
MIN_IOU = 0.95
UNCHECKED = "set allow_silhouette_mismatch: true in the protocol's options to go on without this check"
_OPTIONS = {"source", "cameras", "pairs", "list", "person", "allow_silhouette_mismatch", "framings", "views"}


class Hi4D:
    """Depth or normals. Key ``hi4d/<pair>/<action>/<camera>/<frame>``, group = the sequence.

    Raises:
        CardError: an option is unknown or of the wrong kind.
        DataMissing: no sequence, frame or list file.
        DatasetRejected: a calibration, ``meta.npz`` or the list cannot be used.
    """

    def __init__(
        self,
        card: DatasetCard,
        protocol: EvalProtocol,
        space: SpaceCard | None,
        root: Path,
        options: AdapterOptions | None = None,
    ) -> None:
        self._options = options or AdapterOptions()
        refuse_split(card, self._options.split)
        read = ScanOptions(card, protocol, {*RECIPE_OPTIONS, *_OPTIONS})
        person = cast("Literal['all', '0', '1']", read.text("person", "all", ("all", "0", "1")))
        self.source = read.text("source", "camera4", ("camera4", "virtual"))
        self.allow_mismatch = read.flag("allow_silhouette_mismatch")
        recipe = make_recipe(read, DRAWS, root, person=person)
        sequences = find_sequences(root, read.wholes("pairs"))
        listed = read_list(read.text("list"), root, sequences) if read.text("list") else None
        if self.source == "camera4":
            cameras = read.wholes("cameras") or (4,)
            views, label = _photo_views(card.id, sequences, cameras, listed), f"camera{'+'.join(map(str, cameras))}"
        else:
            framings, n_views = read.framings(default=("full",)), read.whole("views", 1, least=1)
            views, label = _drawn_views(card.id, sequences, framings, n_views, listed), f"virtual-{'+'.join(framings)}"
        if not views:
            raise DataMissing(f"No frame of {card.id} under {root} has both a picture and a scan. {card.get}")
        self.keys: list[str] = [view.key for view in views]
        self.groups: list[str] = [view.group for view in views]
        self.notes: tuple[str, ...] = ()
        if self.allow_mismatch:
            self.notes = ("The silhouette self-check was switched off by the protocol.",)
        self.samples = ScanSamples(card.id, protocol.task, recipe, views, label)
        self.manifest_sha256 = self.samples.manifest_sha256
        self._iou: dict[str, float] = {}  # mean of each sequence, over its frames that are prepared
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        sample = self.samples.read(index, self._options.max_pixels)
        if fault := self._silhouette_fault(index):
            raise fault
        return sample

    def materialise(self, indices: Sequence[int], workers: int, progress: Progress) -> None:
        """Render what is missing, and check silhouettes."""
        self.prepare(indices, workers, progress)

    def prepare(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport:
        """Render what is missing and say what was done; frames of refused sequences are among the faults."""
        report = self.samples.make(indices, workers, progress)
        with self._lock:
            self._iou.clear()
        known = {fault.key for fault in report.faults}
        refused = [
            PreparedFault(self.keys[i], fault.code, fault.detail)
            for i in indices
            if self.keys[i] not in known and (fault := self._silhouette_fault(i))
        ]
        faults = tuple(sorted((*report.faults, *refused), key=lambda fault: fault.key))
        return PrepareReport(
            report.n_made, report.n_present, len(faults), report.bytes, report.manifest_path, faults, report.notes
        )

    def sequence_iou(self, sequence: str) -> float:
        """Mean IoU of silhouette and mask over the prepared frames of ``pairXX/ACTION``; NaN when none has a mask."""
        with self._lock:
            if sequence not in self._iou:
                values = [
                    float(stored.entry.view["silhouette_iou"])
                    for i, group in enumerate(self.groups)
                    if group == sequence
                    and (stored := self.samples.entry(i)) is not None
                    and "silhouette_iou" in stored.entry.view
                ]
                self._iou[sequence] = sum(values) / len(values) if values else math.nan
            return self._iou[sequence]

    def _silhouette_fault(self, index: int) -> SampleFault | None:
        if self.source == "virtual" or self.allow_mismatch:
            return None
        photo = self.samples.views[index].photo
        assert photo is not None
        sequence = self.groups[index]
        if not photo.mask:
            where = "seg/img_seg_mask/<camera>/all"
            return SampleFault(
                "scan.silhouette", f"{self.keys[index]} has no mask in {where}; fetch it, or {UNCHECKED}"
            )
        mean = self.sequence_iou(sequence)
        if mean >= MIN_IOU:
            return None
        return SampleFault(
            "scan.silhouette",
            f"sequence {sequence}: scan and picture masks agree by {mean:.3f} IoU on average, below {MIN_IOU}. Check "
            f"calibration, lens distortion, units and frame numbers, or {UNCHECKED}",
        )


def _photo_views(
    dataset: str, sequences: Sequence[Sequence4D], cameras: Sequence[int], listed: FrameList | None
) -> list[ScanView]:
    """One sample for each camera and frame with both picture and scan, between ``start`` and ``end`` of the sequence.

    Raises:
        DatasetRejected: a camera is not calibrated, or the list names a picture that is not there.
    """
    views: list[ScanView] = []
    for sequence in sequences:
        calibrations = read_cameras(sequence.cameras_file)
        if absent := [camera for camera in cameras if camera not in calibrations]:
            have = ", ".join(map(str, sorted(calibrations)))
            raise DatasetRejected(str(sequence.cameras_file), [f"no camera {absent[0]}; it has {have}"])
        meshes, labels = sequence.meshes(), sequence.person_labels()
        first, last = sequence.span()
        for camera in cameras:
            images, masks = sequence.images(camera), sequence.masks(camera)
            size = _picture_size(images)
            for frame in sorted(images.keys() & meshes.keys()):
                if first <= frame <= last and (listed is None or listed.has(sequence.name, camera, frame)):
                    photo = _photo(calibrations[camera], images[frame], masks.get(frame), size)
                    files = (sequence.cameras_file, meshes[frame], images[frame], masks.get(frame), labels.get(frame))
                    views.append(
                        ScanView(
                            key=f"{dataset}/{sequence.name}/{camera}/{frame:06d}",
                            group=sequence.name,
                            scan=f"{sequence.name}/{frame:06d}",
                            obj=meshes[frame],
                            sources=tuple(file for file in files if file is not None),
                            photo=photo,
                            face_labels=labels.get(frame),
                        )
                    )
    _all_listed(listed, views, dataset)
    return views


def _all_listed(listed: FrameList | None, views: Sequence[ScanView], dataset: str) -> None:
    """Every picture on the list must be there, or scores would be of another set under the same name."""
    if listed is None:
        return
    keys = {view.key for view in views}
    wanted = [f"{sequence}/{camera}/{frame:06d}" for sequence, camera, frame in sorted(listed.pictures)]
    absent = [name for name in wanted if f"{dataset}/{name}" not in keys]
    if absent:
        faults = [f"{name} has no picture, no scan, or another camera than the protocol's" for name in absent[:20]]
        raise DatasetRejected("the list of frames", [*faults, f"{len(absent)} of {len(wanted)} pictures are not here"])


def _drawn_views(
    dataset: str,
    sequences: Sequence[Sequence4D],
    framings: Sequence[Framing],
    n_views: int,
    listed: FrameList | None,
) -> list[ScanView]:
    """Rendered views of every scan between ``start`` and ``end``; a list selects the frames it names for any camera."""
    views: list[ScanView] = []
    for sequence in sequences:
        labels = sequence.person_labels()
        first, last = sequence.span()
        frames = None if listed is None else {f for s, _, f in listed.pictures if s == sequence.name}
        for frame, mesh in sorted(sequence.meshes().items()):
            on_list = frames is None or frame in frames or (listed is not None and sequence.name in listed.sequences)
            if not first <= frame <= last or not on_list:
                continue
            extra = (labels[frame],) if frame in labels else ()
            sources = (mesh, *sequence.material_files(frame), *extra)
            views += [
                ScanView(
                    key=f"{dataset}/{sequence.name}/virtual-{framing}{f'-{k}' if k else ''}/{frame:06d}",
                    group=sequence.name,
                    scan=f"{sequence.name}/{frame:06d}",
                    obj=mesh,
                    sources=sources,
                    framing=framing,
                    number=k,
                    face_labels=labels.get(frame),
                )
                for framing in framings
                for k in range(n_views)
            ]
    return views


def _photo(camera: Calibration, image: Path, mask: Path | None, size: tuple[int, int]) -> RealPhoto:
    return RealPhoto(
        image=str(image),
        mask=str(mask or ""),
        K=tuple(tuple(row) for row in camera.K.tolist()),
        R=tuple(tuple(row) for row in camera.R.tolist()),
        t=tuple(camera.t.tolist()),
        width=size[0],
        height=size[1],
        distortion=camera.distortion,
    )


def _picture_size(images: dict[int, Path]) -> tuple[int, int]:
    """Width and height of a camera's pictures, from the first header that can be read; 940 x 1280 as documented."""
    for path in images.values():
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            continue  # reading the sample names the broken file
    return 940, 1280
