"""The options of SimpleBaseline and HRNet. Torch-free, as ``options.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sapiens_bench.cards.options import Options


def odd(value: int) -> int:
    """Validator of a kernel's size.

    Raises:
        ValueError: it is even.
    """
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


class HeatmapNetOptions(Options):
    trunk: Literal["resnet50", "resnet101", "resnet152", "hrnet_w32", "hrnet_w48"] | None = None
    """Published trunk; a file of another one is refused. Needed to profile without the weights."""
    codec: Literal["plain", "dark", "udp"] = "plain"
    """``plain``: three-point crop, quarter steps; ``dark``: that crop, DARK; ``udp``: UDP crop and DARK under it."""
    blur_kernel: Annotated[int, Field(ge=3, le=63)] = 11
    """DARK: odd size of the Gaussian."""
    flip_test: bool = True
    """Mean with the mirrored crop."""

    _odd_kernel = field_validator("blur_kernel")(odd)


HEATMAP_WRAPPERS: dict[str, dict[str, type[Options]]] = {"heatmap_net": {"pose": HeatmapNetOptions}}
