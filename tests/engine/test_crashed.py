"""Which shards become misses; ``test_ray_engine`` has those that do, on a cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sapiens_bench.engine.crashed import write_off
from sapiens_bench.engine.ray_pool import _cause


@pytest.mark.parametrize("n_machines", [1, 2, 3])
def test_a_shard_is_no_miss_where_machines_went_away(tmp_path: Path, n_machines: int) -> None:
    gone, crash = "The actor died because its node has died. Node Id: 7", "Worker exit detail: connection error code 2"
    whys = [f"host: {_cause(RuntimeError(text))}" for text in [*[gone] * n_machines, *[crash] * (3 - n_machines)]]
    cell = SimpleNamespace(n_samples=10, shard_size=4, model="net", dataset="set")
    todo: Any = SimpleNamespace(spec=SimpleNamespace(title="Net", cell=cell))
    how: Any = None  # nothing is computed
    text, has_rows = write_off(todo, 2, whys, how, tmp_path)
    assert not has_rows
    assert text.startswith("2 images of Net on set ended 3 workers, with a machine that went away among the causes")
    assert text.endswith("The same command tries them again.")
    assert not list(tmp_path.iterdir())
