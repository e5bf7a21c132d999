"""A plain folder in the file format of Sapiens' own data loaders: anyone's depth, normals or labels.

    images/ (image, rgb ...)     <name>.png, .jpg ...
    masks/ or mask/              <name>.png, .npy ...; whatever is not 0, black or transparent is human
    depths/ or depth/            <name>.npy, .npz (key ``depth``), .exr, 16-bit .png or float .tif
    normals/ or normal/          <name>.npy, .npz (key ``normal``), .exr, or .png and .tif with (n + 1) / 2
    labels/ or label/            <name>.png, .npy or .npz (key ``label``)
    camera_intrinsics/           <name>.txt, 3 x 3; optional, but ray lengths need it
    frame.json                   what the numbers mean (adapters/dense/frames.py); without it nothing is read

A name may have folders in it (``images/<scene>/<frame>.png``); the rules for names, junk and links are those of
adapters/folders.py. Samples are the names that all folders of the task have, sorted (Sapiens v1 leaves them in set
order). Up to eight samples are looked at when the folder is opened: a declaration that its own numbers contradict is
refused.

Source: facebookresearch/sapiens, seg/mmseg/datasets/depth_general.py and normal_general.py; facebookresearch/sapiens2,
sapiens/dense/src/datasets/normal/normal_base_dataset.py.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.doubts import (
    LookOver,
    geometric_faults,
    implausible,
    label_doubts,
    look_at_camera,
    look_at_mask,
)
from sapiens_bench.adapters.dense.files import DenseFiles, Depth
from sapiens_bench.adapters.dense.frames import FILE, Frame, read_frame
from sapiens_bench.adapters.dense.infer import inferred
from sapiens_bench.adapters.dense.label_maps import NO_LABELS, SourceLabels, as_indices, distinct, mapped, source_labels
from sapiens_bench.adapters.dense.layout import Layout
from sapiens_bench.adapters.dense.options import FolderOptions
from sapiens_bench.adapters.folders import manifest, whole_image
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault
from sapiens_bench.pixels.codecs import ExifPolicy, rgb_of
from sapiens_bench.pixels.coded_normals import coded_advice
from sapiens_bench.pixels.decode import Picture
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.shapes import Shape
from sapiens_bench.store.files import file_identity
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.evidence import doubt_frame
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.coding import Border, border_of, coding_doubt
from sapiens_bench.tasks.seg.types import SegTarget
from sapiens_bench.types import Sample

DECLARED_AS = {"seg": "labels", "depth": "depth", "normal": "normals"}
Target = SegTarget | DepthTarget | NormalTarget


class DenseFolder:
    """One task of a folder; each sample is its own group. ``keys`` are ``<data-set id>/<name>``.

    Raises:
        DataMissing: nothing is declared about the task, or a folder of the task is not there.
        DatasetRejected: an unknown frame or unit, or numbers that contradict the declaration.
        CardError, LabelSpaceMismatch: the protocol cannot be scored on this declaration.
    """

    Options = FolderOptions

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task(*DECLARED_AS)
        options: FolderOptions = context.options
        root, self._task, card = context.root.absolute(), context.protocol.task, context.card
        self._options = options
        frame = read_frame(root, options.declared(), needed=not options.infer)
        if not options.infer:
            _check_declared(frame, context, shown(root / FILE))
        needed, wanted = _roles(self._task, frame, options)
        self.layout = Layout(root, needed, wanted, options.named(), loose=self._task if options.infer else "")
        self._files = DenseFiles(self.layout, context.max_pixels)
        notes = [*self.layout.notes]
        if options.infer:
            frame, said = inferred(frame, self._task, self._files)
            notes += said
            _check_declared(frame, context, shown(root / FILE))
        self._frame = frame
        self._exif: ExifPolicy = frame.exif or (card.exif if "exif" in card.model_fields_set else "unstated")
        self._source = self._labels(context)
        self.keys: list[str] = [f"{card.id}/{stem}" for stem in self.layout.stems]
        self.groups: list[str] = self.keys
        parts = [card.id, self._task, self._exif, frame.model_dump_json(), self._source.described]
        pictures, truth = self.layout.paths(pictures=True), self.layout.paths(pictures=False)
        self.manifest_sha256: str = manifest(parts, root, pictures, truth)
        self.notes: tuple[str, ...] = (*notes, *self._look_over(shown(root / FILE)))

    def __len__(self) -> int:
        return len(self.keys)

    def identity(self, index: int) -> str:
        """Size and time of change of the sample's files."""
        return file_identity(path for path in self.layout.of(index) if path is not None)

    def __getitem__(self, index: int) -> Sample:
        """One picture and its truth in our frame.

        Raises:
            SampleFault: side ``input``.
        """
        picture = self._picture(index)
        target: Target
        if self._task == "seg":
            labels = self._label_map(index, picture)[0]
            target, size_hw = SegTarget(labels), labels.shape
        else:
            target = self._depth(index, picture)[0] if self._task == "depth" else self._normals(index, picture)
            size_hw = target.mask_HW.shape
        if picture is None:  # black, and without memory
            image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*size_hw, 3))
        else:
            image = rgb_of(picture, self._settled(index, picture, size_hw))
        K = self._files.camera(index) if self._files.has("camera", index) else None
        return Sample(index, self.keys[index], self.groups[index], whole_image(self.keys[index], image, K), target)

    def _picture(self, index: int) -> Picture | None:
        """The sample's picture, not yet decoded; None when pictures are not wanted."""
        return self._files.picture(index) if self._options.pictures else None

    def _settled(self, index: int, picture: Picture | None, size_hw: Shape) -> ExifPolicy:
        """How the picture is read, so that it fits its truth.

        Raises:
            SampleFault: ``label.shape`` with both files and sizes, ``image.exif_policy``.
        """
        if picture is None:
            return "ignore"
        try:
            return picture.settled(self._exif, (size_hw[1], size_hw[0]))
        except SampleFault as fault:
            if fault.code == "image.exif_policy" and picture.orientation != 1:
                raise
            role = "mask" if self._task != "seg" and self._files.has("mask", index) else self._task
            truth, (width, height) = shown(self._files.path(role, index)), picture.stored
            sizes = f"{size_hw[1]}x{size_hw[0]} (width x height), the picture {picture.name} has {width}x{height}"
            raise SampleFault("label.shape", f"{truth}: {sizes}") from None

    def _label_map(self, index: int, picture: Picture | None) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Labels in the protocol's set, and as stored."""
        stored = self._stored(index)
        self._settled(index, picture, stored.shape)
        return mapped(stored, self._source, self._files.path("seg", index)), stored

    def _stored(self, index: int) -> NDArray[Any]:
        assert self._frame.labels is not None
        return as_indices(self._files.labels(index), self._frame.labels.encoding)

    def _mask(self, index: int, picture: Picture | None) -> NDArray[np.bool_] | None:
        mask = self._files.mask(index)
        if mask is not None:
            self._settled(index, picture, mask.shape)
        return mask

    def _normals(self, index: int, picture: Picture | None) -> NormalTarget:
        frame = self._frame.normals
        assert frame is not None
        mask = self._mask(index, picture)
        normals = frame.to_ours(self._files.normals(index, frame, None if mask is None else mask.shape))
        valid = np.asarray(np.isfinite(normals).all(axis=-1))
        valid = valid if mask is None else valid & mask
        return NormalTarget(np.where(valid[..., None], normals, np.float32(0)), valid)

    def _depth(self, index: int, picture: Picture | None) -> tuple[DepthTarget, Depth]:
        frame = self._frame.depth
        assert frame is not None
        read = self._files.depth(index, frame, self._mask(index, picture))
        depth, mask = read.depth_HW, read.mask_HW
        valid = mask & np.isfinite(depth) & (depth > 0)
        path = shown(self._files.path("depth", index))
        if not valid.any() and bool((depth[mask] < 0).any()):
            raise SampleFault("label.depth_sign", f"{path}: every depth of the person is negative; store distances")
        if fault := implausible(depth, valid, frame):
            raise SampleFault("label.depth_unit", f"{path}: {fault}")
        return DepthTarget(np.where(valid, depth, np.float32(np.nan)), valid), read

    def _labels(self, context: DataContext) -> SourceLabels:
        """The set that the files are in; empty for depth and normals."""
        if self._task != "seg" or self._frame.labels is None:
            return NO_LABELS
        return source_labels(context, self._frame.labels.space, self._frame.labels.encoding)

    def _look_over(self, path: str) -> list[str]:
        """Refuse the folder when its own numbers contradict what it declares; what else there is to say."""
        over = LookOver(len(self))
        look = {"seg": self._look_at_labels, "depth": self._look_at_depth, "normal": self._look_at_normals}
        look[self._task](over)
        if over.faults and not self._options.trusted:
            remedy = "Correct the declaration, or the files; the option 'trusted' reads them as they are declared."
            raise DatasetRejected(path, over.faults[:20], remedy)
        return [*(f"trusted in spite of: {fault}" for fault in over.faults[:3]), *over.all_notes]

    def _look_at_labels(self, over: LookOver) -> None:
        present: list[list[int]] = []
        borders: list[Border] = []

        def look(index: int) -> None:
            picture, stored = self._picture(index), self._stored(index)
            borders.append(border_of(stored, self._source.ignored))
            self._label_map(index, picture)
            present.append(distinct(stored))
            self._note_turn(over, index, picture, stored.shape)

        over.each(self.layout.stems, look)
        label_doubts(present, self._source.names, self._source.ignored, over)
        if doubt := coding_doubt(borders, self._source.names, self._source.ignored):
            over.notes.append(doubt)

    def _look_at_depth(self, over: LookOver) -> None:
        odd: list[str] = []

        def look(index: int) -> None:
            picture, stem = self._picture(index), self.layout.stems[index]
            try:
                target, read = self._depth(index, picture)
            except SampleFault as fault:
                if fault.code == "label.depth_unit":
                    odd.append(f"{stem}: {fault.detail}")
                raise
            if read.holes.text:
                over.holes.append(f"{stem}, {read.holes.text}")
            self._note_mask(over, index, read.mask_HW, target.mask_HW)
            if self._frame.depth is not None and self._frame.depth.along == "ray":
                look_at_camera(over, stem, self._files.camera(index), target.mask_HW.shape)
            if index in self._ends:
                over.faults += self._contradictions(index, target)
            self._note_turn(over, index, picture, read.mask_HW.shape)

        over.each(self.layout.stems, look)
        if 2 * len(odd) >= len(over.indices):  # the declaration is wrong; fewer are wrong themselves
            over.faults += odd

    def _look_at_normals(self, over: LookOver) -> None:
        pairs: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        frame = self._frame.normals
        assert frame is not None

        def look(index: int) -> None:
            picture = self._picture(index)
            target = self._normals(index, picture)
            pairs.append((target.normals_HW3, target.mask_HW))
            self._note_mask(over, index, target.mask_HW, target.mask_HW)
            stored = self._files.normals(index, frame, target.mask_HW.shape)
            advice = coded_advice(stored[target.mask_HW], "declare the encoding 'colour'")
            if frame.encoding == "auto" and advice:
                over.faults.append(f"{self.layout.stems[index]}: {advice}")
            if index in self._ends and self._frame.depth and self._files.has("depth", index):
                over.faults += self._contradictions(index, self._depth(index, None)[0])
            self._note_turn(over, index, picture, target.mask_HW.shape)

        over.each(self.layout.stems, look)
        if not over.faults and (doubt := doubt_frame(pairs)):
            better = frame.corrected(doubt.sign, doubt.order)
            fix = f'"frame": {json.dumps(better.frame)}, "order": "{better.order}"'
            over.faults.append(f"{doubt.text}; the pictures speak for {fix}")

    @property
    def _ends(self) -> set[int]:
        """The first, middle and last sample: those whose geometry is compared."""
        return {0, len(self) // 2, len(self) - 1}

    def _note_mask(self, over: LookOver, index: int, mask: NDArray[np.bool_], scored: NDArray[np.bool_]) -> None:
        path = self.layout.path("mask", index)
        look_at_mask(over, self.layout.stems[index], path, mask, int(np.count_nonzero(scored)))

    def _note_turn(self, over: LookOver, index: int, picture: Picture | None, size_hw: Shape) -> None:
        if picture is not None and picture.orientation != 1 and self._exif == "unstated":
            how = "as viewed" if self._settled(index, picture, size_hw) == "apply" else "as stored"
            over.turned.append(f"{self.layout.stems[index]}, orientation {picture.orientation}, read {how}")

    def _contradictions(self, index: int, target: DepthTarget) -> list[str]:
        """Where depth, normals and camera of one sample are all there."""
        files, frame = self._files, self._frame
        if frame.normals is None or frame.depth is None or frame.depth.unit == "relative":
            return []
        if not (files.has("normal", index) and files.has("camera", index)):
            return []
        mask = target.mask_HW
        normals = frame.normals.to_ours(files.normals(index, frame.normals, mask.shape))
        found = geometric_faults(normals, target.depth_HW, mask, files.camera(index), frame.depth)
        return [f"{self.layout.stems[index]}: {fault}" for fault in found]


def _check_declared(frame: Frame, context: DataContext, path: str) -> None:
    """Raises DataMissing when nothing is declared about the task, CardError when it cannot be aligned as asked."""
    name = DECLARED_AS[context.protocol.task]
    if getattr(frame, name) is None:
        raise DataMissing(f"{path} declares nothing about {name}: add the key {name!r}.")
    alignment = context.protocol.scoring.get("alignment", "scale_shift")
    is_relative = name == "depth" and frame.depth is not None and frame.depth.unit == "relative"
    if is_relative and alignment not in ("scale_shift", "scale_shift_l1"):
        raise CardError(f"relative depth can only be scored after scale and shift, not {alignment!r}")


def _roles(task: str, frame: Frame, options: FolderOptions) -> tuple[list[str], list[str]]:
    """Roles that are needed, and those that are used where they are there."""
    needed = ["image"] if options.pictures else []
    if task == "seg":
        return [*needed, "seg"], []
    needed += [task] if options.infer else ["mask", task]
    if task == "depth" and frame.depth is not None and frame.depth.along == "ray":
        needed.append("camera")
    # What lies beside the task's own truth serves the cross-check only.
    return needed, [role for role in ("mask", "depth", "normal", "camera") if role not in needed]
