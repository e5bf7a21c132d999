"""Synthetic humans: rendered people with exact keypoints, parts, depth, normals, alpha, albedo; nothing to download.

Keypoints are found by name, so any space made of names of COCO-WholeBody or of Sapiens' 308 points works; points the
body model lacks are unlabelled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.synthetic.files import (
    PARTS,
    SURFACE,
    SURFACE_VERSION,
    Store,
    load,
    make,
    make_all,
    make_all_levels,
)
from sapiens_bench.cards.options import Options as StrictOptions
from sapiens_bench.errors import CardError, UnknownName, UsageError
from sapiens_bench.render import factors
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.clips import FRAMES, N_CLIPS
from sapiens_bench.render.draws import stream
from sapiens_bench.render.manifest import Comparison, ManifestEntry, compare, digest, read_manifest
from sapiens_bench.render.picture import Picture
from sapiens_bench.render.scene import CLIPS, EDITION, HEIGHT, VERSION, WIDTH, as_shipped
from sapiens_bench.render.surface_points import load_points
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.pose.types import AnnotationIndex, PoseTarget
from sapiens_bench.tasks.seg.types import IGNORE, SegTarget
from sapiens_bench.types import ModelInput, Sample, Scene

SPLITS = {"default": 120, "tiny": 12, "train": 2000, "study": 1000, CLIPS: N_CLIPS * FRAMES}
WITH_MANIFEST = ("default", "tiny")
NEEDS: dict[str, tuple[str, ...]] = {  # task -> what of an image is decoded beside picture, points and camera
    "pose": ("instance",),
    "seg": ("labels",),
    "depth": ("depth",),
    "normal": ("normal",),
}
MIN_PERSON_SHARE = 1 / 2500  # of the image; a person showing less is no instance (79 pixels at 512 x 384)
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
KEYPOINTS: tuple[str, ...] = (
    *_BODY,
    *(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")),
    *(
        name
        for side in ("left", "right")
        for name in (f"{side}_hand_root", *(f"{side}_{finger}{joint}" for finger in _FINGERS for joint in (1, 2, 3, 4)))
    ),
)  # of the kit's joints and regressors; points of the surface follow them
# Names of the 308-point set for points that COCO-WholeBody calls otherwise.
ALIASES = {
    f"{side}_{finger}_third_joint": f"{side}_{finger}1" for side in ("left", "right") for finger in _FINGERS
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticTruth:
    """Everything known about one image. Axes: N people, K ``point_names()``, H, W image."""

    view: str  # full, upper, face, two
    rgb_HW3: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]  # body28
    instance_HW: NDArray[np.uint8]  # 0 background, person i is i + 1
    mask_HW: NDArray[np.bool_]  # pixels of people
    depth_HW_m: NDArray[np.float32]  # along the optical axis; NaN off people
    normals_HW3: NDArray[np.float32]  # unit, x right, y up, z towards the viewer; NaN off people
    keypoints_NK2_px: NDArray[np.float64]  # undefined where visible_NK is 0
    visible_NK: NDArray[np.uint8]  # 0 outside the image, 1 hidden, 2 visible
    boxes_xyxy_px_N4: NDArray[np.float64]  # outer edges of the visible mask, pixel centres at integers
    area_N: NDArray[np.float64]  # px², visible
    ids_N: NDArray[np.int64]  # instance ids
    camera: Camera


class SyntheticHumans:
    """One split of the set, rendered into ``root`` on first use; a sample that is missing is rendered when asked for.

    Args:
        size: height and width of the images.

    Raises:
        CardError: the space has no keypoint this set knows, or the task is none of pose, seg, depth, normal and cannot
            make its target of a scene (``TaskKind.of_scene``).
        UnknownName: no such split, factor or level.
        UsageError: boxes that are neither gt nor jitter.
        LabelSpaceMismatch: no map from the 28 body parts, or from ``annotated_in``, to the protocol's set.
    """

    class Options(StrictOptions):
        split: Literal["default", "tiny", "train", "study", "clips"] = "default"
        """default (120 images), tiny (12), train (2000, for probe heads), study (1000) or clips (20 of 24 frames);
        people never repeat between splits"""
        boxes: str = "gt"
        """pose: gt, or jitter:<fraction>[,<seed>] of the box size"""
        factor: str = ""
        """one factor of the scene set instead of drawn, NAME=LEVEL (skin_tone=4); the truth keeps its bits"""
        annotated_in: str = ""
        """pose: the keypoint set whose points are the truth, where the protocol's set is a part of it; a map card joins
        the two"""

    notes: tuple[str, ...] = ()

    def __init__(self, context: DataContext, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
        kind = None if context.protocol.task in NEEDS else task_kind(context.protocol.task)
        self._of_scene = None if kind is None else kind.of_scene
        surface = kind is not None and kind.needs_surface
        self._parts = NEEDS.get(context.protocol.task, (*PARTS, SURFACE) if surface else PARTS)
        if self._of_scene is None:
            context.needs_task(*NEEDS)
        split = context.split or context.options.split
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        self.split, self.task = split, context.protocol.task
        self.factor = context.options.factor
        self._edition = "" if as_shipped(split, factors.redraw(self.factor)) else f", edition {EDITION}"
        self._store = Store(context.root, split, *size, self.factor, surface)
        self._jitter = _jitter(context.boxes or context.options.boxes, context.where)
        self._keep = _keypoint_index(context) if self.task == "pose" else np.zeros(0, np.int64)
        self._labels = _label_table(context) if self.task == "seg" and context.space is not None else None
        self.boxes = "ground truth" if self._jitter is None else f"ground truth, jittered by {self._jitter[0]:g}"
        if self.factor and split == CLIPS:
            raise UsageError(f"factor {self.factor}: clips are rendered as drawn; take another split.")
        self.keys: list[str] = [f"{context.card.id}/{split}/{index:06d}" for index in range(SPLITS[split])]
        ids = {key: i for i, key in enumerate(self.keys)}
        self.index = AnnotationIndex(ids, {1: "person"}, frozenset({1}), has_file=False)
        self.groups: list[str] = self.keys  # every image has people of its own
        if split == CLIPS:
            self.groups = [f"{context.card.id}/{split}/{index // FRAMES:03d}" for index in range(SPLITS[split])]
        size_text = f"{size[0]}x{size[1]}"
        covered = [context.card.id, str(VERSION), split, size_text, _kit_sha256(), self.boxes, str(self._jitter)]
        covered.append(str(self._keep.tolist()))
        covered += [f"factor {self.factor}"] if self.factor else []  # a set as drawn is the set it was before
        covered += [self._edition] if self._edition else []
        covered += [f"surface {SURFACE_VERSION}"] if surface else []
        self.manifest_sha256: str = hashlib.sha256("\n".join(covered).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        picture = self._picture(index, self._parts)
        target, boxes = self._target(picture)
        if self.task == "pose" and self._jitter is not None:
            boxes = _jittered(boxes, *self._jitter, self.keys[index])
        model_input = ModelInput(
            key=self.keys[index],
            image_HW3=picture.rgb_HW3,
            boxes_xyxy_px=boxes.astype(np.float32),
            box_scores=np.ones(len(boxes), np.float32),
            intrinsics=np.array(picture.camera.K),
        )
        return Sample(index, self.keys[index], self.groups[index], model_input, target, picture.about)

    def identity(self, index: int) -> str:
        """What the image is drawn from: no file of the user's, so the same on every machine."""
        factor = f", {self.factor}" if self.factor else ""
        return f"version {VERSION}{self._edition}, kit {_kit_sha256()[:16]}, {self.keys[index]}{factor}"

    def pixels(self, index: int) -> int:
        """Of every picture."""
        return self._store.height * self._store.width

    def person_boxes(self, index: int) -> NDArray[np.float64]:
        """Outer edges of everybody who shows enough of themselves, px [N, 4]."""
        return _instances(self._picture(index, ("instance",)).instance_HW)[1]

    def materialise(self, indices: Sequence[int], workers: int, progress: Callable[[int, int], None]) -> None:
        """Render what is missing; see ``files.make_all``."""
        make_all(self._store, indices, workers, progress)

    def materialise_levels(
        self, factors: Sequence[str], indices: Sequence[int], workers: int, progress: Callable[[int, int], None]
    ) -> None:
        """Render this split under several factors at once, which is cheaper; see ``files.make_all_levels``."""
        make_all_levels(replace(self._store, factor=""), indices, factors, workers, progress)

    def load_truth(self, index: int) -> SyntheticTruth:
        """Everything about one image; rendered first when it is not there.

        Raises:
            SampleFault: a file is damaged.
        """
        picture = self._picture(index, PARTS)
        ids, boxes, areas = _instances(picture.instance_HW)
        return SyntheticTruth(
            view=picture.view,
            rgb_HW3=picture.rgb_HW3,
            labels_HW=picture.labels_HW,
            instance_HW=picture.instance_HW,
            mask_HW=picture.instance_HW > 0,
            depth_HW_m=picture.depth_HW_m,
            normals_HW3=picture.normal_HW3,
            keypoints_NK2_px=picture.keypoints_NK2_px[ids - 1],
            visible_NK=picture.visible_NK[ids - 1],
            boxes_xyxy_px_N4=boxes,
            area_N=areas,
            ids_N=ids,
            camera=picture.camera,
        )

    def verify_manifest(self, indices: Sequence[int] | None = None) -> Comparison:
        """Compare this machine's images with the manifest shipped with the package (splits default and tiny).

        Raises:
            UsageError: the split has no committed manifest, or the images are not of the standard size.
        """
        is_usual = (self._store.height, self._store.width) == (HEIGHT, WIDTH) and not self.factor
        if self.split not in WITH_MANIFEST or not is_usual:
            raise UsageError(
                f"no manifest is shipped for split {self.split!r} at {self._store.width}x{self._store.height}"
            )
        chosen = [self.keys[index] for index in (range(len(self)) if indices is None else indices)]
        expected = {entry.key: entry for entry in read_manifest(manifest_path())}
        ours = [self.manifest_entry(self.keys.index(key)) for key in chosen]
        return compare([expected[key] for key in chosen if key in expected], ours)

    def manifest_entry(self, index: int) -> ManifestEntry:
        """Tolerant hashes of everything in one image."""
        truth, n = self.load_truth(index), len(KEYPOINTS)
        arrays = {
            "rgb": digest("rgb", truth.rgb_HW3),
            "labels": digest("labels", truth.labels_HW),
            "mask": digest("mask", truth.instance_HW),
            "depth": digest("depth", truth.depth_HW_m, truth.mask_HW),
            "normal": digest("normal", truth.normals_HW3, truth.mask_HW),
            "keypoints": digest("keypoints", truth.keypoints_NK2_px[:, :n], truth.visible_NK[:, :n] > 0),
        }
        source = {"kit_sha256": _kit_sha256(), "version": VERSION, "split": self.split, "index": index}
        return ManifestEntry(self.keys[index], truth.camera, arrays, source, {"view": truth.view})

    def _picture(self, index: int, parts: Sequence[str]) -> Picture:
        if not self._store.has(index):
            make(self._store, index)
        return load(self._store, index, parts)

    def _target(self, picture: Picture) -> tuple[Any, NDArray[np.float64]]:
        """The task's truth, and the boxes a model may see."""
        if self.task == "pose":
            target = pose_target(picture, self._keep)
            return target, target.boxes_xyxy_px_N4
        whole = _whole(picture.rgb_HW3)
        if self._of_scene is not None:
            return self._of_scene(_scene(picture)), whole
        if self.task == "seg":
            return SegTarget(picture.labels_HW if self._labels is None else self._labels[picture.labels_HW]), whole
        if self.task == "depth":
            return DepthTarget(picture.depth_HW_m, picture.instance_HW > 0), whole
        return NormalTarget(picture.normal_HW3, picture.instance_HW > 0), whole


def _scene(picture: Picture) -> Scene:
    people = picture.instance_HW > 0
    return Scene(
        image_HW3=picture.rgb_HW3,
        depth_HW_m=picture.depth_HW_m,
        normals_HW3=picture.normal_HW3,
        labels_HW=picture.labels_HW,
        mask_HW=people,
        intrinsics=np.array(picture.camera.K),
        alpha_HW=picture.alpha_HW,
        albedo_HW3=picture.albedo_HW3,
    )


def pose_target(picture: Picture, keep_K: NDArray[np.int64]) -> PoseTarget:
    """Keypoints in a space: ``keep_K[k]`` is the index into ``point_names()``, -1 where this set has no such point."""
    ids, boxes, areas = _instances(picture.instance_HW)
    visible = np.where(keep_K >= 0, picture.visible_NK[ids - 1][:, keep_K], 0).astype(np.float32)
    points = picture.keypoints_NK2_px[ids - 1][:, keep_K] * (visible > 0)[..., None]
    return PoseTarget(points, visible, areas, np.zeros(len(ids), np.bool_), boxes, ids)


def manifest_path() -> Path:
    """The committed manifest of splits ``default`` and ``tiny``."""
    return Path(str(resources.files("sapiens_bench.embedded") / "synthetic_humans_manifest.jsonl"))


@lru_cache(maxsize=1)
def _kit_sha256() -> str:
    return hashlib.sha256((resources.files("sapiens_bench.embedded") / "human_kit.npz").read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def point_names() -> tuple[str, ...]:
    """Every point a picture has, in its order: joints and regressors, then points of the surface."""
    return (*KEYPOINTS, *load_points().names)


def _keypoint_index(context: DataContext) -> NDArray[np.int64]:
    """Of each point of the protocol's set, its index into ``point_names()``; -1 where this set has none."""
    space, where = context.space, context.where
    if space is None or space.kind != "keypoints":
        raise CardError(f"{where}: a pose protocol needs a keypoint space.")
    source = context.source(context.options.annotated_in)
    assert source is not None
    known = {name: number for number, name in enumerate(point_names())}
    of_source = np.array([known.get(ALIASES.get(name, name), -1) for name in source.card.names])
    index = np.where(source.map.index >= 0, of_source[source.map.index], -1)
    if (index < 0).all():
        raise CardError(
            f"{where}: no keypoint of space {source.card.id!r} has a name of COCO-WholeBody or of the 308 points."
        )
    return index


def _label_table(context: DataContext) -> NDArray[np.uint8]:
    """Label in the protocol's set of each of the 28 parts, uint8; 255 where the map has none."""
    source = context.source("body28")
    assert source is not None
    return np.where(source.map.index < 0, IGNORE, source.map.index).astype(np.uint8)


def _instances(instance_HW: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Ids, outer boxes and areas of everyone who shows enough of themselves."""
    ids, boxes, areas = [], [], []
    for i in range(1, int(instance_HW.max(initial=0)) + 1):
        y, x = np.nonzero(instance_HW == i)
        if len(x) >= MIN_PERSON_SHARE * instance_HW.size:
            ids.append(i)
            boxes.append((x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5))
            areas.append(len(x))
    return np.array(ids, np.int64), np.array(boxes, np.float64).reshape(-1, 4), np.array(areas, np.float64)


def _whole(image_HW3: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = image_HW3.shape[:2]
    return np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])


def _jitter(choice: str, where: str) -> tuple[float, int] | None:
    if choice == "gt":
        return None
    kind, _, rest = choice.partition(":")
    try:
        fraction, _, seed = rest.partition(",")
        found = (float(fraction), int(seed or 0))
        if kind != "jitter" or not 0 < found[0] <= 1:
            raise ValueError(choice)
    except ValueError:
        raise UsageError(
            f"{where}: boxes {choice!r} is not known. Rendered people know gt and "
            "jitter:<fraction>[,<seed>]; a detector is named detector:ID, and box files are for sets of photographs."
        ) from None
    return found


def _jittered(boxes_N4: NDArray[np.float64], fraction: float, seed: int, key: str) -> NDArray[np.float64]:
    """Every edge moved by up to ``fraction`` of the box's width or height, uniformly."""
    rng = stream("synthetic-humans jitter", seed, key)
    size = np.stack([boxes_N4[:, 2] - boxes_N4[:, 0], boxes_N4[:, 3] - boxes_N4[:, 1]], 1)
    return boxes_N4 + rng.uniform(-fraction, fraction, boxes_N4.shape) * np.tile(size, 2) / 2
