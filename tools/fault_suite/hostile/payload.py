"""What runs when a pickle is trusted: it creates one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Payload:
    """Unpickling this creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.canary, "w")
