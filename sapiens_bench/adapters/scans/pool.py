"""Rendering in several processes.

Each worker is a fresh interpreter that reads jobs as JSON lines and answers with outcomes. It imports this package and
nothing of the caller's script, so no ``if __name__ == "__main__"`` is needed, and a worker that dies (out of memory)
costs a second try of its one mesh.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sapiens_bench
from sapiens_bench.adapters.scans.cache import SampleFolder
from sapiens_bench.adapters.scans.render import Job, Outcome, job_from_json, job_to_json, run_job
from sapiens_bench.errors import StorageFull, StoreError

TRIES = 2  # of a job whose worker died
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START = "from sapiens_bench.adapters.scans.pool import serve; serve()"


def run_jobs(jobs: Sequence[Job], workers: int, on_done: Callable[[list[Outcome]], None]) -> None:
    """Run all jobs; ``on_done`` gets each job's outcomes in the calling thread, in any order.

    Raises:
        StoreError: the cache cannot be written. What is made stays.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            on_done(run_job(job))
        return
    crew = _Crew(min(workers, len(jobs)))
    try:
        for future in as_completed([crew.pool.submit(crew.run, job) for job in jobs]):
            on_done(future.result())
    finally:  # also on Ctrl-C: finished samples are on disk, half-made ones have no entry
        crew.close()


class _Crew:
    """Threads that each drive one worker process."""

    def __init__(self, size: int) -> None:
        self.pool = ThreadPoolExecutor(size, thread_name_prefix="sapiens-render")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._closing = False

    def run(self, job: Job) -> list[Outcome]:
        for _ in range(TRIES):
            answer = self._ask(json.dumps(job_to_json(job)))
            if answer is not None:
                return _outcomes(answer)
        detail = f"scan {job.scan}: the process that renders it died {TRIES} times (out of memory?); use fewer workers"
        for view in job.views:
            SampleFolder(Path(view.folder)).save_fault("worker.crash", detail)
        return [Outcome(view.key, code="worker.crash", detail=detail) for view in job.views]

    def _ask(self, line: str) -> dict[str, Any] | None:
        """The worker's answer, or None when it died."""
        process: subprocess.Popen[str] | None = getattr(self._local, "process", None)
        if process is None or process.poll() is not None:
            process = self._local.process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            return dict(json.loads(answer)) if answer else None
        except (OSError, ValueError):
            return None
        finally:
            if self._closing:
                raise StoreError("rendering was interrupted; the same command resumes")

    def _start(self) -> subprocess.Popen[str]:
        home = str(Path(sapiens_bench.__file__).resolve().parent.parent)
        path = os.pathsep.join(p for p in (home, os.environ.get("PYTHONPATH", "")) if p)
        environment = {**os.environ, **dict.fromkeys(_THREAD_LIMITS, "1"), "PYTHONPATH": path}
        with self._lock:
            if self._closing:
                raise StoreError("rendering was interrupted; the same command resumes")
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                text=True,
                encoding="utf-8",
            )
            self._processes.append(process)
        return process

    def close(self) -> None:
        with self._lock:
            self._closing = True
        for process in self._processes:
            process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # unsent text of a killed worker
                        pipe.close()


def _outcomes(answer: dict[str, Any]) -> list[Outcome]:
    if "error" in answer:
        raise (StorageFull if answer["full"] else StoreError)(answer["error"])
    return [Outcome(**outcome) for outcome in answer["outcomes"]]


def serve() -> None:
    """The worker: answer every line of stdin with one line on stdout, until stdin ends.

    Ctrl-C reaches every process of a terminal; the parent alone decides, and kills what it does not need.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"outcomes": [asdict(o) for o in run_job(job_from_json(json.loads(line)))]}
        except StoreError as error:
            answer = {"error": str(error), "full": isinstance(error, StorageFull)}
        out.write(json.dumps(answer) + "\n")
        out.flush()
