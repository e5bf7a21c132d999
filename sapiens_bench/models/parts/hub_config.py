"""What a ``config.json`` of the hub may ask for, told before the library acts on it.

The library follows a configuration wherever it points: kernels of another repository, code beside the weights, other
files to fetch; and it builds as many layers as a number says. None of that is refused by the library itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sapiens_bench.errors import CheckpointRejected, UntrustedCheckpoint

ELSEWHERE = ("backbone", "use_pretrained_backbone", "quantization_config")  # other files would be fetched or converted
CODE = ("auto_map", "custom_pipelines")
OWN_KERNELS = (None, "eager", "sdpa")  # attention that is part of torch; other names may be fetched from a hub
IMPLEMENTATION = re.compile(r"_?(attn|experts)_implementation(_internal)?$")
REPEATED = re.compile(r"(^|_)(depths?|(\w+_)?(layers|blocks|stages))$")  # so many modules are built
COUNTED = re.compile(r"(^|_)(num|size|sizes|dim|dims|width|widths|channels|heads|points|queries)(_|$)")
MAX_COUNT = 1_000_000
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors format


class Stored(NamedTuple):
    """The tensors of a folder, by the headers of its files."""

    tensors: int
    values: int


def entries(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(dotted place, key, value) of every entry at any depth."""
    for key, value in config.items():
        place = f"{prefix}{key}"
        yield place, str(key), value
        if isinstance(value, dict):
            yield from entries(value, f"{place}.")


def check_code(config: Mapping[str, Any], folder: Path) -> None:
    """Nothing beyond the folder and the library.

    Raises:
        UntrustedCheckpoint: code of a third party.
        CheckpointRejected: other files.
    """
    for place, key, value in entries(config):
        if value and key in CODE:
            raise UntrustedCheckpoint(
                f"{folder}: config.json sets {place!r}, code of the folder's own, which is never run. "
                "A model that needs it cannot be used; if the library's class is enough, remove the entry."
            )
        if IMPLEMENTATION.match(key) and any(name not in OWN_KERNELS for name in _leaves(value)):
            raise UntrustedCheckpoint(
                f"{folder}: config.json sets {place!r} to {value!r}, for which code may be fetched and run. "
                "Remove the entry, or write 'sdpa' or 'eager'."
            )
        if value and key in ELSEWHERE:
            raise CheckpointRejected(
                f"{folder}: config.json sets {place!r}, for which the library would fetch or convert other files. "
                "Save the complete model with save_pretrained and give that folder."
            )


def _leaves(value: Any) -> list[Any]:
    return [leaf for inner in value.values() for leaf in _leaves(inner)] if isinstance(value, dict) else [value]


def stored_sizes(folder: Path) -> Stored:
    """How many tensors and values the folder's safetensors files say they hold; a damaged file counts as nothing."""
    tensors = values = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as f:
                length = int.from_bytes(f.read(8), "little")
                header = json.loads(f.read(length)) if length < MAX_HEADER else {}
            shapes = [about["shape"] for name, about in header.items() if name != "__metadata__"]
            tensors, values = tensors + len(shapes), values + sum(math.prod(shape) for shape in shapes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # the library says what is wrong with it
    return Stored(tensors, values)


def check_sizes(config: Mapping[str, Any], folder: Path, stored: Stored) -> None:
    """No number that the library would take for ever to follow: every layer has a tensor in the file.

    Raises:
        CheckpointRejected
    """
    for place, key, value in entries(config):
        numbers = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int]
        if isinstance(value, list) and len(value) > MAX_COUNT:
            raise CheckpointRejected(f"{folder}: config.json lists {len(value)} values under {place!r}.")
        if REPEATED.search(key) and stored.tensors and max(sum(numbers), *numbers, 0) > stored.tensors:
            raise CheckpointRejected(
                f"{folder}: config.json asks for {sum(numbers)} under {place!r}, "
                f"but the weights beside it hold {stored.tensors} tensors in all."
            )
        if COUNTED.search(key) and any(abs(n) > MAX_COUNT for n in numbers):
            raise CheckpointRejected(f"{folder}: config.json sets {place!r} to {value!r:.60}, which is out of range.")


def check_parameters(cls: Any, folder: Path, stored: Stored) -> None:
    """The network that the configuration describes is about as large as the weights beside it.

    It is built without memory, so that a wrong width is refused before the library fills it with random numbers.

    Raises:
        CheckpointRejected
    """
    if not stored.tensors:
        return
    try:
        config = cls.config_class.from_pretrained(str(folder), local_files_only=True)
        with torch.device("meta"):
            net = cls(config)
    except Exception as error:  # a malformed configuration may make the library fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointRejected(f"{folder} cannot be loaded as {cls.__name__} ({reason[:200]}).") from None
    found = sum(parameter.numel() for parameter in net.parameters())
    if found > 2 * stored.values + 1_000_000:
        raise CheckpointRejected(
            f"{folder}: config.json describes {found / 1e6:,.0f} million parameters, "
            f"the weights beside it hold {stored.values / 1e6:,.1f} million."
        )
