"""OpenEXR files: named planes of floating-point numbers.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, UsageError, raise_if_machine
from sapiens_bench.pixels.decode import MAX_PIXELS, locate
from sapiens_bench.pixels.files import open_regular, shown

DEPTH_CHANNELS = (("Z",), ("depth",), ("Y",), ("R",), ("V",))
NORMAL_CHANNELS = (("X", "Y", "Z"), ("R", "G", "B"))
MAX_CHANNELS = 64


def read_exr(
    path: Path | str,
    channels: tuple[str, ...],
    *,
    root: Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.float32]:
    """Named channels of an OpenEXR file, float32 [H, W, C].

    Raises:
        UsageError: the optional package is not installed.
        SampleFault: ``image.missing``, ``.path``, ``.too_large``, ``.decode``, ``label.channels`` with those there.
    """
    return read_exr_choice(path, (channels,), root=root, max_pixels=max_pixels)


def read_exr_choice(
    path: Path | str,
    choices: Sequence[tuple[str, ...]],
    *,
    root: Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.float32]:
    """The first set of channels that the file has, float32 [H, W, C].

    A channel of a layer ("ViewLayer.Depth.Z") goes by its last name where only one layer has it.

    Raises:
        UsageError, SampleFault: as ``read_exr``.
    """
    library, name = _library(path), shown(path)
    real = str(locate(path, root))
    try:
        open_regular(real).close()
        with library.File(real, separate_channels=True, header_only=True) as file:
            _check_header(file.header(), name, max_pixels)
        with library.File(real, separate_channels=True) as file:
            present = {key: np.asarray(channel.pixels) for key, channel in file.channels().items()}
    except SampleFault as fault:
        raise_if_machine(fault)
        raise
    except OSError as error:
        raise_if_machine(error)
        raise SampleFault("image.missing", f"{name}: {error.strerror or error}") from None
    except Exception as error:  # the binding raises bare RuntimeError and friends
        raise_if_machine(error)
        raise SampleFault("image.decode", f"{name}: not a readable EXR file ({error})") from None
    return _chosen(present, choices, name)


def require(path: Path | str) -> None:
    """Raises UsageError when ``path`` cannot be read for want of the optional package."""
    _library(path)


def _library(path: Path | str) -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise UsageError(
            f"{shown(path)} is an EXR file and reading it needs the optional package: "
            "pip install 'sapiens-vision-bench[exr]'"
        ) from None
    return OpenEXR


def _check_header(header: dict[str, Any], name: str, max_pixels: int) -> None:
    """Size and number of channels before a pixel is unpacked."""
    low, high = header["dataWindow"]
    width, height = (int(high[i]) - int(low[i]) + 1 for i in (0, 1))
    if width < 1 or height < 1:
        raise SampleFault("image.decode", f"{name}: width {width}, height {height}")
    if width * height > max_pixels:
        raise SampleFault("image.too_large", f"{name}: {width}x{height} is over {max_pixels} pixels (--max-pixels)")
    if len(header.get("channels", ())) > MAX_CHANNELS:
        raise SampleFault("image.too_large", f"{name}: {len(header['channels'])} channels, at most {MAX_CHANNELS}")


def _chosen(present: dict[str, NDArray[Any]], choices: Sequence[tuple[str, ...]], name: str) -> NDArray[np.float32]:
    for wanted in choices:
        keys = [_key(channel, present) for channel in wanted]
        found = [present[key] for key in keys if key is not None]
        if len(found) == len(wanted):
            return np.stack(found, axis=-1).astype(np.float32)
    asked = " or ".join("".join(wanted) if len(wanted) > 1 else wanted[0] for wanted in choices)
    raise SampleFault("label.channels", f"{name}: no channel {asked}, the file has {sorted(present)}")


def _key(channel: str, present: dict[str, NDArray[Any]]) -> str | None:
    """The channel's full name: its own, or the only layer's that ends with it."""
    if channel in present:
        return channel
    layered = [key for key in present if key.rpartition(".")[2] == channel]
    return layered[0] if len(layered) == 1 else None
