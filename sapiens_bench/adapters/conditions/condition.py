"""What is done to every picture of a data set, and how strongly; plain data that a fingerprint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.errors import UnknownName, UsageError

VERSION = 1  # raised whenever a pixel or box under any condition can change
LEVELS = 5

# Name -> (what it does, does it act on boxes alone). The order is that of tables and figures.
CORRUPTIONS: dict[str, tuple[str, bool]] = {
    "noise": ("Gaussian noise, the same in shadow and light", False),
    "impulse": ("single pixels black or white", False),
    "low_light": ("less light, with the shot noise that comes with it", False),
    "exposure": ("more light than the picture holds", False),
    "contrast": ("grey values drawn together", False),
    "colour_cast": ("warm or cold light", False),
    "fog": ("uneven white haze", False),
    "blur": ("Gaussian blur", False),
    "defocus": ("blur by a disc", False),
    "motion": ("blur along a line", False),
    "jpeg": ("JPEG compression", False),
    "resize": ("shrunk and enlarged again", False),
    "occlusion": ("a rectangle of one colour in every box", False),
    "crop_shift": ("boxes moved, the picture as it is", True),
}
RESOLUTION = "resolution"  # its level is the picture's shorter side in pixels


class Condition(Options):
    """One condition. Not part of a protocol: whoever asks for it is told so in every record."""

    name: str
    """a corruption, or resolution"""
    level: int = Field(ge=1)
    """1 (slight) to 5 (severe); of resolution: pixels left along the shorter side"""
    seed: int = Field(default=0, ge=0)
    """of the draws, which depend on the picture's key alone otherwise"""

    @property
    def text(self) -> str:
        """``"blur 3"``."""
        return f"{self.name} {self.level}"

    @property
    def moves_boxes(self) -> bool:
        """True where boxes are changed, and pictures are not."""
        return self.name in CORRUPTIONS and CORRUPTIONS[self.name][1]


def read_condition(given: Mapping[str, Any]) -> Condition | None:
    """The condition a request names; None where it names none.

    Raises:
        UnknownName: no such condition. CardError: a wrong key or value. UsageError: no such level.
    """
    if not given:
        return None
    condition = read_options(Condition, given, "condition")
    if condition.name not in CORRUPTIONS and condition.name != RESOLUTION:
        raise UnknownName("condition", condition.name, [*CORRUPTIONS, RESOLUTION])
    if condition.name in CORRUPTIONS and condition.level > LEVELS:
        raise UsageError(f"condition {condition.name}: level {condition.level} does not exist; 1 to {LEVELS} do.")
    return condition
