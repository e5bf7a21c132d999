"""Ctrl-C never leaves a lock taken that a working thread needs, and always arrives."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sapiens_bench.engine import stopping
from sapiens_bench.engine.stopping import AtOnce, Terminate, end, result_of, signals_raise


class InterruptedOnEntry(threading.Condition):
    """A condition whose lock has just been taken when the signal arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.n_signals = 1

    def __enter__(self) -> bool:
        taken = super().__enter__()
        if self.n_signals and threading.current_thread() is threading.main_thread():
            self.n_signals -= 1
            signal.raise_signal(signal.SIGINT)
        return taken


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def can_be_settled(future: Future[int], seconds: float = 60.0) -> bool:
    """Whether another thread can give the future its result."""
    thread = threading.Thread(target=lambda: future.set_result(1), daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def interrupted_future() -> Future[int]:
    future: Future[int] = Future()
    future._condition = InterruptedOnEntry()
    return future


def test_the_plain_wait_can_be_left_with_the_lock_taken() -> None:
    future = interrupted_future()
    with pytest.raises(KeyboardInterrupt):
        future.result(5.0)
    assert not can_be_settled(future, 0.3)


def test_the_guarded_wait_leaves_no_lock_and_raises() -> None:
    future = interrupted_future()
    with signals_raise(), pytest.raises(KeyboardInterrupt):
        result_of(future)
    assert can_be_settled(future)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminate)])
def test_a_signal_ends_a_long_wait(number: signal.Signals, kind: type[KeyboardInterrupt]) -> None:
    def signalled_wait() -> None:
        threading.Timer(0.05, signal.raise_signal, (number,)).start()
        result_of(Future())

    with signals_raise(), pytest.raises(kind) as caught:  # before the timer starts: a late signal would end the tests
        signalled_wait()
    assert caught.type is kind


def test_outside_of_a_wait_a_signal_raises_at_once() -> None:
    with signals_raise(), pytest.raises(Terminate):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_stays() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with signals_raise():
        signal.raise_signal(signal.SIGINT)
    assert seen == [signal.SIGINT]


def test_a_signal_that_came_too_late_does_not_hit_the_next_run() -> None:
    stopping._State.waiting = KeyboardInterrupt
    done: Future[int] = Future()
    done.set_result(3)
    with signals_raise():
        assert result_of(done) == 3


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [TimeoutError("its own"), ValueError("x")])
def test_an_exception_of_the_work_comes_through(error: Exception) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(type(error), match=str(error)):
        result_of(pool.submit(fail, error))


def test_slow_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_S", 0.01)
    with ThreadPoolExecutor(1) as pool:
        assert result_of(pool.submit(lambda: time.sleep(0.05) or 7)) == 7


def test_a_pool_without_threads_does_everything_at_once_and_raises_when_asked() -> None:
    pool, done = AtOnce(), []
    assert result_of(pool.submit(lambda: done.append(threading.current_thread()))) is None
    assert done == [threading.current_thread()]
    broken = pool.submit(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        result_of(broken)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.submit(interrupted)
    end(pool, wait=True)
