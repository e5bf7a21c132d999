"""Work in other processes: fresh interpreters that get jobs and give answers as lines of JSON.

Rendering, scans and profiling all start their processes here. A child

- imports this very package by its place on disk and nothing of the caller's script, so no ``__main__`` guard is needed;
- never has the working folder on its import path (``python -P``; relative, empty and working-folder entries of
  ``PYTHONPATH`` are dropped): a ``socket.py`` that lies there must not run;
- ends with its parent: the kernel kills it (Linux), a thread that watches the parent does (other POSIX systems), and
  everywhere its input ends;
- leaves Ctrl-C to the parent.

A job is ``"module:function"`` and one argument, argument and result are plain JSON values.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench import errors
from sapiens_bench.errors import SapiensBenchError, WorkerDied, machine_fault, out_of_memory

TRIES = 2  # of a job whose process died
GRACE_S = 20.0  # after Ctrl-C, for jobs that have begun; what they write appears whole or not at all anyway
_IDLE_S = 2.0  # for a process without work to end by itself
_POLL_S = 1.0
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Else glibc gives each large array back to the kernel, which zeroes its pages anew (a tenth of a rendering's time).
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(512 << 20)}
_BOOT = """
import importlib.util, os, sys
folder, parent = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "sapiens_bench", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
sys.modules["sapiens_bench"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["sapiens_bench"])
from sapiens_bench.workers import serve
serve(int(parent))
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a job came to: ``value``, or the exception it raised."""

    value: Any = None
    error: str = ""  # class of the exception; "" when there is a value
    message: str = ""
    errno: int | None = None  # of an OSError
    memory: bool = False  # it ran out, whatever the library at hand calls that
    trace: str = ""


class ChildDied(Exception):
    """The process ended without an answer: ``code`` as subprocess gives it, ``said`` the last line it wrote."""

    def __init__(self, code: int, said: str) -> None:
        self.code, self.said = code, said
        super().__init__(f"code {code}: {said}")


class ChildTimedOut(Exception):
    """The process was stopped because its time was up."""


class Child:
    """One process. For one thread at a time, which must live as long as the child does work (the kernel's signal is
    bound to the thread that started the child).

    Args: threads: how many numeric libraries may use; None leaves the environment as it is. shown: its stderr is ours.
    """

    def __init__(self, threads: int | None = None, *, shown: bool = False) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child; an unread pipe would block it
        package = str(Path(errors.__file__).resolve().parent)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, package, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if shown else self._stderr,
            env=child_environment(threads),
            text=True,
            encoding="utf-8",
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, function: str, argument: Any, timeout_s: float | None = None) -> Reply:
        """The result of ``function(argument)``.

        Raises:
            ChildDied, ChildTimedOut: there is none; the process is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(timeout_s or 0, expire)
        timer.daemon = True
        if timeout_s is not None:
            timer.start()
        line = ""
        try:
            with suppress(OSError):  # it died before it could read: the answer is missing as well
                self._process.stdin.write(json.dumps([function, argument]) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
            return Reply(**json.loads(line))
        except ValueError:
            code = self._process.wait()
            if expired.is_set():
                raise ChildTimedOut from None
            raise ChildDied(code, self._last_line()) from None
        except BaseException:  # Ctrl-C
            self._process.kill()
            raise
        finally:
            timer.cancel()

    def _last_line(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read()[-4096:].decode(errors="replace")
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def close(self) -> None:
        """End a process that has no work."""
        with suppress(OSError):  # unsent text of a killed process
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_IDLE_S)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()


def child_environment(threads: int | None) -> dict[str, str]:
    """This process's environment without anything that puts the working folder on the import path."""
    try:
        here = Path.cwd().resolve()
    except OSError:  # it was deleted
        here = None
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [entry for entry in entries if Path(entry).is_absolute() and Path(entry).resolve() != here]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(kept)}
    if not kept:
        del environment["PYTHONPATH"]
    if threads is None:
        return environment
    return {**_KEPT_MEMORY, **environment, **dict.fromkeys(_THREAD_LIMITS, str(threads))}


# The child's side ----------------------------------------------------------------------------------------------------


def serve(parent: int) -> None:
    """Answer every line of standard input with one line on standard output, until the input ends."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches every process of a terminal; the parent decides
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        out.write(_answer(*json.loads(line)) + "\n")
        out.flush()


def _answer(function: str, argument: Any) -> str:
    try:
        return json.dumps({"value": find(function)(argument)})
    except BaseException as error:  # any job may raise anything; the parent decides what it means
        return json.dumps(fault_of(error))


def fault_of(error: BaseException) -> dict[str, Any]:
    """An exception as plain values: the fields of a ``Reply``."""
    told = machine_fault(error) or error  # the chain of causes does not travel, so what matters of it goes first
    return {
        "error": type(told).__name__,
        "message": str(told),
        "errno": told.errno if isinstance(told, OSError) else None,
        "memory": out_of_memory(told),
        "trace": "" if isinstance(error, SapiensBenchError) else traceback.format_exc(),
    }


def find(function: str) -> Callable[[Any], Any]:
    """The function that ``"module:name"`` stands for."""
    module, _, name = function.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return found


def _end_with(parent: int) -> None:
    """End when the parent does, in the middle of a job as well."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.name == "posix" and os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


# Many jobs -----------------------------------------------------------------------------------------------------------

OnDone = Callable[[int, Any], None]
Elsewhere = Callable[[str, Sequence[Any], Path, OnDone], None]  # function, arguments, folder, on_done
_ELSEWHERE: ContextVar[Elsewhere | None] = ContextVar("sapiens_bench_jobs_elsewhere", default=None)


@contextmanager
def sent_to(elsewhere: Elsewhere) -> Iterator[None]:
    """Jobs go there meanwhile."""
    token = _ELSEWHERE.set(elsewhere)
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)


def run_all(function: str, arguments: Sequence[Any], workers: int, on_done: OnDone, folder: Path) -> None:
    """``function`` on every argument, in up to ``workers`` processes; below 2 in this one; see also ``sent_to``.

    Args:
        on_done: gets index and result of each job in the calling thread, in any order.
        folder: what jobs write below; other machines have to see it.

    On Ctrl-C, or when a job raises, nothing new begins; jobs that have begun may finish within ``GRACE_S``.

    Raises:
        WorkerDied: a process died ``TRIES`` times over one job.
        MemoryError, OSError, SapiensBenchError: as the job raised it.
        RuntimeError: any other exception of a job, with its traceback.
    """
    if (elsewhere := _ELSEWHERE.get()) is not None and arguments:
        elsewhere(function, arguments, folder, on_done)
        return
    if workers < 2 or len(arguments) < 2:
        call = find(function)
        for index, argument in enumerate(arguments):
            on_done(index, call(argument))
        return
    crew = _Crew(function, arguments, min(workers, len(arguments)))
    try:
        for _ in arguments:
            index, value = crew.next()
            on_done(index, value)
    finally:
        crew.close()


class _Crew:
    """Threads that each drive one process and take the next job when theirs is done."""

    def __init__(self, function: str, arguments: Sequence[Any], size: int) -> None:
        self._function, self._arguments = function, arguments
        self._waiting = iter(range(len(arguments)))
        self._lock = threading.Lock()
        # SimpleQueue: written in C, so that Ctrl-C cannot leave a lock of it taken
        self._done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        self._children: set[Child] = set()
        self._is_stopping = False
        self._threads = [threading.Thread(target=self._drive, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def next(self) -> tuple[int, Any]:
        """Index and result of a job; raises what the job raised."""
        while True:
            with suppress(queue.Empty):
                index, value, error = self._done.get(timeout=_POLL_S)  # a bound, so that Ctrl-C is seen everywhere
                if error is not None:
                    raise error
                return index, value

    def _drive(self) -> None:
        child: Child | None = None
        while (index := self._take()) is not None:
            try:
                child, value = self._try(child, self._arguments[index])
                self._done.put((index, value, None))
            except BaseException as error:
                child = None
                with self._lock:
                    self._is_stopping = True
                self._done.put((index, None, error))
        if child is not None:
            self._close(child)

    def _take(self) -> int | None:
        with self._lock:
            return None if self._is_stopping else next(self._waiting, None)

    def _try(self, child: Child | None, argument: Any) -> tuple[Child, Any]:
        said = ""
        for _ in range(TRIES):
            child = child or self._start()
            try:
                reply = child.ask(self._function, argument)
                if reply.error:
                    raise error_of(reply)
                return child, reply.value
            except ChildDied as death:
                said = death.said
                self._close(child)
                child = None
                if self._is_stopping:
                    break
            except BaseException:
                self._close(child)
                raise
        raise WorkerDied(
            f"A process that works for this one died {TRIES} times over one job (out of memory?). {said} What is made "
            "is kept: run the same command again, with --workers 1 if it happens again.".replace(".  ", ". ")
        )

    def _start(self) -> Child:
        child = Child(threads=1)  # many processes with many threads each only wait for one another
        with self._lock:
            self._children.add(child)
        return child

    def _close(self, child: Child) -> None:
        child.close()
        with self._lock:
            self._children.discard(child)

    def close(self) -> None:
        """Nothing new begins; returns when every process has ended."""
        with self._lock:
            self._is_stopping = True
        until = time.monotonic() + GRACE_S
        try:
            for thread in self._threads:
                thread.join(max(0.0, until - time.monotonic()))
        finally:  # also on a second Ctrl-C
            with self._lock:
                late = list(self._children)
            for child in late:
                child.kill()
        for thread in self._threads:
            thread.join()


def _plain(kind: type[SapiensBenchError]) -> type[SapiensBenchError]:
    """The class, or what it is a kind of: some take more than their text, which is all that has travelled."""
    ours = [base for base in kind.__mro__ if issubclass(base, SapiensBenchError)]
    own = [i for i, base in enumerate(ours) if "__init__" in vars(base)]
    return ours[own[-1] + 1 if own else 0]


def error_of(reply: Reply) -> Exception:
    """The exception that a reply tells of."""
    if reply.memory or reply.error == "MemoryError":
        return MemoryError(reply.message)
    if reply.errno is not None:
        return OSError(reply.errno, reply.message)
    kind = getattr(errors, reply.error, None)
    if isinstance(kind, type) and issubclass(kind, SapiensBenchError):
        return _plain(kind)(reply.message)
    return RuntimeError(f"{reply.error}: {reply.message}\n{reply.trace}")
