"""The options of every wrapper and detector of this package, without the libraries that run them.

The plan reads options before any network library is loaded, so they stand here and not beside the networks. A wrapper
outside the package carries its class itself, as attribute ``Options``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, create_model

from sapiens_bench.cards.options import NoOptions, Options
from sapiens_bench.errors import CardError
from sapiens_bench.types import TaskKind

# One class; or one per task where they differ; or a function of the task that owns them.
OptionsOf = type[Options] | Mapping[str, type[Options]] | Callable[[TaskKind], type[Options]]


class FloorOptions(Options):
    """Of a floor. The rules are those of the task."""

    rule: str
    """Which of the task's floors this is."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a pixel is a person, for floors that need a person mask."""


class SavedMapsOptions(Options):
    """Of maps that ``run --save-maps`` kept."""

    maps: str = Field(min_length=1)
    """The folder RUN/maps/<task>/<data set>/<protocol>/<model>."""


def floor_options(kind: TaskKind) -> type[Options]:
    """``FloorOptions`` with the task's own rules as the only choices."""
    if not kind.floors:
        raise CardError(f"Task {kind.name!r} has no floors.")
    rules: Any = Literal[tuple(kind.floors)]
    return create_model("FloorOptions", __base__=FloorOptions, rule=(rules, ...))


def noise_options(kind: TaskKind) -> type[Options]:
    """The strengths of the task's noise."""
    if kind.noise is None:
        raise CardError(f"Task {kind.name!r} has no noise, so no noisy oracle.")
    found: type[Options] = kind.noise.Options
    return found


OPTIONS: dict[str, OptionsOf] = {  # key of WRAPPERS
    "floors": floor_options,
    "noisy_oracle": noise_options,
    "oracle": NoOptions,
    "saved_maps": SavedMapsOptions,
}


def options_class(found: OptionsOf | None, kind: TaskKind) -> type[Options] | None:
    """The class that holds for a task; None where nothing is declared, or nothing for this task."""
    if found is None or isinstance(found, type):
        return found
    return found.get(kind.name) if isinstance(found, Mapping) else found(kind)
