"""COCO-format person keypoints: COCO (17), COCO-WholeBody (133) and Humans-5K (308).

Protocol options (all paths relative to the data set's root):

    annotations: annotations/person_keypoints_val2017.json
    images: val2017                # folder of the pictures
    boxes: gt                      # default; or a detector file, or jitter:<fraction>[,<seed>]
    annotated_in: goliath308       # only where the file's keypoint set is not the protocol's: wb63 and the like
    format: coco                   # only where the layout does not follow from the set: coco, wholebody, goliath
    renumber: true                 # default false: number annotations from 1 on (a file with id 0 is refused)
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.boxes import make_boxes
from sapiens_bench.adapters.coco.formats import format_of
from sapiens_bench.adapters.coco.validate import CocoPeople, check_people
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, ChecksumMismatch, SampleFault, UsageError
from sapiens_bench.pixels import strict_json
from sapiens_bench.pixels.codecs import path_fault, read_rgb, safe_join
from sapiens_bench.stats.boxes import BoxQuality, ImageBoxes, box_quality
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.types import ModelInput, Sample

_OPTIONS = {"annotations", "images", "boxes", "annotated_in", "format", "renumber"}


class CocoKeypoints:
    """All images of an annotation file, by ascending image id (pycocotools' ``params.imgIds``), people or not.

    ``keys`` are ``<data-set id>/<file stem>``; where stems repeat, ``<data-set id>/<file stem>#<image id>``. Each photo
    is its own group. ``boxes`` says what drives the model, ``notes`` what was left out.

    Raises:
        CardError: the protocol's options are not those above.
        DataMissing, DatasetRejected, ChecksumMismatch: the annotation or box file cannot be used.
    """

    def __init__(
        self,
        card: DatasetCard,
        protocol: EvalProtocol,
        space: SpaceCard | None,
        root: Path,
        options: AdapterOptions | None = None,
    ) -> None:
        options = options or AdapterOptions()
        where = f"data set {card.id}, protocol {protocol.title!r}"
        chosen = _checked_options(protocol.options, where)
        if options.split:
            raise UsageError(f"data set {card.id} has no splits; leave --split {options.split!r} out")
        annotated_in, self._keep = _file_space(chosen["annotated_in"], space, where)
        layout = format_of(annotated_in, chosen["format"], where)
        path = safe_join(root, chosen["annotations"])
        data = strict_json.read_bytes(path)
        annotations_sha256 = hashlib.sha256(data).hexdigest()
        _check_pin(card, chosen["annotations"], annotations_sha256, path)
        self._people = check_people(strict_json.parse(data, path), layout, path, renumber=chosen["renumber"])
        del data
        self._images, self._exif, self._max_pixels = root / chosen["images"], card.exif, options.max_pixels
        box_choice = options.boxes or chosen["boxes"]
        self._boxes = make_boxes(box_choice, self._people, root, card.id)
        _check_pin(card, box_choice, self._boxes.sha256, root / box_choice)
        self.keys: list[str] = _keys(card.id, self._people)
        self.groups: list[str] = self.keys
        self.boxes, self.boxes_sha256, self.notes = self._boxes.source, self._boxes.sha256, self._boxes.notes
        keep = [] if self._keep is None else self._keep.tolist()
        covered = [card.id, annotations_sha256, layout.name, self.boxes, self.boxes_sha256, str(keep), card.exif]
        covered += ["renumbered"] if chosen["renumber"] else []
        self.manifest_sha256: str = hashlib.sha256("\n".join(covered).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """One image with its boxes and its people.

        Raises:
            SampleFault: side ``input``; a faulty label of the image, or a picture that cannot be used.
        """
        people, name = self._people, self._people.file_names[index]
        if index in people.row_faults:
            raise SampleFault(*people.row_faults[index])
        image = read_rgb(
            name,
            exif=self._exif,
            max_pixels=self._max_pixels,
            expected_size=(int(people.sizes_I2[index, 0]), int(people.sizes_I2[index, 1])),
            root=self._images,
        )
        model_input = ModelInput(
            key=self.keys[index],
            image_HW3=image,
            boxes_xyxy_px=self._boxes.xyxy_px[index],
            box_scores=self._boxes.scores[index],
        )
        return Sample(index, self.keys[index], self.groups[index], model_input, self.target(index))

    def target(self, index: int) -> PoseTarget:
        """Every annotated person of one image, crowds included; no picture is opened."""
        people = self._people
        persons = slice(int(people.first_I1[index]), int(people.first_I1[index + 1]))
        points = people.keypoints_PK3[persons]
        points = points if self._keep is None else points[:, self._keep]
        boxes = people.boxes_xywh_P4[persons].copy()
        boxes[:, 2:] += boxes[:, :2]
        return PoseTarget(
            keypoints_NK2_px=points[..., :2],
            visible_NK=points[..., 2].astype(np.float32),
            area_N=people.area_P[persons],
            is_crowd_N=people.is_crowd_P[persons],
            boxes_xyxy_px_N4=boxes,
            ids_N=people.ids_P[persons],
        )

    def box_quality(self, n_images: int) -> BoxQuality:
        """The driving boxes of the first images against the people that are scored; no picture is opened."""
        images = []
        for index in range(n_images):
            target = self.target(index)
            is_ignored = target.is_crowd_N | ~(target.visible_NK > 0).any(axis=1)
            boxes, scores = self._boxes.xyxy_px[index], self._boxes.scores[index]
            images.append(ImageBoxes(boxes, scores, target.boxes_xyxy_px_N4, is_ignored, target.is_crowd_N))
        return box_quality(images)

    def image_id(self, index: int) -> int:
        """The image's id in the annotation file."""
        return int(self._people.image_ids_I[index])


def _checked_options(given: dict[str, Any], where: str) -> dict[str, Any]:
    unknown = sorted(set(given) - _OPTIONS)
    if unknown:
        raise CardError(f"{where}: unknown options {unknown}; this adapter knows {sorted(_OPTIONS)}")
    chosen: dict[str, Any] = {"boxes": "gt", "annotated_in": "", "format": "", "renumber": False, **given}
    if not isinstance(chosen["renumber"], bool):
        raise CardError(f"{where}: options.renumber must be true or false")
    for name in sorted(_OPTIONS - {"renumber"}):
        if not isinstance(chosen.get(name), str):
            raise CardError(f"{where}: options.{name} must be given, as text")
    for name in ("annotations", "images"):
        if path_fault(chosen[name]) is not None:
            raise CardError(f"{where}: options.{name} {chosen[name]!r} {path_fault(chosen[name])}")
    return chosen


def _file_space(
    annotated_in: str, space: SpaceCard | None, where: str
) -> tuple[SpaceCard | None, NDArray[np.int64] | None]:
    """The file's own keypoint set, and which of its points make the protocol's set (None: all, in order)."""
    if not annotated_in or space is None or annotated_in == space.id:
        return space, None
    catalog = Catalog.load()
    index = catalog.space_map(annotated_in, space.id).index
    if (index < 0).any():
        raise CardError(f"{where}: the map {annotated_in} -> {space.id} leaves points out; protocols need a full one")
    return catalog.space(annotated_in), index


def _check_pin(card: DatasetCard, relative: str, found: str, path: Path) -> None:
    pinned = card.checksums.get(relative)
    if pinned is not None and found and pinned != found:
        raise ChecksumMismatch(f"{path} has sha256 {found}, card {card.id} pins {pinned}. Fetch the file again.")


def _keys(dataset: str, people: CocoPeople) -> list[str]:
    stems = [str(PurePosixPath(name).with_suffix("")).replace("/", "-") for name in people.file_names]
    if len(set(stems)) == len(stems):
        return [f"{dataset}/{stem}" for stem in stems]
    return [f"{dataset}/{stem}#{identity}" for stem, identity in zip(stems, people.image_ids_I, strict=True)]
