"""A plain folder in the file format of Sapiens' own data loaders: anyone's depth, normals or labels.

    images/ or rgb/       <stem>.png, .jpg ...
    masks/ or mask/       <stem>.png; first channel above 0 is human (depth and normals)
    depths/ or depth/     <stem>.npy, .npz (key ``depth``) or 16-bit .png
    normals/ or normal/   <stem>.npy, .npz (key ``normal``) or .png, (n + 1) / 2
    labels/               <stem>.png, .npy or .npz (key ``label``)
    camera_intrinsics/    <stem>.txt, 3 x 3; optional, but ray lengths need it
    frame.json            what the numbers mean (adapters/frames.py); without it nothing is read

Samples are the stems that all folders of the task have, sorted (Sapiens v1 leaves them in set order). The first, middle
and last sample are looked at when the folder is opened: a declaration that its own numbers contradict is refused.

Source: facebookresearch/sapiens seg/mmseg/datasets/{depth,normal}_general.py and sapiens2 dense/src/datasets, as
specified in specs: data sets, section 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.dense.files import DenseFiles
from sapiens_bench.adapters.dense.frames import FILE, DepthFrame, Frame, read_frame
from sapiens_bench.adapters.dense.label_maps import label_table
from sapiens_bench.adapters.folders import checked_options, manifest, refuse_split, where, whole_image
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.adapters.surface import best_sign, normals_from_depth, ray_factor, sign_angles
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, DatasetRejected, PathEscape, SampleFault
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.types import SegTarget
from sapiens_bench.types import Sample

CLEAR_SHARE = 0.7  # another reading beats the declared one when its angle is below this share of it ...
CLEAR_DEG = 0.5  # ... by this much ...
MOST_DEG = 12.0  # ... and small: noise in both maps can hide a convention, but not invent one
DECLARED_AS = {"seg": "labels", "depth": "depth", "normal": "normals"}


class DenseFolder:
    """One task of a folder; each sample is its own group. ``keys`` are ``<data-set id>/<stem>``.

    Raises:
        DataMissing: no declaration, or a folder of the task is not there.
        DatasetRejected: an unknown frame or unit, or numbers that contradict the declaration.
        CardError, LabelSpaceMismatch: the protocol cannot be scored on this declaration.
    """

    def __init__(
        self,
        card: DatasetCard,
        protocol: EvalProtocol,
        space: SpaceCard | None,
        root: Path,
        options: AdapterOptions | None = None,
    ) -> None:
        options, root = options or AdapterOptions(), root.absolute()
        refuse_split(card, options.split)
        checked_options(card, protocol, {})
        self._task, self._frame = protocol.task, read_frame(root)
        if self._task not in DECLARED_AS:
            raise CardError(f"{where(card, protocol)}: a folder holds seg, depth or normal, not {self._task}")
        self._table = declared_labels(self._frame, protocol, space, root)
        needed = ["image", "seg"] if self._task == "seg" else ["image", "mask", self._task]
        if self._task == "depth" and self._frame.depth is not None and self._frame.depth.along == "ray":
            needed.append("camera")
        # What lies beside the task's own truth serves the cross-check only.
        wanted = [] if self._task == "seg" else [r for r in ("depth", "normal", "camera") if r not in needed]
        self._files = DenseFiles(root, needed, wanted, card.exif, options.max_pixels)
        self.keys: list[str] = [f"{card.id}/{stem}" for stem in self._files.stems]
        self.groups: list[str] = self.keys
        left_out = self._files.left_out
        self.notes = [f"{left_out} files without a partner in every folder left out"] if left_out else []
        parts = [card.id, self._task, card.exif, self._frame.model_dump_json(), str(self._table.tolist())]
        files = self._files
        self.manifest_sha256: str = manifest(parts, root, files.paths(pictures=True), files.paths(pictures=False))
        if self._task != "seg":
            self._check_declaration(root)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """One picture and its truth in our frame.

        Raises:
            SampleFault: side ``input``.
        """
        try:
            image = self._files.image(index)
            K = self._files.camera(index) if self._files.has("camera", index) else None
            target = self._target(index, image.shape[:2])
        except PathEscape as error:
            raise SampleFault("image.path", str(error)) from None
        return Sample(index, self.keys[index], self.groups[index], whole_image(self.keys[index], image, K), target)

    def _target(self, index: int, shape_hw: tuple[int, ...]) -> SegTarget | DepthTarget | NormalTarget:
        if self._task == "seg":
            return SegTarget(self._files.labels(index, shape_hw, self._table))
        mask = self._files.mask(index)
        if mask.shape != shape_hw:
            path = self._files.path("mask", index)
            raise SampleFault("label.shape", f"{path}: shape {mask.shape}, the picture needs {shape_hw}")
        if self._task == "normal":
            assert self._frame.normals is not None
            normals = self._files.normals(index, shape_hw, self._frame.normals)
            valid = mask & np.isfinite(normals).all(axis=-1)
            return NormalTarget(np.where(valid[..., None], normals, np.float32(0)), valid)
        assert self._frame.depth is not None
        depth = self._files.depth(index, shape_hw, self._frame.depth)
        valid = mask & np.isfinite(depth) & (depth > 0)
        if fault := implausible(depth, valid, self._frame.depth):
            raise SampleFault("label.depth_unit", f"{self._files.path('depth', index)}: {fault}")
        return DepthTarget(np.where(valid, depth, np.float32(np.nan)), valid)

    def _check_declaration(self, root: Path) -> None:
        """Refuse the folder when its own numbers contradict what it declares."""
        faults: list[str] = []
        for index in sorted({0, len(self) // 2, len(self) - 1}):
            try:
                faults += [f"{self._files.stems[index]}: {fault}" for fault in self._contradictions(index)]
            except (SampleFault, PathEscape):
                continue  # that sample's own row will say so
        if faults:
            raise DatasetRejected(str(root / FILE), faults, "Correct the declaration, or the files.")

    def _contradictions(self, index: int) -> list[str]:
        files, frame = self._files, self._frame
        if frame.depth is None or not files.has("depth", index):
            return []
        mask = files.mask(index)
        depth = files.depth(index, mask.shape, frame.depth)
        valid = mask & np.isfinite(depth) & (depth > 0)
        if fault := implausible(depth, valid, frame.depth):
            return [fault]
        if frame.normals is None or frame.depth.unit == "relative":
            return []
        if not (files.has("normal", index) and files.has("camera", index)):
            return []
        normals = files.normals(index, mask.shape, frame.normals)
        return geometric_faults(normals, depth, valid, files.camera(index), frame.depth)


def declared_labels(frame: Frame, protocol: EvalProtocol, space: SpaceCard | None, root: Path) -> NDArray[np.uint8]:
    """Target label of each label in the files; empty for depth and normals.

    Raises:
        DatasetRejected: the declaration says nothing about the task.
        CardError: relative depth under an alignment that needs metres, or no label set.
    """
    name = DECLARED_AS[protocol.task]
    if getattr(frame, name) is None:
        raise DatasetRejected(str(root / FILE), [f"declares nothing about {name}"], f"Add the key {name!r}.")
    alignment = protocol.scoring.get("alignment", "scale_shift")
    is_relative = protocol.task == "depth" and frame.depth is not None and frame.depth.unit == "relative"
    if is_relative and alignment != "scale_shift":
        raise CardError(f"relative depth can only be scored after scale and shift, not {alignment!r}")
    if protocol.task != "seg" or frame.labels is None:
        return np.zeros(0, np.uint8)
    if space is None:
        raise CardError("a segmentation protocol needs a label set")
    return label_table(frame.labels.space, space)


def implausible(depth_HW: NDArray[np.float32], valid_HW: NDArray[np.bool_], frame: DepthFrame) -> str:
    """What is odd about the depth of the person, or ""."""
    return frame.suspicion(float(np.median(depth_HW[valid_HW]))) if valid_HW.any() else ""


def geometric_faults(
    normals_HW3: NDArray[np.float32],
    depth_HW: NDArray[np.float32],
    valid_HW: NDArray[np.bool_],
    K: NDArray[np.float64],
    frame: DepthFrame,
) -> list[str]:
    """Where depth and normals of one picture contradict each other as declared: axis signs, then z or ray length.

    Both maps are already in our frame by the declaration. Silent when the picture cannot tell.
    """
    z = np.where(valid_HW, depth_HW, np.nan)
    angles = sign_angles(normals_HW3, normals_from_depth(z, K), valid_HW)
    declared, best = angles[1, 1, 1], best_sign(angles)
    if best is not None and best != (1, 1, 1) and clearly_better(angles[best], declared):
        return [
            f"the normals agree with the depth to {angles[best]:.1f} degrees when their axes are multiplied by "
            f"{best}, and to {declared:.1f} as declared"
        ]
    factor = ray_factor((z.shape[0], z.shape[1]), K)
    other = z / factor if frame.along == "z" else z * factor
    angle = sign_angles(normals_HW3, normals_from_depth(other, K), valid_HW)[1, 1, 1]
    if not clearly_better(angle, declared):
        return []
    words = {"z": "the length of the viewing ray", "ray": "z-depth"}
    return [
        f"depth is declared along {frame.along!r} but agrees with the normals to {angle:.1f} degrees when read as "
        f"{words[frame.along]}, and to {declared:.1f} as declared"
    ]


def clearly_better(angle: float, declared: float) -> bool:
    """NaN is never better."""
    return angle < MOST_DEG and angle < CLEAR_SHARE * declared and angle < declared - CLEAR_DEG
