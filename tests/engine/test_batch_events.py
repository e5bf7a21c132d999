"""Batches are told as they go by, so that a bar moves before a shard is on disk."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

from sapiens_bench.engine.events import BatchDone, ShardDone


def test_the_batches_of_a_shard_come_before_it_and_add_up_to_its_images(toy: ModuleType, tmp_path: Path) -> None:
    events: list[Any] = []
    toy.go(tmp_path, on_event=events.append, batch_size=2)
    told = [e for e in events if isinstance(e, BatchDone | ShardDone)]
    assert isinstance(told[-1], ShardDone)
    groups = [list(found) for _, found in groupby(told, key=lambda e: isinstance(e, BatchDone))]
    for batches, shards in zip(groups[::2], groups[1::2], strict=True):
        assert len(batches) > 1
        assert len(shards) == 1
        assert sum(batch.n_images for batch in batches) == shards[0].n_images
