"""While a shard is waited for and committed, the scorers have images of the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_bench.engine.cell import Stage, run_shards
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import Loaded
from sapiens_bench.errors import MachineFault
from sapiens_bench.store.rows import shard_files, shards_of
from sapiens_bench.types import Prepared

ROWS = Path("rows/toy/toy/plain/toy-plain")


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


def passed(
    n: int, size: int, budget: int, depth: int | None = 0, *, is_prompt: bool = False
) -> list[tuple[int, list[int], list[int]]]:
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
        shards = run_shards(shards_of(n, size), stage, is_prompt=is_prompt)
        return [(s.number, images, list(given)) for s, images in shards]  # type: ignore[misc]


def test_scorers_have_a_batch_of_the_next_shard_when_one_comes_out() -> None:
    found = passed(10, 4, 2)
    assert [(number, images) for number, images, _ in found] == [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7]), (2, [8, 9])]
    assert [len(given) for *_, given in found] == [6, 10, 10]


def test_a_shard_waits_for_none_where_another_is_given_for_it() -> None:
    found = passed(10, 4, 2, is_prompt=True)
    assert [len(given) for *_, given in found] == [4, 8, 10]


def test_shards_of_one_batch_come_out_in_order_whatever_is_queued() -> None:
    for depth in (0, 1, 3):
        found = passed(5, 1, 4, depth)
        assert [(number, images) for number, images, _ in found] == [(i, [i]) for i in range(5)]


def test_a_thread_that_is_through_goes_on_with_the_next_batch() -> None:
    forward = Forward(Meeting(), "cpu", 1, operators=2)  # type: ignore[arg-type]
    items = list(Plain(4).take(4))
    done: list[Any] = [each for item in items for each in forward.push([item])] + list(forward.flush())
    forward.close()
    assert [item.index for batch in done for item, _ in batch] == [0, 1, 2, 3]
    assert all(outputs["y"][0, 0] == 2 * item.index for batch in done for item, outputs in batch)


class Held:
    """A network that computes the first images at once, and the others when it is told to."""

    is_reentrant = True

    def __init__(self, n_at_once: int) -> None:
        self.n_at_once, self.go_on = n_at_once, Event()

    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if int(tensors["x"][0, 0]) >= self.n_at_once:
            assert self.go_on.wait(20)
        return {"y": tensors["x"]}


def test_images_that_threads_are_still_at_are_not_counted_as_computed() -> None:
    model = Held(2)
    forward = Forward(model, "cpu", 2, operators=2)  # type: ignore[arg-type]
    items = list(Plain(4).take(4))
    assert forward.n_computed == 0
    assert list(forward.push(items[:2])) == []
    assert len(list(forward.push(items[2:]))) == 1  # waits for the first two; the others are held
    assert forward.n_computed == 2
    model.go_on.set()
    list(forward.flush())
    assert forward.n_computed == 4
    forward.close()


@pytest.mark.parametrize(("n", "prefetch", "least"), [(30, 0, 11), (30, 3, 11), (10, 0, 10), (7, 1, 7)])
def test_what_was_computed_of_the_second_shard_by_the_first_commit_is_no_part_of_the_throughput(
    toy: ModuleType, tmp_path: Path, n: int, prefetch: int, least: int
) -> None:
    """Else two shards of 64 images in batches of 16 looked half as fast again as they were."""
    timing = toy.go(tmp_path, {"n": n}, shard_size=10, batch_size=3, prefetch=prefetch).cells[0].timing
    assert timing.images == n
    assert least <= timing.first_shard_images <= n
    assert 0 < timing.first_shard_s <= timing.wall_s


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize(("image", "kept"), [(4, {0}), (8, {0, 1}), (19, {0, 1, 2, 3}), (1, set())])
def test_a_machine_that_fails_in_the_next_shard_does_not_take_this_one_along(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: int, kept: set[int], prefetch: int
) -> None:
    plain = toy.ToyModel.forward

    def forward(self: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if image in tensors["index"].tolist():
            raise MemoryError
        found: dict[str, torch.Tensor] = plain(self, tensors)
        return found

    given: Any = {"shard_size": 4, "batch_size": 2, "prefetch": prefetch, "threads": 2}
    monkeypatch.setattr(toy.ToyModel, "is_reentrant", True, raising=False)
    monkeypatch.setattr(toy.ToyModel, "forward", forward)
    with pytest.raises(MachineFault):
        toy.go(tmp_path / "out", {"n": 20}, **given)
    assert set(shard_files(tmp_path / "out" / ROWS)) == kept
    monkeypatch.setattr(toy.ToyModel, "forward", plain)
    for name in ("out", "whole"):
        toy.go(tmp_path / name, {"n": 20}, **given)
    ours, undisturbed = ({p.name: p.read_bytes() for p in (tmp_path / n / ROWS).iterdir()} for n in ("out", "whole"))
    assert ours == undisturbed
