"""The other end of ``child``: start it, wait, and turn every way it can end into an answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """``result`` when the child succeeded, else ``message`` with what went wrong."""

    result: dict[str, Any] | None
    message: str = ""
    is_out_of_memory: bool = False


def ask(job: dict[str, Any], timeout_s: float | None = None) -> Answer:
    """Run one job in a fresh interpreter.

    The child inherits the environment, so that CUDA_VISIBLE_DEVICES and OMP_NUM_THREADS mean what they mean here. A
    child that is killed, hangs or says nothing sensible gives an answer too; Ctrl-C ends it with us.
    """
    command = [sys.executable, "-m", "sapiens_bench.profiling.child"]
    # The working directory is not put on the path: a folder `datasets` there would be imported (see packaging notes).
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        try:
            out, err = child.communicate(json.dumps(job).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return Answer(None, f"it did not finish within {timeout_s:.0f} s and was stopped")
        except BaseException:
            child.kill()
            raise
    return _answer(child.returncode, out, err.decode(errors="replace"))


def _answer(code: int, out: bytes, err: str) -> Answer:
    try:
        answer = json.loads(out)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("ok"):
        return Answer(answer["result"])
    if isinstance(answer, dict):
        return Answer(None, f"{answer['error']}: {answer['message']}", bool(answer.get("out_of_memory")))
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        killed = -code == signal.SIGKILL
        why = " (the system does this when memory runs out)" if killed else ""
        return Answer(None, f"its process was ended by {name}{why}", killed)
    last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "it said nothing")
    return Answer(None, f"its process ended with code {code}: {last[:300]}")
