"""How far a probe is, line by line."""

from __future__ import annotations

import sys
import time


class Lines:
    """One line on stderr now and then: what is being made, how far it is."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= self.EVERY_S:
            self._last = now
            sys.stderr.write(f"{what}: {done}/{total}\n")
            sys.stderr.flush()
