"""Ctrl-C and SIGTERM: raised at once, but never while a lock is held that other threads need.

``Future.result`` takes the future's lock in Python code. An exception that a signal handler raises between taking the
lock and entering the ``with`` block leaves it taken for ever: the thread that computes the result then waits in
``set_result``, and the process, which joins its threads at exit, never ends. So a signal that arrives while
``result_of`` waits is noted, and raised when the wait is over or at the next look, a tenth of a second later at most.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LOOK_S = 0.1


class Terminate(KeyboardInterrupt):
    """SIGTERM, on its way up through the same code as Ctrl-C."""


class _State:
    """Of the main thread, the only one that runs signal handlers."""

    is_guarded = False
    waiting: type[KeyboardInterrupt] | None = None


def result_of(future: Future[T]) -> T:
    """``future.result()``, which a signal may end but not break.

    Raises:
        KeyboardInterrupt, Terminate: a signal arrived. Whatever the future holds.
    """
    while True:
        with guarded():
            try:
                return future.result(LOOK_S)
            except TimeoutError:
                if future.done() and not future.cancelled():  # it holds a TimeoutError of its own, or has just ended
                    return future.result()


class AtOnce(Executor):
    """A pool without threads: what is submitted is done before ``submit`` returns.

    On one core threads add switches and lose each other's caches, and nothing overlaps but waiting for files.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # as in a thread: raised to whoever asks for the result
            future.set_exception(error)
        return future


def pool_of(threads: int, name: str, *, at_once: bool) -> Executor:
    """A pool of threads, or one that does everything at once."""
    return AtOnce() if at_once else ThreadPoolExecutor(threads, thread_name_prefix=name)


def end(pool: Executor, *, wait: bool) -> None:
    """Shut a pool down; what has not begun is dropped."""
    with guarded():
        pool.shutdown(wait=False, cancel_futures=True)
    if wait:
        pool.shutdown(wait=True)


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM raises where Ctrl-C does, and both wait for ``result_of``.

    Only the main thread may install handlers; a handler for Ctrl-C that somebody else installed stays.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.is_guarded, _State.waiting = False, None
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _handle)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: object) -> None:
    kind = Terminate if number == signal.SIGTERM else KeyboardInterrupt
    if not _State.is_guarded:
        raise kind
    _State.waiting = kind


@contextmanager
def guarded() -> Iterator[None]:
    """Signals wait until the block has ended; in threads other than the main one there is nothing to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.is_guarded = True
    try:
        yield
    finally:
        _State.is_guarded = False
        kind, _State.waiting = _State.waiting, None
        if kind is not None:
            raise kind
