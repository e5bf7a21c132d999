"""While a shard is waited for and committed, the scorers have images of the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from sapiens_bench.engine.cell import Stage, run_shards
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import Loaded
from sapiens_bench.store.rows import shards_of
from sapiens_bench.types import Prepared


class Plain:
    """The indices themselves, as a loader."""

    def __init__(self, n: int) -> None:
        self.indices = iter(range(n))

    def take(self, n: int) -> Iterator[Loaded]:
        for _ in range(n):
            i = next(self.indices)
            yield Loaded(i, f"k{i}", "g", prepared=Prepared({"x": np.full((1, 1), i, np.float32)}, None))


class Meeting:
    """A network whose crops of two batches must be in it at once."""

    is_reentrant = True

    def __init__(self) -> None:
        self.both = Barrier(2, timeout=20)

    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.both.wait()
        return {"y": tensors["x"] * 2}


def passed(n: int, size: int, budget: int, depth: int | None = 0) -> list[tuple[int, list[int], list[int]]]:
    """Of each shard as it comes out: its number, its images, and all that the scorers had been given by then."""
    given: list[int] = []

    def finish(item: Loaded, outputs: Any) -> Any:
        assert outputs["y"][0, 0] == 2 * item.index
        return item.index

    def submit(call: Any, item: Loaded, outputs: Any) -> Any:
        given.append(item.index)
        return pool.submit(call, item, outputs)

    def measure(images: Sequence[Any]) -> list[Any]:
        return list(images)

    class Doubling:
        def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"y": tensors["x"] * 2}

    with ThreadPoolExecutor(1) as pool:
        forward = Forward(Doubling(), "cpu", budget, depth=depth)  # type: ignore[arg-type]
        told: Any = SimpleNamespace(submit=submit)
        stage = Stage(Plain(n), forward, finish, measure, told, budget, backlog=2)  # type: ignore[arg-type]
        return [(s.number, images, list(given)) for s, images in run_shards(shards_of(n, size), stage)]  # type: ignore[misc]


def test_scorers_have_a_batch_of_the_next_shard_when_one_comes_out() -> None:
    found = passed(10, 4, 2)
    assert [(number, images) for number, images, _ in found] == [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7]), (2, [8, 9])]
    assert [len(given) for *_, given in found] == [6, 10, 10]


def test_shards_of_one_batch_come_out_in_order_whatever_is_queued() -> None:
    for depth in (0, 1, 3):
        found = passed(5, 1, 4, depth)
        assert [(number, images) for number, images, _ in found] == [(i, [i]) for i in range(5)]


def test_a_thread_that_is_through_goes_on_with_the_next_batch() -> None:
    forward = Forward(Meeting(), "cpu", 1, operators=2)  # type: ignore[arg-type]
    items = list(Plain(4).take(4))
    done = [each for item in items for each in forward.push([item])] + list(forward.flush())
    forward.close()
    assert [item.index for batch in done for item, _ in batch] == [0, 1, 2, 3]
    assert all(outputs["y"][0, 0] == 2 * item.index for batch in done for item, outputs in batch)
