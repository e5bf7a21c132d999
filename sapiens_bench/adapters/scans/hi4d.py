"""Hi4D: real pictures of calibrated cameras with the geometry of the scan, or rendered views of the scans.

**Self-check.** The silhouette of the scan must agree with the mask that came with the picture. The intersection over
union of every frame goes into the manifest; a sequence whose mean is below 0.95 is refused, since keys, distortion,
units or frame numbers must be wrong then. Where the calibration has lens distortion, each picture is taken as it is or
undistorted, whichever agrees better, and a note says which.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BeforeValidator

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import PreparedFault, PrepareReport, Progress
from sapiens_bench.adapters.scans.hi4d_cameras import Calibration, read_cameras
from sapiens_bench.adapters.scans.hi4d_layout import Sequence4D, find_sequences, pair_notes
from sapiens_bench.adapters.scans.hi4d_list import FrameList, read_list
from sapiens_bench.adapters.scans.jobs import Person
from sapiens_bench.adapters.scans.options import TASKS, RenderOptions, fixed_or_drawn, make_recipe
from sapiens_bench.adapters.scans.photo import RealPhoto
from sapiens_bench.adapters.scans.samples import ScanSamples, ScanView
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault, raise_if_machine
from sapiens_bench.types import Sample

DRAWS = "hi4d-render/1"
MIN_IOU = 0.95
MONO = "mono_cam"
UNCHECKED = "set allow_silhouette_mismatch: true in the protocol's options to go on without this check"
Cameras = tuple[int, ...] | Literal["mono_cam"]
_NUMBERS = re.compile(r"\d+(?:\s*,\s*\d+)*")


def _listed(value: Any) -> Any:
    """``4`` and ``4,16`` of a command line as the list that is meant."""
    if isinstance(value, str) and _NUMBERS.fullmatch(value.strip()):
        return tuple(int(number) for number in value.split(","))
    return (value,) if type(value) is int else tuple(value) if isinstance(value, list) else value


def _as_text(value: Any) -> Any:
    """A person's number, which a command line cannot tell from its text."""
    return str(value) if type(value) is int else value


class Hi4D:
    """Depth or normals. Key ``hi4d/<pair>/<action>/<camera>/<frame>``, group = the sequence.

    ``notes`` names pairs that are missing, and says how pictures of cameras with lens distortion were taken.

    Raises:
        CardError: a task that scans have no labels for.
        DataMissing: no sequence, frame or list file.
        DatasetRejected: a calibration, ``meta.npz`` or the list cannot be used.
    """

    class Options(RenderOptions):
        source: Literal["camera4", "virtual"] = "camera4"
        """camera4: real pictures; virtual: rendered from seeded cameras, which the options of rendering describe"""
        cameras: Annotated[Cameras, BeforeValidator(_listed)] = (4,)
        """cameras of the real pictures by number, or mono_cam: the one that each sequence's meta.npz names"""
        pairs: tuple[int, ...] = ()
        """which pairs; none: all that are here"""
        list: str = ""
        """file in the root with one sequence or picture a line; other frames are left out"""
        person: Annotated[Person, BeforeValidator(_as_text)] = "all"
        """whose pixels are scored"""
        allow_silhouette_mismatch: bool = False
        """go on where the self-check refuses a sequence"""

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task(*TASKS)
        options: Hi4D.Options = context.options
        card, root = context.card, context.root
        self.source, self.allow_mismatch = options.source, options.allow_silhouette_mismatch
        recipe = make_recipe(options, DRAWS, root, person=options.person)
        sequences = find_sequences(root, options.pairs)
        listed = read_list(options.list, root, sequences) if options.list else None
        if self.source == "camera4":
            views = _photo_views(card.id, sequences, options.cameras, listed)
            names = options.cameras if options.cameras == MONO else "+".join(map(str, options.cameras))
            label = f"camera{names}"
        else:
            views = _drawn_views(card.id, sequences, options, listed)
            label = f"virtual-{'+'.join(options.framings)}"
        if not views:
            raise DataMissing(
                f"No frame of {card.id} under {root} has both a picture and a scan{_why_none(sequences, options)}. "
                f"{card.get}"
            )
        self.keys: list[str] = [view.key for view in views]
        self.groups: list[str] = [view.group for view in views]
        self._found_notes = pair_notes(sequences, options.pairs)
        if self.allow_mismatch:
            self._found_notes += ("The silhouette self-check was switched off by the protocol.",)
        self.samples = ScanSamples(card.id, context.protocol.task, recipe, views, label)
        self.manifest_sha256 = self.samples.manifest_sha256
        self._max_pixels = context.max_pixels
        self._iou: dict[str, float] = {}  # mean of each sequence, over its frames that are prepared
        self._lock = threading.Lock()
        self._lens_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """About the set, then about frames that are prepared."""
        return (*self._found_notes, *self._lens_notes, *self.samples.notes)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        sample = self.samples.read(index, self._max_pixels)
        if fault := self._silhouette_fault(index):
            raise fault
        return sample

    def identity(self, index: int) -> str:
        """Size and time of change of the files behind a sample."""
        return self.samples.identity(index)

    def materialise(self, indices: Sequence[int], workers: int, progress: Progress) -> None:
        """Render what is missing, and check silhouettes."""
        self.prepare(indices, workers, progress)

    def prepare(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport:
        """Render what is missing and say what was done; frames of refused sequences are among the faults."""
        report = self.samples.make(indices, workers, progress)
        with self._lock:
            self._iou.clear()
        self._lens_notes = _lens_notes(self.samples)
        known = {fault.key for fault in report.faults}
        refused = [
            PreparedFault(self.keys[i], fault.code, fault.detail)
            for i in indices
            if self.keys[i] not in known and (fault := self._silhouette_fault(i))
        ]
        faults = tuple(sorted((*report.faults, *refused), key=lambda fault: fault.key))
        return PrepareReport(
            report.n_made, report.n_present, len(faults), report.bytes, report.manifest_path, faults, self.notes
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
        if not photo.masks:
            where = "seg/img_seg_mask/<camera>/all (nor one of each person beside it)"
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


def _why_none(sequences: Sequence[Sequence4D], options: Hi4D.Options) -> str:
    """What the first sequence has."""
    first = sequences[0]
    scans = _frames(first.meshes())
    if options.source != "camera4":
        return f": {first.name} has scans of {scans}"
    camera = first.mono_camera() if options.cameras == MONO else int(options.cameras[0])
    return f": {first.name} has pictures of camera {camera} of {_frames(first.images(camera))}, scans of {scans}"


def _frames(found: Mapping[int, Path]) -> str:
    return f"frames {min(found)} to {max(found)}" if found else "no frame"


def _lens_notes(samples: ScanSamples) -> tuple[str, ...]:
    """How pictures of cameras with lens distortion were taken, when there are any."""
    ways: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for i in range(len(samples.views)):
        stored = samples.entry(i)
        if stored is not None and "silhouette_iou_otherwise" in stored.entry.view:
            about = stored.entry.view
            pair = float(about["silhouette_iou"]), float(about["silhouette_iou_otherwise"])
            ways[bool(about["undistorted"])].append(pair)
    notes = []
    for is_undistorted, pairs in ways.items():
        if pairs:
            taken, other = (sum(column) / len(pairs) for column in zip(*pairs))
            how, else_ = ("undistorted", "as they are") if is_undistorted else ("as they are", "undistorted")
            notes.append(
                f"{len(pairs)} pictures of cameras with lens distortion were taken {how}: silhouettes agree by "
                f"{taken:.3f} IoU on average, {else_} by {other:.3f}"
            )
    return tuple(notes)


def _photo_views(
    dataset: str, sequences: Sequence[Sequence4D], cameras: Cameras, listed: FrameList | None
) -> list[ScanView]:
    """One sample for each camera and frame with both picture and scan, between ``start`` and ``end`` of the sequence.

    Raises:
        DatasetRejected: a camera is not calibrated, or the list names a picture that is not there.
    """
    views: list[ScanView] = []
    for sequence in sequences:
        calibrations = read_cameras(sequence.cameras_file)
        chosen = (sequence.mono_camera(),) if cameras == MONO else cameras
        for camera in chosen:
            if camera not in calibrations:
                have = ", ".join(map(str, sorted(calibrations)))
                raise DatasetRejected(str(sequence.cameras_file), [f"no camera {camera}; it has {have}"])
            assert isinstance(camera, int)
            views += _camera_views(dataset, sequence, camera, calibrations[camera], listed)
    _all_listed(listed, views, dataset)
    return views


def _camera_views(
    dataset: str, sequence: Sequence4D, camera: int, calibration: Calibration, listed: FrameList | None
) -> list[ScanView]:
    meshes, labels = sequence.meshes(), sequence.person_labels()
    images, masks = sequence.images(camera), sequence.masks(camera)
    first, last = sequence.span()
    size = _picture_size(images)
    views = []
    for frame in sorted(images.keys() & meshes.keys()):
        if not first <= frame <= last or not (listed is None or listed.has(sequence.name, camera, frame)):
            continue
        seen_on = masks.get(frame, ())
        files = (sequence.cameras_file, meshes[frame], images[frame], *seen_on, labels.get(frame))
        views.append(
            ScanView(
                key=f"{dataset}/{sequence.name}/{camera}/{frame:06d}",
                group=sequence.name,
                scan=f"{sequence.name}/{frame:06d}",
                mesh=meshes[frame],
                sources=tuple(file for file in files if file is not None),
                photo=_photo(calibration, images[frame], seen_on, size),
                face_labels=labels.get(frame),
            )
        )
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
    dataset: str, sequences: Sequence[Sequence4D], options: RenderOptions, listed: FrameList | None
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
                    key=f"{dataset}/{sequence.name}/virtual-{framing}{suffix.replace('/', '-')}/{frame:06d}",
                    group=sequence.name,
                    scan=f"{sequence.name}/{frame:06d}",
                    mesh=mesh,
                    sources=sources,
                    framing=framing,
                    number=number,
                    yaw_deg=yaw,
                    face_labels=labels.get(frame),
                )
                for framing in options.framings
                for number, yaw, suffix in fixed_or_drawn(options)
            ]
    return views


def _photo(camera: Calibration, image: Path, masks: Sequence[Path], size: tuple[int, int]) -> RealPhoto:
    return RealPhoto(
        image=str(image),
        masks=tuple(map(str, masks)),
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
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            raise_if_machine(error)
            continue  # reading the sample names the broken file
    return 940, 1280
