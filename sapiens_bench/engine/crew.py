"""Shards for workers that may die: who does what, who is charged, and when it is enough. Knows nothing of Ray.

A worker has one shard in work and one ahead, which it loads meanwhile. When it dies nobody can tell which of the two
was to blame: both are charged and go back, and from then on each is given alone, so that a second and a third charge
are certain. With the third a shard is given up (``crashed`` says what becomes of it).

Only what is in work, what is ahead and what was charged is an object here: the rest are numbers.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from sapiens_bench.errors import MachineFault

TRIES = 3  # workers that a shard may cost
MACHINE_GONE = "its machine is gone"  # how a worker ended of which that is known
MOST_FAILED_STARTS = 5  # in a row
POLL_S = 0.5
SAY_AFTER_S = 15.0
PATIENCE_S = 600.0  # without a single worker; a cluster that grows on demand takes minutes


class Item(NamedTuple):
    """A shard of a cell, by their numbers."""

    cell: int
    shard: int


class Answer(NamedTuple):
    """What a worker says of its shard: committed; its cell cannot be filled; or the process is no good any more."""

    kind: Literal["done", "refused", "unfit"]
    about: Any = None  # of "unfit": the reason


class Joined(NamedTuple):
    """A worker has started."""

    worker: int


class Answered(NamedTuple):
    """A worker is through with its shard."""

    worker: int
    answer: Answer


class Died(NamedTuple):
    """A worker is gone."""

    worker: int
    why: str


class Lost(NamedTuple):
    """A shard that was given up, and what happened to each worker that tried."""

    item: Item
    whys: list[str]


class Pool(Protocol):
    """Where workers come from."""

    def size(self) -> int:
        """How many workers there may be at this moment."""
        ...

    def start(self) -> int:
        """Ask for a worker; ``Joined`` follows, with this number, or ``Died``."""
        ...

    def give(self, worker: int, item: Item, ahead: Item | None) -> None:
        """A shard to be computed now, and the one that will follow."""
        ...

    def stop(self, worker: int) -> None:
        """End a worker. Nothing more is heard of it."""
        ...

    def wait(self, seconds: float) -> Sequence[Joined | Answered | Died]:
        """What has happened, at the latest after so many seconds."""
        ...

    def wanted(self) -> str:
        """What one worker needs and what there is, for a message."""
        ...


class Queue:
    """Shards that are still to be done, by model.

    A worker stays with its model while there is work for it, and then takes the model with most shards left for each
    worker that is at it (tools/scale_simulation.py compares this with one queue for all).

    Args:
        cells: model and shard numbers of every cell.
    """

    def __init__(self, cells: Sequence[tuple[str, Sequence[int]]]) -> None:
        self._model = [model for model, _ in cells]
        self._left = [array("q", reversed(numbers)) for _, numbers in cells]  # the next one is the last
        self._cells: dict[str, list[int]] = {}
        for cell, model in enumerate(self._model):
            self._cells.setdefault(model, []).append(cell)
        self._at: Counter[str] = Counter()
        self._alone: deque[Item] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._left)) + len(self._alone)

    def take(self, loaded: str) -> tuple[Item, bool] | None:
        """The next shard for a worker that has this model ("" for none), and whether it is to be given alone.

        Those that were charged come last: what is sound is not held up by them.
        """
        left = {model: sum(len(self._left[cell]) for cell in cells) for model, cells in self._cells.items()}
        open_ones = [model for model, n in left.items() if n]
        if not open_ones:
            if not self._alone:
                return None
            item = self._alone.popleft()
            self._move(loaded, self._model[item.cell])
            return item, True
        chosen = (
            loaded if loaded in open_ones else max(open_ones, key=lambda model: left[model] / (1 + self._at[model]))
        )
        self._move(loaded, chosen)
        cell = next(cell for cell in self._cells[chosen] if self._left[cell])
        return Item(cell, self._left[cell].pop()), False

    def take_from(self, cell: int) -> Item | None:
        """The next shard of a cell."""
        return Item(cell, self._left[cell].pop()) if self._left[cell] else None

    def back(self, item: Item) -> None:
        """A shard that was not begun."""
        self._left[item.cell].append(item.shard)

    def back_alone(self, item: Item) -> None:
        """A shard that may have killed a worker."""
        self._alone.append(item)

    def drop(self, cell: int) -> None:
        """Nothing more of this cell."""
        self._left[cell] = array("q")
        self._alone = deque(item for item in self._alone if item.cell != cell)

    def model_of(self, item: Item) -> str:
        """The model that a shard needs."""
        return self._model[item.cell]

    def leave(self, model: str) -> None:
        """A worker with this model is gone."""
        if model:
            self._at[model] -= 1

    def _move(self, before: str, now: str) -> None:
        if before != now:
            self.leave(before)
            self._at[now] += 1


@dataclass(slots=True)
class _Hand:
    """What is known of a worker."""

    joined: bool = False
    model: str = ""
    now: Item | None = None
    ahead: Item | None = None


class Crew:
    """The loop that keeps workers busy.

    Args:
        on_answer: told of every shard that is done and of every cell that is refused; what it raises ends the work.
        on_note: gets sentences for the user.
    """

    def __init__(
        self,
        pool: Pool,
        queue: Queue,
        on_answer: Callable[[Item, int, Answer], None],
        on_note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._queue, self._on_answer, self._on_note, self._clock = pool, queue, on_answer, on_note, clock
        self._hands: dict[int, _Hand] = {}
        self._idle: deque[int] = deque()
        self._charges: dict[Item, list[str]] = {}
        self._refused: set[int] = set()
        self._failed_starts = 0
        self._alone_since = clock()
        self._has_said = False
        self.lost: list[Lost] = []

    def work(self) -> list[Lost]:
        """Until every shard is done, refused or given up; the latter.

        Raises:
            MachineFault: no worker can be had. Whatever the pool and ``on_answer`` raise.
        """
        while len(self._queue) or any(hand.now for hand in self._hands.values()):
            self._hire()
            for happened in self._pool.wait(POLL_S):
                self._take_in(happened)
            self._employ()
            self._mind_the_gap()
        return self.lost

    def _hire(self) -> None:
        busy = sum(hand.now is not None for hand in self._hands.values())
        for _ in range(min(self._pool.size(), busy + len(self._queue)) - len(self._hands)):
            self._hands[self._pool.start()] = _Hand()

    def _take_in(self, happened: Joined | Answered | Died) -> None:
        hand = self._hands.get(happened.worker)
        if hand is None:
            return
        if isinstance(happened, Died):
            self._bury(happened.worker, hand, happened.why)
        elif isinstance(happened, Joined):
            hand.joined, self._failed_starts = True, 0
            self._idle.append(happened.worker)
        elif happened.answer.kind == "unfit":
            self._pool.stop(happened.worker)
            self._bury(happened.worker, hand, str(happened.answer.about))
        else:
            self._settle(happened.worker, hand, happened.answer)

    def _settle(self, worker: int, hand: _Hand, answer: Answer) -> None:
        item, hand.now = hand.now, None
        assert item is not None
        if answer.kind == "done":
            self._charges.pop(item, None)
            self._on_answer(item, worker, answer)
        elif item.cell not in self._refused:
            self._refused.add(item.cell)
            self._queue.drop(item.cell)
            self._on_answer(item, worker, answer)
        if hand.ahead is not None and hand.ahead.cell in self._refused:
            hand.ahead = None
        self._idle.append(worker)

    def _bury(self, worker: int, hand: _Hand, why: str) -> None:
        del self._hands[worker]
        self._queue.leave(hand.model)
        if not hand.joined:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise MachineFault(f"{self._failed_starts} workers in a row ended while they started: {why}")
        for item in (hand.now, hand.ahead):
            if item is not None and item.cell not in self._refused:
                self._charge(item, why)
        if hand.now is not None:
            self._on_note(f"A worker is gone; what it had is given to another. {why}")

    def _charge(self, item: Item, why: str) -> None:
        whys = self._charges.setdefault(item, [])
        whys.append(why)
        if len(whys) < TRIES:
            self._queue.back_alone(item)
        else:
            self.lost.append(Lost(item, self._charges.pop(item)))

    def _employ(self) -> None:
        """Give work to whoever has none."""
        for _ in range(len(self._idle)):
            worker = self._idle.popleft()
            hand = self._hands.get(worker)
            if hand is None:
                continue
            item, is_alone = hand.ahead, False
            if item is None:
                found = self._queue.take(hand.model)
                if found is None:
                    self._idle.append(worker)
                    continue
                item, is_alone = found
                hand.model = self._queue.model_of(item)
            # Near the end nothing is reserved: another worker would have nothing to do meanwhile.
            may_reserve = not is_alone and len(self._queue) >= len(self._hands)
            hand.now, hand.ahead = item, self._queue.take_from(item.cell) if may_reserve else None
            self._pool.give(worker, item, hand.ahead)

    def _mind_the_gap(self) -> None:
        """Say when there is nobody to work, and end when that lasts."""
        if any(hand.joined for hand in self._hands.values()):
            self._alone_since, self._has_said = self._clock(), False
            return
        waited = self._clock() - self._alone_since
        if waited > PATIENCE_S:
            raise MachineFault(f"No worker could be had for {PATIENCE_S / 60:.0f} minutes: {self._pool.wanted()}")
        if waited > SAY_AFTER_S and not self._has_said:
            self._has_said = True
            self._on_note(f"Waiting for a worker: {self._pool.wanted()}")
