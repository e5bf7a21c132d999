"""Pictures with index maps: Humans-2K, CIHP, LIP, ATR, PASCAL-Person-Part, Face Synthetics.

Source labels that the map leaves out become 255: ignored, not background. So does what the files' own label set calls
not scored (``ignore_index`` of its card; 255 where it says nothing).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.doubts import LookOver, label_doubts
from sapiens_bench.adapters.folders import (
    IMAGE_SUFFIXES,
    Listing,
    list_files,
    manifest,
    no_partners,
    partners,
    whole_image,
)
from sapiens_bench.cards.options import Options
from sapiens_bench.cards.spaces import SpaceMap
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault
from sapiens_bench.pixels.codecs import ExifPolicy, rgb_of
from sapiens_bench.pixels.decode import Picture, open_picture, refuse_bomb
from sapiens_bench.pixels.dense_maps import LABEL_SUFFIXES, Limits, read_label_map
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.paths import path_fault
from sapiens_bench.store.files import file_identity
from sapiens_bench.tasks.seg.coding import Border, border_of, coding_doubt
from sapiens_bench.tasks.seg.types import IGNORE, SegTarget
from sapiens_bench.types import Sample

DECLARATION = "frame.json"  # of a folder that says itself what it is (adapters/dense/folder.py)
BLOCK = 1 << 20  # pixels
LabelEncoding = Literal["index", "mask"]
_SUFFIXES = {"images": IMAGE_SUFFIXES, "labels": LABEL_SUFFIXES}


class LabelMapOptions(Options):
    """Of ``label_maps``. Folders are relative to the data set's root; of several the first that exists is taken."""

    images: str | tuple[str, ...] = "images"
    """Folder of the pictures, "." for the root."""
    labels: str | tuple[str, ...] = "labels"
    """Folder of 8-bit or 16-bit index maps (grey, palette, or arrays)."""
    label_suffix: str = ""
    """Where <name>_seg.png belongs to <name>.png: _seg. The two may share a folder."""
    annotated_in: str = ""
    """Label set of the files where it is not the protocol's: a map card joins the two."""
    label_encoding: LabelEncoding = "index"
    """mask: everything but 0 is the person of a set of two; 0 and 255, for example."""
    exif: Literal["", "ignore", "apply"] = ""
    """Whether labels belong to pictures as stored (ignore) or as viewed (apply), where the card does not say."""
    trusted: bool = False
    """Score label maps that hold no foreground at all: a note instead of a refusal."""


class LabelMaps:
    """Every picture that has a label map, sorted by name; each is its own group.

    ``keys`` are ``<data-set id>/<name>``. ``notes`` tell what was left out.

    Raises:
        CardError: the protocol has no label set, or a folder could leave the root.
        LabelSpaceMismatch: no map card joins ``annotated_in`` and the protocol's set.
        DataMissing, DatasetRejected: the folders cannot be used.
    """

    Options = LabelMapOptions

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task("seg")
        card, root = context.card, context.root.absolute()
        self._options: LabelMapOptions = context.options
        if (root / DECLARATION).is_file():
            raise DataMissing(f"{root} declares itself in {DECLARATION}: it is data set 'folder', not {card.id!r}.")
        self._source = source_labels(context, self._options.annotated_in, self._options.label_encoding)
        listings = self._list(root, context.where)
        stems, left_out = partners(listings)
        if not stems:
            raise DataMissing(
                f"{card.title} under {root}: no picture has a label map. {no_partners(listings, _SUFFIXES)}."
            )
        self._max_pixels = context.max_pixels
        declared = card.exif if "exif" in card.model_fields_set else "unstated"
        self._exif: ExifPolicy = self._options.exif or declared
        self._images, self._labels = ([listings[role].files[s] for s in stems] for role in ("images", "labels"))
        self.keys: list[str] = [f"{card.id}/{stem}" for stem in stems]
        self.groups: list[str] = self.keys
        parts = [card.id, self._exif, self._options.label_encoding, self._source.described]
        self.manifest_sha256: str = manifest(parts, root, self._images, self._labels)
        self.notes: tuple[str, ...] = (*left_out, *self._look_over(shown(root)))

    def __len__(self) -> int:
        return len(self.keys)

    def identity(self, index: int) -> str:
        """Size and time of change of the picture and its label map."""
        return file_identity((self._images[index], self._labels[index]))

    def __getitem__(self, index: int) -> Sample:
        """One picture and its labels in the protocol's set.

        Raises:
            SampleFault: side ``input``; picture or label map at fault, or a label that the source set does not have.
        """
        picture = self._picture(index)
        labels = self.target(index)
        height, width = labels.labels_HW.shape
        image = rgb_of(picture, picture.settled(self._exif, (width, height)))
        return Sample(index, self.keys[index], self.groups[index], whole_image(self.keys[index], image), labels)

    def target(self, index: int) -> SegTarget:
        """The labels alone; the picture is not opened."""
        return SegTarget(mapped(self._stored(index), self._source, self._labels[index]))

    def _picture(self, index: int) -> Picture:
        """The picture, its pixels not yet decoded: a bomb is refused before its label map is."""
        picture = open_picture(self._images[index], max_pixels=self._max_pixels)
        refuse_bomb(picture)
        return picture

    def _stored(self, index: int) -> NDArray[Any]:
        limits = Limits(max_pixels=self._max_pixels)
        return as_indices(read_label_map(self._labels[index], limits), self._options.label_encoding)

    def _list(self, root: Path, about: str) -> dict[str, Listing]:
        options, suffix = self._options, self._options.label_suffix
        images = _first_folder(root, options.images, f"{about}, option 'images'")
        labels = _first_folder(root, options.labels, f"{about}, option 'labels'")
        keep = (lambda name: None if name.endswith(suffix) else name) if suffix else (lambda name: name)
        return {
            "images": list_files(images, IMAGE_SUFFIXES, keep, root),
            "labels": list_files(
                labels,
                LABEL_SUFFIXES,
                lambda name: name.removesuffix(suffix) if name.endswith(suffix) else None,
                root,
            ),
        }

    def _look_over(self, path: str) -> list[str]:
        """Refuse truth without any foreground; say what is wrong with the samples that were looked at."""
        over = LookOver(len(self))
        present: list[list[int]] = []
        borders: list[Border] = []

        def look(index: int) -> None:
            stored = self._stored(index)
            present.append(distinct(stored))
            borders.append(border_of(stored, self._source.ignored))
            mapped(stored, self._source, self._labels[index])
            picture = self._picture(index)
            policy = picture.settled(self._exif, (stored.shape[1], stored.shape[0]))
            if self._exif == "unstated" and picture.orientation != 1:
                how = "as viewed" if policy == "apply" else "as stored"
                over.turned.append(f"{self.keys[index]}, orientation {picture.orientation}, read {how}")

        over.each(self.keys, look)
        label_doubts(present, self._source.names, self._source.ignored, over)
        if doubt := coding_doubt(borders, self._source.names, self._source.ignored):
            over.notes.append(doubt)
        if over.faults and not self._options.trusted:
            raise DatasetRejected(path, over.faults, "The option 'trusted' scores such label maps all the same.")
        return [*over.faults, *over.all_notes]


def _first_folder(root: Path, names: str | tuple[str, ...], about: str) -> Path:
    """The first of the folders that is there, or the first."""
    asked = (names,) if isinstance(names, str) else names
    for name in asked or ("",):
        if name != "." and (fault := path_fault(name)) is not None:
            raise CardError(f"{about}: folder {name!r} {fault}")
    return next((root / name for name in asked if (root / name).is_dir()), root / asked[0])


class SourceLabels(NamedTuple):
    """The label set that files are annotated in, on its way to the protocol's."""

    names: tuple[str, ...]
    table: NDArray[np.uint8]  # [K] target label of each; 255 where there is none
    ignored: int  # the number in a file that is no label but a pixel that is not scored

    @property
    def described(self) -> str:
        """What a manifest has to know of it."""
        return str(self.table.tolist()) + (f" ignored {self.ignored}" if self.ignored != IGNORE else "")


NO_LABELS = SourceLabels((), np.zeros(0, np.uint8), IGNORE)


def source_labels(context: DataContext, annotated_in: str, encoding: LabelEncoding) -> SourceLabels:
    """The set that files are annotated in; "" stands for the protocol's own.

    Raises:
        CardError: the protocol has no label set, or masks are declared for a set of more than two.
        LabelSpaceMismatch: no map card joins the two sets.
    """
    source = context.source(annotated_in)
    if source is None or source.card.kind != "labels":
        raise CardError(f"{context.where}: index maps need the task seg and a label set")
    if encoding == "mask" and len(source.card.names) != 2:
        raise CardError(
            f"{context.where}: masks say who is a person and not which of the {len(source.card.names)} labels of "
            f"{source.card.id} it is; the label set of masks is person2"
        )
    ignored = IGNORE if source.card.ignore_index is None else source.card.ignore_index
    return SourceLabels(source.card.names, targets_of(source.map), ignored)


def targets_of(space_map: SpaceMap) -> NDArray[np.uint8]:
    """Target label of each source label, uint8 [K_source]; 255 where the map has none."""
    return np.where(space_map.index < 0, IGNORE, space_map.index).astype(np.uint8)


def as_indices(stored_HW: NDArray[Any], encoding: LabelEncoding) -> NDArray[Any]:
    """Labels as indices: of a mask, 0 and 1."""
    return (stored_HW != 0).astype(np.uint8) if encoding == "mask" else stored_HW


def mapped(stored_HW: NDArray[Any], source: SourceLabels, path: Path) -> NDArray[np.uint8]:
    """Labels of the files as those of the protocol; 255 where nothing is scored.

    Args:
        stored_HW: integers of any width.

    Raises:
        SampleFault: ``label.value``; a label that the source set does not have.
    """
    import cv2  # `list` does without

    n = len(source.table)
    found = distinct(stored_HW)
    if wrong := [v for v in found if not 0 <= v < n and v != source.ignored]:
        valid = f"valid are 0..{n - 1} and {source.ignored}"
        raise SampleFault("label.value", f"{shown(path)}: label {wrong[0]}; {valid} (not scored)")
    if found and not (found[0] >= 0 and found[-1] <= IGNORE):  # only the ignored number can be outside of 8 bits
        stored_HW = np.where(stored_HW == source.ignored, IGNORE, stored_HW)
    wide = np.full(256, IGNORE, np.uint8)
    wide[:n] = source.table
    return np.asarray(cv2.LUT(np.ascontiguousarray(stored_HW, np.uint8), wide), np.uint8)


def distinct(stored_HW: NDArray[Any]) -> list[int]:
    """The labels that occur, ascending; in blocks, since a large map must not become eight times as large."""
    found: set[int] = set()
    rows = max(1, BLOCK // max(1, stored_HW.shape[1]))
    for start in range(0, len(stored_HW), rows):
        block = stored_HW[start : start + rows]
        if block.dtype == np.uint8:
            found.update(np.flatnonzero(np.bincount(block.ravel(), minlength=256)).tolist())
        else:
            found.update(np.unique(block).tolist())
    return sorted(found)
