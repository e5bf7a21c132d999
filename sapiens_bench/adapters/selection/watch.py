"""Who is told how far the judging of a set has come: it happens while a request is planned, far below the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[str, int, int], None]  # (data set, images judged, of how many)
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Inside, ``watcher`` is told; from the thread that opens the set."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def tell(name: str, done: int, total: int) -> None:
    """Whoever watches."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(name, done, total)
