"""Who gets which shard, who is charged for a dead worker, when a shard is given up; without Ray, without waiting."""

from __future__ import annotations

import random
import tracemalloc
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.engine.crew import (
    MOST_FAILED_STARTS,
    PATIENCE_S,
    TRIES,
    Answer,
    Answered,
    Crew,
    Died,
    Item,
    Joined,
    Lost,
    Queue,
)
from sapiens_bench.errors import MachineFault

Happened = Joined | Answered | Died


class FakePool:
    """Workers that do what a test says, each as fast as the others or, with a seed, at random.

    Args:
        size: how many there may be; a function is asked each time.
        kills: shards that end the worker which has them in work or ahead.
        refused: cells that no worker can fill.
        unfit: how often a shard finds its process no good any more.
    """

    def __init__(
        self,
        size: int | Callable[[], int] = 2,
        kills: Sequence[Item] = (),
        refused: Sequence[int] = (),
        unfit: dict[Item, int] | None = None,
        seed: int | None = None,
    ) -> None:
        self._size = size if callable(size) else lambda: size
        self.kills, self.refused, self.unfit = set(kills), set(refused), dict(unfit or {})
        self.rng, self.events, self.n = None if seed is None else random.Random(seed), deque[Happened](), 0
        self.given: list[tuple[int, Item, Item | None]] = []
        self.keeps_log = True
        self.alive: set[int] = set()
        self.in_work: dict[int, tuple[Item, Item | None]] = {}
        self.most_in_flight = 0

    def size(self) -> int:
        return self._size()

    def start(self) -> int:
        self.n += 1
        self.alive.add(self.n)
        self.events.append(Joined(self.n))
        return self.n

    def give(self, worker: int, item: Item, ahead: Item | None) -> None:
        assert worker in self.alive
        assert worker not in self.in_work, "a worker has one shard in work"
        self.in_work[worker] = item, ahead
        self.most_in_flight = max(self.most_in_flight, sum(1 + (b is not None) for _, b in self.in_work.values()))
        if self.keeps_log:
            self.given.append((worker, item, ahead))
        self.events.append(self._outcome(worker, item, ahead))

    def _outcome(self, worker: int, item: Item, ahead: Item | None) -> Happened:
        if {item, ahead} & self.kills:
            return Died(worker, f"killed over {item}")
        if self.unfit.get(item, 0):
            self.unfit[item] -= 1
            return Answered(worker, Answer("unfit", "out of memory"))
        return Answered(worker, Answer("refused" if item.cell in self.refused else "done"))

    def stop(self, worker: int) -> None:
        self.alive.discard(worker)
        self.in_work.pop(worker, None)

    def wait(self, seconds: float) -> list[Happened]:
        if not self.events:
            return []
        if self.rng is not None:
            self.events.rotate(self.rng.randrange(len(self.events)))
        happened = self.events.popleft()
        self.in_work.pop(happened.worker, None)
        if isinstance(happened, Died):
            self.alive.discard(happened.worker)
        return [happened]

    def wanted(self) -> str:
        return "each needs 1 GPU(s); the cluster has no machine."


class Told(list[tuple[Item, str]]):
    """What the crew passed on."""

    def __call__(self, item: Item, worker: int, answer: Answer) -> None:
        self.append((item, answer.kind))

    def done(self) -> list[Item]:
        return [item for item, kind in self if kind == "done"]


def work(pool: FakePool, cells: Sequence[tuple[str, Sequence[int]]], **more: Any) -> tuple[Told, list[Lost], list[str]]:
    told, notes = Told(), list[str]()
    lost = Crew(pool, Queue(cells), told, notes.append, **more).work()
    return told, lost, notes


def every(cells: Sequence[tuple[str, Sequence[int]]]) -> set[Item]:
    return {Item(cell, shard) for cell, (_, numbers) in enumerate(cells) for shard in numbers}


CELLS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12).map(range)), min_size=1, max_size=5)


@given(CELLS, st.integers(1, 6), st.integers(0, 99), st.data())
@settings(deadline=None, max_examples=150)
def test_every_shard_is_done_once_or_given_up_with_the_reason_of_each_death(
    cells: list[tuple[str, range]], size: int, seed: int, data: st.DataObject
) -> None:
    shards = sorted(every(cells))
    kills = data.draw(st.sets(st.sampled_from(shards), max_size=3)) if shards else set()
    told, lost, _ = work(FakePool(size, sorted(kills), seed=seed), cells)
    assert sorted(told.done()) == sorted(set(shards) - kills)
    assert {each.item for each in lost} == kills
    assert all(len(each.whys) == TRIES for each in lost)


def test_what_rode_along_with_a_killer_is_charged_once_and_then_given_alone() -> None:
    cells = [("a", range(20))]
    killer = Item(0, 3)
    pool = FakePool(2, [killer])
    _, lost, notes = work(pool, cells)
    assert [each.item for each in lost] == [killer]
    deaths = [(item, ahead) for _, item, ahead in pool.given if killer in (item, ahead)]
    assert len(deaths) == TRIES
    assert all(pair == (killer, None) for pair in deaths[1:])
    assert sum("worker is gone" in note for note in notes) == TRIES


def test_charged_shards_come_last() -> None:
    pool = FakePool(1, [Item(0, 0)])
    work(pool, [("a", range(6)), ("b", range(3))])
    items = [item for _, item, _ in pool.given]
    assert sorted(items[-3:]) == [Item(0, 0), Item(0, 0), Item(0, 1)]
    assert set(items[1:-3]) == every([("a", range(6)), ("b", range(3))]) - set(items[-3:])


def test_the_shard_ahead_is_the_next_in_work() -> None:
    pool = FakePool(3, seed=4)
    work(pool, [("a", range(40)), ("b", range(17))])
    ahead: dict[int, Item | None] = {}
    for worker, item, then in pool.given:
        assert ahead.get(worker) in (None, item)
        assert then is None or then.cell == item.cell
        ahead[worker] = then
    assert sum(then is not None for _, _, then in pool.given) > 40


def test_near_the_end_nothing_is_reserved_while_another_worker_has_nothing_to_do() -> None:
    pool = FakePool(2)
    work(pool, [("a", range(16))])
    assert [then for _, _, then in pool.given[-2:]] == [None, None]
    assert Counter(worker for worker, _, _ in pool.given) == {1: 8, 2: 8}


def test_a_worker_stays_with_its_model_and_models_with_most_work_get_most_workers() -> None:
    pool = FakePool(4, seed=1)
    work(pool, [("a", range(60)), ("b", range(30)), ("a", range(40))])
    model = {0: "a", 1: "b", 2: "a"}
    seen: dict[int, list[str]] = {}
    for worker, item, _ in pool.given:
        seen.setdefault(worker, []).append(model[item.cell])
    switches = sum(a != b for models in seen.values() for a, b in pairwise(models))
    assert switches <= 4  # near the end whoever has nothing to do goes where work is left
    assert Counter(models[0] for models in seen.values()) == {"a": 3, "b": 1}


def test_a_refused_cell_is_told_of_once_and_the_others_are_done() -> None:
    cells = [("a", range(9)), ("b", range(9))]
    pool = FakePool(4, refused=[1])
    told, lost, _ = work(pool, cells)
    assert sorted(told.done()) == [Item(0, shard) for shard in range(9)]
    assert [item.cell for item, kind in told if kind == "refused"] == [1]
    assert lost == []


def test_a_worker_whose_memory_ran_out_is_ended_and_its_shard_tried_elsewhere() -> None:
    pool = FakePool(1, unfit={Item(0, 2): 1})
    told, lost, _ = work(pool, [("a", range(5))])
    assert sorted(told.done()) == [Item(0, shard) for shard in range(5)]
    assert lost == []
    assert pool.alive == {2}


def test_a_shard_that_no_memory_is_enough_for_is_given_up() -> None:
    _, lost, _ = work(FakePool(1, unfit={Item(0, 2): 99}), [("a", range(5))])
    assert lost == [Lost(Item(0, 2), ["out of memory"] * TRIES)]


def test_workers_that_end_while_they_start_end_the_work() -> None:
    class Stillborn(FakePool):
        def start(self) -> int:
            self.n += 1
            self.events.append(Died(self.n, "no such library"))
            return self.n

    pool = Stillborn(2)
    with pytest.raises(MachineFault, match=f"{MOST_FAILED_STARTS} workers in a row .*: no such library"):
        work(pool, [("a", range(5))])


def test_without_any_worker_it_says_so_and_gives_up_in_the_end() -> None:
    class Nobody(FakePool):
        def start(self) -> int:
            self.n += 1
            return self.n

    told, notes, now = Told(), list[str](), [0.0]

    def clock() -> float:
        now[0] += 10.0
        return now[0]

    with pytest.raises(MachineFault, match=r"No worker could be had .* each needs 1 GPU"):
        Crew(Nobody(), Queue([("a", range(5))]), told, notes.append, clock).work()
    assert now[0] > PATIENCE_S
    assert notes == ["Waiting for a worker: each needs 1 GPU(s); the cluster has no machine."]


def test_a_cluster_that_grows_gets_more_workers_and_no_more_than_there_are_shards() -> None:
    sizes = iter([1] * 5 + [3] * 1000)
    pool = FakePool(lambda: next(sizes))
    told, _, _ = work(pool, [("a", range(30))])
    assert len(told.done()) == 30
    assert pool.n == 3
    pool = FakePool(50)
    work(pool, [("a", range(4))])
    assert pool.n == 4


def test_a_signal_ends_the_work_at_once() -> None:
    class Interrupted(FakePool):
        def wait(self, seconds: float) -> list[Happened]:
            if len(self.given) > 5:
                raise KeyboardInterrupt
            return super().wait(seconds)

    pool = Interrupted(2)
    with pytest.raises(KeyboardInterrupt):
        work(pool, [("a", range(100))])
    assert len(pool.given) <= 7


@pytest.mark.slow
def test_memory_does_not_grow_with_the_shards_that_are_done() -> None:
    n, marks = 100_000, []
    cells = [("a", array("q", range(n // 2))), ("b", array("q", range(n // 2)))]
    queue = Queue(cells)
    done = Counter[str]()

    def take(item: Item, worker: int, answer: Answer) -> None:
        done["all"] += 1
        if done["all"] in (n // 10, n - 1):
            marks.append(tracemalloc.get_traced_memory()[0])

    pool = FakePool(8)
    pool.keeps_log = False
    tracemalloc.start()
    try:
        Crew(pool, queue, take, [].append).work()
    finally:
        tracemalloc.stop()
    assert done["all"] == n
    assert marks[1] - marks[0] < 100_000  # bytes
    assert pool.most_in_flight <= 2 * 8
