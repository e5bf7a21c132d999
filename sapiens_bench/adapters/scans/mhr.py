"""Bodies of MHR, the mesh of SAM 3D Body, with keypoints by the authors' own regressor.

    <root>/keypoint_mapping.npz     [308, 18439 + 127], a parameter of SAM 3D Body's checkpoint
    <root>/NAME/NAME.obj or .ply    18439 vertices in the model's order
    <root>/NAME/joints.npy          [127, 3], in the mesh's unit and frame

Pictures are rendered as those of scans are; labels are the regressor's points as the camera sees them. A body has no
clothes, and without vertex colours or a material it has one colour.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.scans.cache import StoredEntry, stamp
from sapiens_bench.adapters.scans.find import Layout
from sapiens_bench.adapters.scans.mhr_regressor import N_VERTICES, Regressor, read_joints, read_regressor
from sapiens_bench.adapters.scans.options import ScanSetOptions, ordered, places_of
from sapiens_bench.adapters.scans.scan_set import ScanSet
from sapiens_bench.adapters.synthetic.humans import ALIASES, point_names
from sapiens_bench.errors import CardError, DataMissing, SampleFault, UsageError
from sapiens_bench.render.mesh import MeshData, Normalisation, Up, read_mesh, upright
from sapiens_bench.render.picture import VISIBLE_WITHIN_M, seen_points, surface_within
from sapiens_bench.store.files import file_identity
from sapiens_bench.tasks.boxes import box_around
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.types import Sample

JOINTS = "joints.npy"
SPACE = "goliath308"


class MhrMeshes(ScanSet):
    """Keypoints of rendered MHR bodies.

    Raises:
        DataMissing: no regressor.
        DatasetRejected: the regressor has another shape.
        UsageError: boxes that are not the truth's.
        LabelSpaceMismatch: no map from the 308 points to the protocol's set.
    """

    class Options(ScanSetOptions):
        regressor: str = "keypoint_mapping.npz"
        """file with the authors' regressor, below the root or a path of its own"""
        ids: Annotated[tuple[int, int], AfterValidator(ordered)] = (0, 10**15)
        """first and last number that names begin with; names without one are all taken"""
        up: Up = "y"

    may_be_plain: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("pose",)
    layout = Layout(re.compile(r"(.+)"), "NAME/NAME.obj", suffixes=(".obj", ".ply"), depth=0)
    draws = "mhr-render/1"

    def __init__(self, context: DataContext) -> None:
        super().__init__(context)
        if context.boxes not in ("", "gt"):
            raise UsageError(f"data set {context.card.id} knows ground-truth boxes alone; leave --boxes out.")
        source = context.source(SPACE)
        if source is None:
            raise CardError(f"{context.where}: a pose protocol needs a keypoint space.")
        self._keep = source.map.index  # of each point of the protocol's set among the 308; -1: none
        self._within = _within(source.card.names)
        self._regressor = _regressor(context)
        self.boxes = "ground truth"
        joints = [self._joints(index) for index in range(len(self))]
        known = [self.manifest_sha256, self._regressor.sha256, str(self._keep.tolist()), *(stamp([p]) for p in joints)]
        self.manifest_sha256 = hashlib.sha256("\n".join(known).encode()).hexdigest()
        self._found_notes = (*self._found_notes, *self._regressor.notes)

    def __getitem__(self, index: int) -> Sample:
        sample, stored = super().__getitem__(index), self.samples.entry(index)
        if stored is None:
            raise SampleFault("scan.cache", f"{sample.key} vanished while it was read. Prepare the data set again.")
        target = self._target(self._points(index, stored), sample.target, stored)
        boxes = target.boxes_xyxy_px_N4.astype(np.float32)
        return replace(sample, input=replace(sample.input, boxes_xyxy_px=boxes), target=target)

    def identity(self, index: int) -> str:
        """Size and time of change of the files behind a sample."""
        return f"{super().identity(index)}, joints {file_identity([self._joints(index)])}"

    def _joints(self, index: int) -> Path:
        return self.samples.views[index].mesh.parent / JOINTS

    def _points(self, index: int, stored: StoredEntry) -> NDArray[np.float64]:
        """The 308 points of a body in the frame it was rendered in, metres [308, 3]."""
        path, joints = self.samples.views[index].mesh, self._joints(index)
        mesh, points = _regressed(self._regressor, path, joints, file_identity([path, joints]))
        if "up" in stored.entry.source:
            points = upright(replace(mesh, vertices_V3=points), stored.entry.source["up"]).vertices_V3
        step = stored.entry.source["normalisation"]
        return Normalisation(step["scale"], tuple(step["offset"]), step["height_m"]).apply(points)

    def _target(self, points_K3: NDArray[np.float64], scan: DepthTarget, stored: StoredEntry) -> PoseTarget:
        """One person whose points are labelled where they lie in the picture."""
        given = np.isfinite(points_K3).all(1)
        uv, flags = seen_points(points_K3, self._within, scan.mask_HW, scan.depth_HW, stored.entry.camera)
        flags = np.where(given, flags, 0)
        visible = np.where(self._keep >= 0, flags[self._keep], 0).astype(np.float32)[None]
        box, area = box_around(scan.mask_HW), np.array([float(scan.mask_HW.sum())])
        if not len(box):
            raise SampleFault("label.empty", "no pixel of the body is in the picture")
        points = np.where(visible[..., None] > 0, uv[self._keep][None], 0.0)
        return PoseTarget(points, visible, area, np.zeros(1, np.bool_), box, np.ones(1, np.int64))


def _regressor(context: DataContext) -> Regressor:
    name = context.options.regressor
    path = next((p for p in places_of(context.root, name) if p.is_file()), None)
    if path is None:
        raise DataMissing(
            f"No regressor {name!r} below {context.root} or by itself. It is the parameter keypoint_mapping of SAM 3D "
            f"Body's checkpoint; docs/scans.md says how to save it. {context.card.get}"
        )
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, _changed_ns: int) -> Regressor:
    return read_regressor(path)


@lru_cache(maxsize=2)  # the views of a body follow each other
def _regressed(regressor: Regressor, path: Path, joints: Path, _identity: str) -> tuple[MeshData, NDArray[np.float64]]:
    """A body and its 308 points, both as the files give them."""
    mesh = read_mesh(path)
    if len(mesh.vertices_V3) != N_VERTICES:
        raise SampleFault(
            "scan.topology",
            f"{path} has {len(mesh.vertices_V3)} vertices; MHR at the level of detail of the regressor has "
            f"{N_VERTICES}. Write it without merging or splitting vertices (trimesh: process=False).",
        )
    body = np.concatenate([mesh.vertices_V3, read_joints(joints)])
    regressor.check(body, str(path))
    return mesh, regressor.points(body)


def _within(names: tuple[str, ...]) -> NDArray[np.float64]:
    """How far in front of each point the surface seen there may be, metres: the rule of the rendered people."""
    known = dict(zip(point_names(), np.concatenate([VISIBLE_WITHIN_M, surface_within()])))
    return np.array([known[ALIASES.get(name, name)] for name in names])
