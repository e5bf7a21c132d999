"""COCO-format person keypoints: COCO (17), COCO-WholeBody (133), Humans-5K (308), and every set in ``keypoints``."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.box_file import detected_boxes
from sapiens_bench.adapters.coco.boxes import Boxes, boxes_of_people
from sapiens_bench.adapters.coco.formats import format_of
from sapiens_bench.adapters.coco.mpii import HEAD_BOX, as_coco
from sapiens_bench.adapters.coco.options import EVERY_CATEGORY, CocoOptions
from sapiens_bench.adapters.coco.people import CocoPeople
from sapiens_bench.adapters.coco.turned import turned_note
from sapiens_bench.adapters.coco.validate import read_people
from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.hashes import file_sha256
from sapiens_bench.cards.spaces import SourceSpace
from sapiens_bench.errors import CardError, ChecksumMismatch, SampleFault
from sapiens_bench.pixels import strict_json
from sapiens_bench.pixels.codecs import ExifPolicy, read_rgb, safe_join
from sapiens_bench.pixels.decode import OrientationUnstated
from sapiens_bench.stats.boxes import BoxQuality, ImageBoxes, box_quality
from sapiens_bench.tasks.pose.types import AnnotationIndex, PoseTarget
from sapiens_bench.types import ModelInput, Sample

_TRIED = 20  # pictures that decide where the names start


class CocoKeypoints:
    """All images of an annotation file, by ascending image id (pycocotools' ``params.imgIds``), people or not.

    ``keys`` are ``<data-set id>/<file stem>``; where stems repeat, ``<data-set id>/<file stem>#<image id>``. Each photo
    is its own group. ``boxes`` says what drives the model, ``notes`` what must be said beside every score.

    Raises:
        CardError: the layout does not fit the keypoint set, or a map leaves points out.
        DataMissing, DatasetRejected, ChecksumMismatch: the annotation or box file cannot be used.
    """

    Options: ClassVar[type[CocoOptions]] = CocoOptions

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        card, root, options = context.card, context.root, context.options
        source = context.source(options.annotated_in)
        self._keep = _kept(source, context)
        self.layout = format_of(source.card if source else None, options.format, options.field, context.where)
        self.annotations = safe_join(root, options.annotations)
        data = strict_json.read_bytes(self.annotations)
        _check_pin(card.checksums, options.annotations, hashlib.sha256(data).hexdigest(), self.annotations)
        choice = context.boxes or options.boxes
        reading = options.model_copy(update={"boxes": choice})
        self.is_original = options.format != "mpii"  # what is read is the file, and no document made of it
        if not self.is_original:
            data = as_coco(data, self.annotations, source.card if source else None)
            reading = reading.model_copy(update={"head_box": HEAD_BOX})
        sha256 = hashlib.sha256(data).hexdigest()
        self._people = read_people(data, self.annotations, self.layout, reading, source.card.names if source else ())
        del data
        self._max_pixels, self._exif = context.max_pixels, _exif(context)
        self._pictures = _picture_folder(root, options.images, self._people.file_names)
        self._boxes = boxes_of_people(choice, self._people, card.id) or detected_boxes(choice, self._people, root)
        _check_pin(card.checksums, choice, self._boxes.sha256, root / choice)
        self.keys: list[str] = _keys(card.id, self._people)
        self.groups: list[str] = self.keys
        self.boxes, self.boxes_sha256 = self._boxes.source, self._boxes.sha256
        turned = turned_note(self._people, self._pictures) if self._exif == "unstated" else ()
        self.notes = (*self._people.notes, *(f"{self.boxes}: {note}" for note in self._boxes.notes), *turned)
        self.manifest_sha256 = _manifest(context, sha256, self.layout.name, self._boxes, self._keep)
        self.index = AnnotationIndex(
            image_ids=dict(zip(self.keys, self._people.image_ids, strict=True)),
            categories=self._people.categories,
            scored=self._people.category_ids,
            file_names=_of_one_stem(self._people),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """One image with its boxes and its people.

        Raises:
            SampleFault: side ``input``; a faulty label of the image, or a picture that cannot be used.
        """
        self._refuse_faulty(index)
        return self._sample(index, self._picture(index))

    def _picture(self, index: int) -> NDArray[np.uint8]:
        width, height = (int(side) for side in self._people.sizes_I2[index])
        try:
            return read_rgb(
                _on_disk(self._pictures, self._people.file_names[index]),
                exif=self._exif,
                max_pixels=self._max_pixels,
                expected_size=(width, height) if width and height else None,
                root=self._pictures,
            )
        except OrientationUnstated as fault:
            raise OrientationUnstated(f"{fault.detail} (or --data-option exif=...)") from None

    def without_pictures(self) -> WithoutPictures:
        """The same samples for models that look at no picture: none is opened, and ``image_HW3`` is empty."""
        return WithoutPictures(self)

    def unseen(self, index: int) -> Sample:
        """The sample without its picture.

        Raises:
            SampleFault: side ``input``; a faulty label of the image.
        """
        self._refuse_faulty(index)
        return self._sample(index, np.zeros((0, 0, 3), np.uint8))

    @property
    def label_faults(self) -> dict[str, str]:
        """What is wrong with the labels of images that will be left out, by key."""
        return {self.keys[i]: f"{code}: {detail}" for i, (code, detail) in sorted(self._people.row_faults.items())}

    def _refuse_faulty(self, index: int) -> None:
        if index in self._people.row_faults:
            raise SampleFault(*self._people.row_faults[index])

    def _sample(self, index: int, image_HW3: NDArray[np.uint8]) -> Sample:
        key = self.keys[index]
        boxes, scores = self._boxes.xyxy_px[index], self._boxes.scores[index]
        categories = None if self._boxes.categories is None else self._boxes.categories[index]
        model_input = ModelInput(key, image_HW3, boxes, scores, box_categories=categories)
        return Sample(index, key, self.groups[index], model_input, self.target(index))

    def target(self, index: int) -> PoseTarget:
        """Every annotated person of one image, crowds included; no picture is opened."""
        people = self._people
        persons = slice(int(people.first_I1[index]), int(people.first_I1[index + 1]))
        points = people.keypoints_PK3[persons]
        points = points if self._keep is None else points[:, self._keep]
        boxes = people.boxes_xywh_P4[persons].copy()
        boxes[:, 2:] += boxes[:, :2]
        is_ignored = people.is_ignored_P[persons]
        return PoseTarget(
            keypoints_NK2_px=points[..., :2],
            visible_NK=points[..., 2].astype(np.float32),
            area_N=people.area_P[persons],
            is_crowd_N=people.is_crowd_P[persons],
            boxes_xyxy_px_N4=boxes,
            ids_N=people.ids_P[persons],
            is_ignored_N=is_ignored if is_ignored.any() else None,
            head_size_px_N=None if people.head_size_px_P is None else people.head_size_px_P[persons],
            ignored_regions=() if people.regions_I is None else people.regions_I[index],
            category_N=None if people.category_P is None else people.category_P[persons],
        )

    @property
    def people(self) -> CocoPeople:
        """What was read of the annotation file."""
        return self._people

    @property
    def is_plain(self) -> bool:
        """Whether the file's ``keypoints`` are the points that are scored, in their order."""
        order = self._people.order_K
        in_order = order is None or bool((order == np.arange(len(order))).all())
        return in_order and self._keep is None and [name for name, _ in self.layout.fields] == ["keypoints"]

    def own_points(self, entry: Mapping[str, Any]) -> NDArray[np.float64]:
        """x, y, v of the points that are scored, of an annotation as the file holds it, float64 [K, 3]."""
        nothing = {name: [0.0] * (3 * n) for name, n in self.layout.fields}
        values = [v for name in nothing for v in entry.get(name) or nothing[name]]
        points = np.array(values, np.float64).reshape(-1, 3)
        points = points if self._people.order_K is None else points[self._people.order_K]
        return points if self._keep is None else points[self._keep]

    def box_quality(self, indices: Sequence[int]) -> BoxQuality | None:
        """The boxes of some images against the people that are scored; None where no box drives a model."""
        if self._boxes.is_none:
            return None
        images = []
        for index in indices:
            target = self.target(index)
            is_ignored = ~target.is_scored_N
            boxes, scores = self._boxes.xyxy_px[index], self._boxes.scores[index]
            images.append(ImageBoxes(boxes, scores, target.boxes_xyxy_px_N4, is_ignored, target.is_crowd_N))
        return box_quality(images)

    def image_id(self, index: int) -> int:
        """The image's id in the annotation file."""
        return self._people.image_ids[index]

    def pixels(self, index: int) -> int:
        """As the annotations declare."""
        return int(self._people.sizes_I2[index].prod())

    def identity(self, index: int) -> str:
        """Size and time of change of the picture file, which tell when it has been replaced; "missing" without one."""
        try:
            status = os.stat(self._pictures / _on_disk(self._pictures, self._people.file_names[index]))
        except (OSError, ValueError):
            return "missing"
        return f"{status.st_size}-{status.st_mtime_ns}"


class WithoutPictures:
    """``CocoKeypoints`` without opening a picture."""

    def __init__(self, data: CocoKeypoints) -> None:
        self._data = data
        self.keys, self.groups, self.manifest_sha256 = data.keys, data.groups, data.manifest_sha256

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        return self._data.unseen(index)


def _kept(source: SourceSpace | None, context: DataContext) -> NDArray[np.int64] | None:
    """Which of the file's points make the protocol's set; None: all, in order."""
    if source is None or source.map.identity:
        return None
    if not source.map.complete:
        raise CardError(
            f"{context.where}: the map {source.map.source} -> {source.map.target} leaves points out; protocols need a "
            "full one"
        )
    return source.map.index


def _check_pin(checksums: Mapping[str, str], relative: str, found: str, path: Path) -> None:
    pinned = checksums.get(relative)
    if pinned is None or not found or pinned == found:
        return
    if (found := file_sha256(path)) != pinned:  # of a packed file the pin is that of the file, not of what it holds
        raise ChecksumMismatch(f"{path} has sha256 {found}, the card pins {pinned}. Fetch the file again.")


def _exif(context: DataContext) -> ExifPolicy:
    """The option's rule, else the card's; "unstated" where neither says anything."""
    if context.options.exif:
        chosen: ExifPolicy = context.options.exif
        return chosen
    return context.card.exif if "exif" in context.card.model_fields_set else "unstated"


def _picture_folder(root: Path, images: str, names: tuple[str, ...]) -> Path:
    """The folder that file names start from: ``images``, or the root where the names carry their folder."""
    declared = root if images == "." else root / images
    some = names[:: max(1, len(names) // _TRIED)][:_TRIED]
    n_declared, n_root = (sum((folder / name).exists() for name in some) for folder in (declared, root))
    return root if n_root > n_declared else declared


def _on_disk(folder: Path, name: str) -> str:
    """The name as the file system spells it: archives made on a Mac hold decomposed letters."""
    if name.isascii():
        return name
    spellings = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    return next((spelling for spelling in spellings if (folder / spelling).exists()), name)


def _stems(people: CocoPeople) -> list[str]:
    return [str(PurePosixPath(name).with_suffix("")).replace("/", "-") for name in people.file_names]


def _of_one_stem(people: CocoPeople) -> dict[int, str]:
    """File names of images that differ in the ending, or in "/" for "-", alone, by id."""
    stems = _stems(people)
    if len(set(stems)) == len(stems):
        return {}
    count = Counter(stems)
    named = zip(people.image_ids, people.file_names, stems, strict=True)
    return {identity: name for identity, name, stem in named if count[stem] > 1}


def _keys(dataset: str, people: CocoPeople) -> list[str]:
    stems = _stems(people)
    if len(set(stems)) == len(stems):
        return [f"{dataset}/{stem}" for stem in stems]
    return [f"{dataset}/{stem}#{identity}" for stem, identity in zip(stems, people.image_ids, strict=True)]


def _manifest(
    context: DataContext, annotations_sha256: str, layout: str, boxes: Boxes, keep_K: NDArray[np.int64] | None
) -> str:
    """SHA-256 over all that may change a sample."""
    options, keep = context.options, [] if keep_K is None else keep_K.tolist()
    exif = options.exif or context.card.exif
    covered = [context.card.id, annotations_sha256, layout, boxes.source, boxes.sha256, str(keep), exif]
    covered += ["renumbered"] if options.renumber else []
    covered += ["the mean over categories"] if options.category == EVERY_CATEGORY else []
    plain = CocoOptions(annotations="a")
    for name in ("field", "category", "names", "area", "unlisted", "crowd_index", "head_box", "ignore_regions"):
        value = getattr(options, name)
        covered += [] if value == getattr(plain, name) else [f"{name}={value}"]
    return hashlib.sha256("\n".join(covered).encode()).hexdigest()
