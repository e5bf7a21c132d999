"""Pictures with index maps: Humans-2K, CIHP, LIP, ATR, PASCAL-Person-Part, Face Synthetics.

Protocol options (folders relative to the data set's root, "." for the root itself):

    images: Validation/Images         # folder of the pictures
    labels: Validation/Category_ids   # folder of 8-bit (or 16-bit) index maps, PNG, grey or palette
    label_suffix: _seg                # only where <stem>_seg.png belongs to <stem>.png; may share a folder
    annotated_in: lip20               # only where the files' label set is not the protocol's: a map card joins the two

Source labels that the map leaves out become 255: ignored, not background. 255 in a file is ignored as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.folders import (
    IMAGE_SUFFIXES,
    by_stem,
    checked_folder,
    checked_options,
    manifest,
    refuse_split,
    where,
    whole_image,
)
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, DataMissing, SampleFault
from sapiens_bench.pixels.codecs import read_labels, read_rgb
from sapiens_bench.tasks.seg.types import IGNORE, SegTarget
from sapiens_bench.types import Sample

_OPTIONS: dict[str, type] = {"images": str, "labels": str, "label_suffix": str, "annotated_in": str}
DECLARATION = "frame.json"  # of a folder that says itself what it is (adapters/dense_folder.py)


class LabelMaps:
    """Every picture that has a label map, sorted by stem; each is its own group.

    ``keys`` are ``<data-set id>/<stem>``. ``notes`` count pictures and labels without a partner.

    Raises:
        CardError: the protocol's options are not those above, or it has no label set.
        LabelSpaceMismatch: no map card joins ``annotated_in`` and the protocol's set.
        DataMissing, DatasetRejected: the folders cannot be used.
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
        if protocol.task != "seg" or space is None or space.kind != "labels":
            raise CardError(f"{where(card, protocol)}: index maps need the task seg and a label set")
        if (root / DECLARATION).is_file():
            raise DataMissing(f"{root} declares itself in {DECLARATION}: it is data set 'folder', not {card.id!r}.")
        chosen = checked_options(card, protocol, _OPTIONS)
        self._table = label_table(chosen.get("annotated_in", ""), space)
        suffix = chosen.get("label_suffix", "")
        folders = [checked_folder(chosen.get(name, name), where(card, protocol)) for name in ("images", "labels")]
        images = by_stem(
            root / folders[0], IMAGE_SUFFIXES, lambda stem: None if suffix and stem.endswith(suffix) else stem
        )
        labels = by_stem(
            root / folders[1], (".png",), lambda stem: stem.removesuffix(suffix) if stem.endswith(suffix) else None
        )
        stems = sorted(images.keys() & labels.keys())
        if not stems:
            raise DataMissing(
                f"{card.title} under {root}: no picture of {folders[0]} has a label map in {folders[1]} "
                f"({len(images)} pictures, {len(labels)} label maps)."
            )
        self._root, self._exif, self._max_pixels = root, card.exif, options.max_pixels
        self._images, self._labels = [images[s] for s in stems], [labels[s] for s in stems]
        self.keys: list[str] = [f"{card.id}/{stem}" for stem in stems]
        self.groups: list[str] = self.keys
        alone = {
            "pictures without labels": len(images) - len(stems),
            "labels without picture": len(labels) - len(stems),
        }
        self.notes = [f"{count} {what} left out" for what, count in alone.items() if count]
        parts = [card.id, card.exif, str(self._table.tolist())]
        self.manifest_sha256: str = manifest(parts, root, self._images, self._labels)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """One picture and its labels in the protocol's set.

        Raises:
            SampleFault: side ``input``; picture or label map at fault, or a label that the source set does not have.
        """
        labels = self.target(index)
        height, width = labels.labels_HW.shape
        image = read_rgb(
            self._images[index],
            exif=self._exif,
            max_pixels=self._max_pixels,
            expected_size=(width, height),
            root=self._root,
        )
        return Sample(index, self.keys[index], self.groups[index], whole_image(self.keys[index], image), labels)

    def target(self, index: int) -> SegTarget:
        """The labels alone; the picture is not opened."""
        path = self._labels[index]
        stored = read_labels(path, max_pixels=self._max_pixels, root=self._root)
        return SegTarget(mapped(stored, self._table, path))


def label_table(annotated_in: str, space: SpaceCard) -> NDArray[np.uint8]:
    """Target label of each source label, uint8 [K_source]; 255 where the map has none."""
    if not annotated_in or annotated_in == space.id:
        return np.arange(len(space.names), dtype=np.uint8)
    index = Catalog.load().space_map(annotated_in, space.id).index
    return np.where(index < 0, IGNORE, index).astype(np.uint8)


def mapped(
    stored_HW: NDArray[np.uint8] | NDArray[np.uint16], table: NDArray[np.uint8], path: Path
) -> NDArray[np.uint8]:
    """Labels through a table; 255 stays 255.

    Raises:
        SampleFault: ``label.value``; a label that the source set does not have.
    """
    wide = np.full(65536 if stored_HW.dtype == np.uint16 else 256, IGNORE, np.uint8)
    wide[: len(table)] = table
    wrong = (stored_HW >= len(table)) & (stored_HW != IGNORE)
    if wrong.any():
        first = int(stored_HW[wrong][0])
        raise SampleFault("label.value", f"{path}: label {first}; valid are 0..{len(table) - 1} and {IGNORE}")
    return wide[stored_HW]
