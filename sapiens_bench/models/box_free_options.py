"""The options of pose networks that need no boxes. Torch-free, as ``options.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sapiens_bench.cards.options import Options


class OneStageOptions(Options):
    boxes: Literal["none"]
    """It takes the whole picture and answers with any number of people; ``run --boxes none`` takes such models."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of the input."""
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """People below it are left out."""
    grey: Annotated[int, Field(ge=0, le=255)] = 114
    """What lies beside the picture, which keeps its aspect in the top left corner."""
    output_names: tuple[str, ...] = ()
    """The two outputs, where they are not told apart by their shapes."""
