"""Kill -9 of the processes that render: the pictures must come out as without it."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import psutil

from fault_suite.tally import Tally
from sapiens_bench.adapters.synthetic.files import Store, make_all
from sapiens_bench.errors import WorkerDied

SIZE = (64, 48)


def renderers_killed(folder: Path, n_kills: int, seed: int, n_pictures: int = 6, workers: int = 2) -> Tally:
    """Kill one worker at random moments while a set is rendered; the set must be whole and the same.

    ``rows_lost`` are pictures that are missing, ``rows_corrupt`` files that differ, ``rows_duplicated`` files too many.
    """
    rng, tally = random.Random(seed), Tally()
    began = time.monotonic()
    whole = _store(folder / "unbroken")
    make_all(whole, range(n_pictures), workers, lambda done, total: None)
    seconds = time.monotonic() - began
    expected = _files(whole)
    number = 0
    while tally.wants_more(n_kills):
        store = _store(folder / f"killed-{number}")
        number += 1
        killer = _Killer(rng.random() * seconds)
        try:
            make_all(store, range(n_pictures), workers, lambda done, total: None)
        except WorkerDied as death:
            tally.complaints.append(str(death))
        killer.stop()
        tally.injected += 1
        tally.met += killer.killed
        found = _files(store)
        tally.rows_lost += len(expected.keys() - found.keys())
        tally.rows_duplicated += len(found.keys() - expected.keys())
        tally.rows_corrupt += sum(found[name] != data for name, data in expected.items() if name in found)
    return tally


def _store(root: Path) -> Store:
    return Store(root, "val", *SIZE)


def _files(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.folder.iterdir())}


class _Killer:
    """Waits, then kills one rendering process of this one."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s, self.killed = wait_s, 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._is_over = threading.Event()
        self._thread.start()

    def _work(self) -> None:
        if self._is_over.wait(self.wait_s):
            return
        workers = [c for c in psutil.Process().children() if "sapiens_bench.workers" in " ".join(c.cmdline())]
        if workers:
            workers[0].kill()
            self.killed = 1

    def stop(self) -> None:
        """The pictures are made."""
        self._is_over.set()
        self._thread.join()
