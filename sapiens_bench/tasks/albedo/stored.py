"""Albedo as people store it: 8- or 16-bit colour pictures (full range), or arrays of 0..1."""

from __future__ import annotations

from pathlib import Path

from sapiens_bench.tasks.albedo.types import AlbedoPrediction, ColourSpace
from sapiens_bench.tasks.stored_options import StoredOptions

MEMBERS = ("albedo", "albedos")


class StoredAlbedo(StoredOptions):
    """Of ``predictions`` for albedo."""

    colour_space: ColourSpace
    """Of the stored numbers: srgb as pictures are shown, or linear. It has to be said: no file tells it. Colours are
    taken as they are stored; an alpha beside them is not used, and what is cut out is scored with the colour it has."""


def read_albedo(path: Path, size_hw: tuple[int, int], options: StoredAlbedo) -> AlbedoPrediction:
    """The colours in a file, at the picture's size.

    Raises:
        SampleFault: ``label.shape``, ``label.mode``, ``label.array``, ``image.*``.
    """
    from sapiens_bench.pixels.stored_shares import read_shares  # lists of tasks need no image library

    shares = read_shares(path, 3, MEMBERS, None if options.resize else size_hw)
    return AlbedoPrediction(options.resized(shares.values, size_hw, path), options.colour_space)
