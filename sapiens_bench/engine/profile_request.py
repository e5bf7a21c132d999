"""What the user wants to know about costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sapiens_bench.cards.schema import MAX_INPUT_SIDE
from sapiens_bench.errors import UsageError
from sapiens_bench.profiling.timing import Budget
from sapiens_bench.store.fingerprint import fingerprint


@dataclass(frozen=True)
class ProfileRequest:
    """One profile: models x precisions x batch sizes."""

    models: tuple[str, ...] = ("all",)  # ids, globs, families, "all"; "<id>/encoder" for that part alone
    task: str | None = None  # None: every task
    device: str = "auto"
    precisions: tuple[str, ...] = ("fp32",)
    batches: tuple[int, ...] = (1,)
    input_hw: tuple[int, int] | None = None  # height, width; None: the card's
    compile: bool = False
    channels_last: bool = False
    counts_only: bool = False
    rounds: int = 1  # the whole list is gone through so often; the median round is kept
    budget: Budget = field(default_factory=Budget)
    threads: int | None = None  # CPU threads of the children; None: torch's choice
    timeout_s: float | None = 3600.0  # of one child
    out: Path | None = None  # None: not written
    cards: tuple[Path, ...] = ()
    weights_root: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # for the wrappers, over those of the card
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("models", "precisions", "batches", "cards"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str | int | Path) else tuple(value))
        wrong = [b for b in self.batches if b < 1]
        if wrong or not self.batches:
            raise UsageError(f"--batch must be at least 1, found {wrong[0] if wrong else 'nothing'}.")
        if not self.models or not self.precisions:
            raise UsageError("Name at least one model and one precision.")
        if self.rounds < 1:
            raise UsageError(f"rounds must be at least 1, found {self.rounds}.")
        if self.input_hw is not None and not all(16 <= side <= MAX_INPUT_SIDE for side in self.input_hw):
            raise UsageError(
                f"--input {self.input_hw[0]}x{self.input_hw[1]}: sides must lie between 16 and {MAX_INPUT_SIDE}."
            )

    def to(self, out: Path) -> ProfileRequest:
        """The same request, written to a folder."""
        return replace(self, out=out)

    def default_out(self) -> Path:
        """Below ./results/profiles, named after the request."""
        asked = {k: v for k, v in self.as_json().items() if k not in ("out", "timeout_s")}
        names = "+".join(self.models)
        name = re.sub(r"[^A-Za-z0-9._+-]+", "_", names)[:60].strip("_") or "all"
        kind = "counts" if self.counts_only else self.device.replace(":", "")
        return Path("results") / "profiles" / f"{name}-{kind}-{fingerprint(asked)[:8]}"

    def as_json(self) -> dict[str, Any]:
        """The request for profile.json."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "command"}
        values["budget"] = {f.name: getattr(self.budget, f.name) for f in fields(self.budget)}
        return {name: _plain(value) for name, value in values.items()}


def parse_batches(text: str) -> tuple[int, ...]:
    """ "1,2,4" -> (1, 2, 4).

    Raises:
        UsageError: not whole numbers.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise UsageError(f"--batch {text!r} is not a list of whole numbers such as 1,2,4.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)
