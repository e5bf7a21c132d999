"""The other end of ``child``: start it, wait, and turn every way it can end into an answer."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from sapiens_bench.workers import Child, ChildDied, ChildTimedOut, Reply

_WORK = "sapiens_bench.profiling.child:work"


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
    child = Child()
    try:
        reply = child.ask(_WORK, job, timeout_s)
    except ChildTimedOut:
        return Answer(None, f"it did not finish within {timeout_s:.0f} s and was stopped")
    except ChildDied as death:
        return _death(death.code, death.said)
    finally:
        child.close()
    if not reply.error:
        return Answer(reply.value)
    return Answer(None, f"{reply.error}: {_short(reply)}", reply.memory)


def _short(reply: Reply) -> str:
    lines = reply.message.strip().splitlines()
    return " ".join(lines[:4])[:600] or reply.error


def _death(code: int, said: str) -> Answer:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        killed = -code == signal.SIGKILL
        why = " (the system does this when memory runs out)" if killed else ""
        return Answer(None, f"its process was ended by {name}{why}", killed)
    return Answer(None, f"its process ended with code {code}: {said[:300] or 'it said nothing'}")
