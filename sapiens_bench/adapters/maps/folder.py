"""A folder of pictures and maps that belong together by their names.

    images/     <name>.png, .jpg ...      where pictures are wanted
    alphas/     <name>.png ...            the truth, in the folder of its task (adapters/dense/layout.py)

or the maps alone, in the folder itself. A name may have folders in it; the rules for names, junk and links are those of
pixels/listing.py. Samples are the names that all needed folders have, sorted; each is its own group.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.layout import Layout
from sapiens_bench.adapters.folders import manifest, whole_image
from sapiens_bench.cards.options import Options
from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.codecs import ExifPolicy, rgb_of
from sapiens_bench.pixels.decode import open_picture, refuse_bomb
from sapiens_bench.pixels.files import shown
from sapiens_bench.store.files import file_identity
from sapiens_bench.types import Sample


class MapFolderOptions(Options):
    """Of every such folder."""

    images: str = ""
    """Folder of the pictures, where it has none of the usual names (images, image, rgb, img)."""
    exif: Literal["", "ignore", "apply"] = ""
    """Whether the truth belongs to pictures as stored (ignore) or as viewed (apply)."""
    pictures: bool = True
    """False: the pictures are not opened; only stored predictions can be scored then."""
    about_files: ClassVar[frozenset[str]] = frozenset({"images", "exif"})

    def named(self) -> dict[str, str]:
        """Folder names by role, where they are given."""
        return {"image": self.images} if self.images else {}


class MapFolder:
    """Samples by name; a subclass reads the truth of one task. ``keys`` are ``<data-set id>/<name>``.

    Raises:
        DataMissing: a folder is not there, or no name is in all of them.
        DatasetRejected: two files or two folders for the same thing.
    """

    task: str
    beside: tuple[str, ...] = ()  # roles that are used where they are there

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task(self.task)
        options: Any = context.options
        self._options, self._max_pixels = options, context.max_pixels
        root, card = context.root.absolute(), context.card
        needed = ["image", self.task] if options.pictures else [self.task]
        self.layout = Layout(root, needed, self.beside, options.named(), loose=self.task)
        self._exif: ExifPolicy = options.exif or (card.exif if "exif" in card.model_fields_set else "unstated")
        self.keys: list[str] = [f"{card.id}/{stem}" for stem in self.layout.stems]
        self.groups: list[str] = self.keys
        parts = [card.id, self.task, self._exif, options.model_dump_json(exclude={"pictures"})]
        self.manifest_sha256: str = manifest(
            parts, root, self.layout.paths(pictures=True), self.layout.paths(pictures=False)
        )
        self.notes: tuple[str, ...] = tuple(self.layout.notes)

    def __len__(self) -> int:
        return len(self.keys)

    def identity(self, index: int) -> str:
        """Size and time of change of the sample's files."""
        return file_identity(path for path in self.layout.of(index) if path is not None)

    def target(self, index: int) -> tuple[Any, tuple[int, int]]:
        """The truth of a sample, and its height and width.

        Raises:
            SampleFault: side ``input``.
        """
        raise TypeError(f"{type(self).__name__} reads no truth: write target(index) in it.")

    def __getitem__(self, index: int) -> Sample:
        """One picture and its truth.

        Raises:
            SampleFault: side ``input``.
        """
        target, size_hw = self.target(index)
        if self._options.pictures:
            image = self._image(index, size_hw)
        else:  # black, and without memory
            image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*size_hw, 3))
        return Sample(index, self.keys[index], self.groups[index], whole_image(self.keys[index], image), target)

    def _image(self, index: int, size_hw: tuple[int, int]) -> Any:
        path = self.layout.path("image", index)
        assert path is not None
        picture = open_picture(path, max_pixels=self._max_pixels)
        refuse_bomb(picture)
        try:
            policy = picture.settled(self._exif, (size_hw[1], size_hw[0]))
        except SampleFault as fault:
            if fault.code == "image.exif_policy" and picture.orientation != 1:
                raise
            truth, (width, height) = self.layout.path(self.task, index), picture.stored
            sizes = f"{size_hw[1]}x{size_hw[0]} (width x height), the picture {picture.name} has {width}x{height}"
            raise SampleFault("label.shape", f"{shown(truth or '')}: {sizes}") from None
        return rgb_of(picture, policy)
