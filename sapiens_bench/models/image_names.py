"""Which image of an annotation file a text means, where results name images by text and not by id.

The text is the file name, with its ending (AlphaPose) or without, with the folders of the file name, with fewer, or
with further ones in front. A text that names no file and is a number is the id itself ("139" for 139), but only where
no text of the results names a file. A text that could mean two images is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from sapiens_bench.tasks.pose.types import AnnotationIndex

_NUMBERED = re.compile(r"#(-?\d+)$")
_PICTURE = re.compile(r"\.(?:jpe?g|png|bmp|webp|tiff?)$", re.IGNORECASE)


class Ambiguous(Exception):
    """A text that means several images."""


class ImageNames:
    """The names of an index's images: the last part of their key, "-" between folders."""

    def __init__(self, index: AnnotationIndex) -> None:
        self._ids, self._file_names = frozenset(index.image_ids.values()), index.file_names
        self._whole: dict[str, set[int]] = {}
        for key, identity in index.image_ids.items():
            stem = _NUMBERED.sub("", key.partition("/")[2])
            self._whole.setdefault(stem, set()).add(identity)
        self._ends: dict[str, set[int]] | None = None

    def meant(self, given: Iterable[Any]) -> tuple[list[Any], str]:
        """The ids that values mean (numbers mean themselves; None: no image of the index), and how texts were taken.

        Raises:
            Ambiguous: a text means several images.
        """
        values = list(given)
        by_text = {value: self._named(value) for value in dict.fromkeys(v for v in values if isinstance(v, str))}
        how = "the file name of the image, with its ending or without" if by_text else ""
        if by_text and not any(found is not None for found in by_text.values()) and self._are_numbers(by_text):
            by_text = {text: int(text) for text in by_text}
            how = "the id of the image, written as text"
        meant = (by_text[v] if isinstance(v, str) else v for v in values)
        return [i if i in self._ids else None for i in meant], how

    def _are_numbers(self, texts: Iterable[str]) -> bool:
        return any(text.isascii() and text.isdecimal() and int(text) in self._ids for text in texts) and all(
            text.isascii() and text.isdecimal() and len(text) < 20 for text in texts
        )

    def _named(self, text: str) -> int | None:
        parts = PurePosixPath(text.replace("\\", "/")).parts
        stem = _PICTURE.sub("", parts[-1]) if parts else ""
        # Without folders in front one after the other: /data/coco/val2017/x.jpg, coco/val2017/x.jpg ...
        for names in ([text], *([*parts[i:-1], last] for i in range(len(parts)) for last in (parts[-1], stem))):
            if found := self._whole.get("-".join(names)):
                return self._one(found, text)
        # A key does not tell folders from "-" in a name, so only what is evidently a file name may lack the folder.
        found = self._by_end().get(stem) if len(parts) == 1 and stem != text else None
        return self._one(found, text) if found else None

    def _by_end(self) -> dict[str, set[int]]:
        """Images by what follows a folder of their name."""
        if self._ends is None:
            self._ends = {}
            for stem, ids in self._whole.items():
                for cut in (i for i, letter in enumerate(stem) if letter == "-"):
                    self._ends.setdefault(stem[cut + 1 :], set()).update(ids)
        return self._ends

    def _one(self, found: set[int], text: str) -> int:
        if len(found) > 1:  # 1.jpg and 1.png: where the ending is written, it tells
            whole = "/" + text.replace("\\", "/")
            found = {i for i in found if whole.endswith(f"/{self._file_names.get(i, '')}")} or found
        if len(found) > 1:
            some = ", ".join(map(str, sorted(found)[:3]))
            raise Ambiguous(f"image_id {text!r:.60} may be image {some}: write the id")
        return next(iter(found))
