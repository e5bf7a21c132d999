"""Whether rows of two tasks may be added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sapiens_bench.types import Task


def scored_alike(a: Task, b: Task) -> bool:
    """Whether both have the same kind, the same set, and metrics of the same settings."""
    return _is_alike(_settings(a), _settings(b))


def _settings(task: Task) -> list[Any]:
    return [task.name, task.names, *((type(m), m.version, getattr(m, "__dict__", {})) for m in task.metrics)]


def _is_alike(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and np.array_equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_is_alike(a[name], b[name]) for name in a)
    if is_dataclass(a) and type(a) is type(b):
        return all(_is_alike(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_is_alike, a, b))
    return bool(a == b)
