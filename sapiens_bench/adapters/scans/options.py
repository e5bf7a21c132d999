"""Protocol options that data sets of scans share; each mistake is a ``CardError`` that names card, protocol and key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from sapiens_bench.adapters.folders import where
from sapiens_bench.adapters.scans.cache import stamp
from sapiens_bench.adapters.scans.render import Recipe, list_pictures
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol
from sapiens_bench.errors import CardError, DataMissing, nearest
from sapiens_bench.render.camera import FRAMINGS, Framing

RECIPE_OPTIONS = ("size", "focal_mm", "yaw_deg", "pitch_deg", "seed", "grey", "backgrounds")
TASKS = ("depth", "normal")


class ScanOptions:
    """Typed access to ``protocol.options``.

    Raises:
        CardError: an unknown option, or a task that scans have no labels for.
    """

    def __init__(self, card: DatasetCard, protocol: EvalProtocol, known: set[str]) -> None:
        self._options, self._where = protocol.options, where(card, protocol)
        if protocol.task not in TASKS:
            raise CardError(f"{self._where}: scans give depth and normals, not {protocol.task!r}")
        for name in protocol.options:
            if name not in known:
                near = nearest(name, sorted(known)) or sorted(known)
                raise CardError(f"{self._where}: unknown option {name!r}; known: {', '.join(near)}")

    def refuse(self, name: str, what: str) -> NoReturn:
        """Raise the ``CardError`` of a wrong value."""
        raise CardError(f"{self._where}: options.{name} must be {what}, found {self._options[name]!r}")

    def number(self, name: str, default: float, *, least: float = -math.inf) -> float:
        value = self._options.get(name, default)
        if not _is_number(value) or value < least:
            self.refuse(name, f"a number of at least {least:g}")
        return float(value)

    def whole(self, name: str, default: int, *, least: int = 0, most: int = 1 << 31) -> int:
        value = self._options.get(name, default)
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"a whole number from {least} to {most}")
        return value

    def pair(self, name: str, default: tuple[float, float]) -> tuple[float, float]:
        value = self._options.get(name, default)
        if (
            not isinstance(value, list | tuple)
            or len(value) != 2
            or not all(map(_is_number, value))
            or value[0] > value[1]
        ):
            self.refuse(name, "two numbers, the smaller first")
        return float(value[0]), float(value[1])

    def whole_pair(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        first, second = self.pair(name, default)
        if first != int(first) or second != int(second):
            self.refuse(name, "two whole numbers")
        return int(first), int(second)

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers; empty when not given."""
        value = self._options.get(name, ())
        if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
            self.refuse(name, "a list of whole numbers")
        return tuple(value)

    def text(self, name: str, default: str = "", choices: tuple[str, ...] = ()) -> str:
        value = self._options.get(name, default)
        if not isinstance(value, str) or (choices and value not in choices):
            self.refuse(name, f"one of {', '.join(choices)}" if choices else "text")
        return value

    def flag(self, name: str) -> bool:
        value = self._options.get(name, False)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def framings(self, default: tuple[Framing, ...]) -> tuple[Framing, ...]:
        value = self._options.get("framings", default)
        if not isinstance(value, list | tuple) or not value or any(v not in FRAMINGS for v in value):
            self.refuse("framings", f"a list of {', '.join(FRAMINGS)}")
        return cast("tuple[Framing, ...]", tuple(dict.fromkeys(value)))


def make_recipe(
    read: ScanOptions,
    draws: str,
    root: Path,
    *,
    height_m: float | None = None,
    person: Literal["all", "0", "1"] = "all",
) -> Recipe:
    """The recipe that the options describe.

    Raises:
        CardError: a wrong value.
        DataMissing: no pictures in the background folder.
    """
    height, width = _size(read)
    focal = read.pair("focal_mm", (35.0, 85.0))
    pitch = read.pair("pitch_deg", (-10.0, 10.0))
    if focal[0] <= 0:
        read.refuse("focal_mm", "positive")
    if pitch[0] <= -90 or pitch[1] >= 90:
        read.refuse("pitch_deg", "between -90 and 90")
    folder, files = _backgrounds(read.text("backgrounds"), root)
    return Recipe(
        protocol=draws,
        height_m=height_m,
        width=width,
        height=height,
        focal_mm=focal,
        yaw_deg=read.pair("yaw_deg", (0.0, 360.0)),
        pitch_deg=pitch,
        seed=read.whole("seed", 0),
        grey=read.whole("grey", 127, most=255),
        backgrounds=folder,
        backgrounds_stamp=files,
        person=person,
    )


def _size(read: ScanOptions) -> tuple[int, int]:
    """Height and width."""
    size = read.wholes("size") or (1024, 768)
    if len(size) != 2 or not all(16 <= side <= 8192 for side in size):
        read.refuse("size", "[height, width] between 16 and 8192")
    return size[0], size[1]


def _backgrounds(name: str, root: Path) -> tuple[str, str]:
    """Folder of background pictures (below the root, or a path of its own) and the hash of its files."""
    if not name:
        return "", ""
    folder = next((f for f in (root / name, Path(name).expanduser()) if f.is_dir()), None)
    pictures = list_pictures(folder) if folder is not None else []
    if folder is None or not pictures:
        raise DataMissing(f"Background folder {name!r} has no pictures, or exists neither below {root} nor by itself.")
    return str(folder.resolve()), stamp(pictures)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
