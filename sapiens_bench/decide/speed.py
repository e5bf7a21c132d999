"""The gate's speed tier: is CAND slower than BASE, by files that benchmarks wrote on one machine, taken in turn?

Evidence is a pytest-benchmark file (``--benchmark-json``) or a ``profile.json`` of ``sapiens-bench profile``; of each
benchmark the least time of every side counts, as in pytest-benchmark's own ``--benchmark-compare-fail=min:10%``: what
else the machine does can only add to it. A profile's parameters and multiply-adds are exact, so any change fails.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sapiens_bench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from sapiens_bench.profiling.record import ProfileRecord, ProfileRow

FEWEST = 2  # files a side: one of each cannot have been taken in turn


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one file says."""

    path: Path
    machine: Mapping[str, Any]  # must be the same for all
    began: datetime
    seconds: Mapping[str, float]  # benchmark -> least time
    counts: Mapping[str, Mapping[str, int]]  # benchmark -> what is exact


@dataclass(frozen=True, slots=True)
class SpeedChange:
    """One benchmark, or one exact count of it."""

    name: str
    kind: Literal["time", "parameters", "multiply-adds"]
    base: float  # seconds, or the count
    cand: float
    is_failed: bool

    @property
    def change(self) -> float:
        """(CAND - BASE) / BASE; NaN where BASE is 0."""
        return (self.cand - self.base) / self.base if self.base else math.nan

    @property
    def words(self) -> str:
        """``"movenet-thunder, fp32, batch 1 is slower by 23.0 % (10.0 ms -> 12.3 ms)"``."""
        if self.kind != "time":
            return f"{self.name}: {self.kind} {self.base:,.0f} -> {self.cand:,.0f}"
        word = "slower" if self.cand > self.base else "faster"
        return f"{self.name} is {word} by {abs(self.change):.1%} ({_time(self.base)} -> {_time(self.cand)})"


def judge_speed(base: Sequence[Path], cand: Sequence[Path], max_slowdown: float) -> tuple[SpeedChange, ...]:
    """Every benchmark of BASE against CAND.

    Args:
        base: at least two files a side, written in turn: base, cand, base, cand.
        max_slowdown: the share by which CAND may be slower.

    Raises:
        UsageError: too few files, another machine or setting, files not taken in turn, or a benchmark that CAND lacks.
        StoreError: a file that is neither of the two kinds.
    """
    if min(len(base), len(cand)) < FEWEST:
        raise UsageError(
            f"Speed is judged by at least {FEWEST} files of each side, taken in turn (BASE, CAND, BASE, CAND); found "
            f"{len(base)} of BASE and {len(cand)} of CAND. Repeat --speed-base and --speed-cand."
        )
    sides = [[read_evidence(path) for path in paths] for paths in (base, cand)]
    _check_comparable(*sides)
    old, new = (_least(side) for side in sides)
    if lost := sorted(old.keys() - new.keys()):
        raise UsageError(f"CAND has no time of {lost[0]}, which BASE has ({len(lost)} of {len(old)} are missing).")
    found = [
        SpeedChange(name, "time", old[name], new[name], new[name] > old[name] * (1 + max_slowdown)) for name in old
    ]
    return (*found, *_exact(*sides))


def read_evidence(path: Path) -> Evidence:
    """A pytest-benchmark file, or a profile (folder or file).

    Raises:
        StoreError: neither.
    """
    from sapiens_bench.profiling.record import read_profile

    if path.is_dir():
        return _of_profile(read_profile(path), path)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as JSON ({error}).") from None
    if isinstance(content, dict) and str(content.get("schema", "")).startswith("profile/"):
        return _of_profile(read_profile(path), path)
    try:
        return _of_pytest(content, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{path} is neither a pytest-benchmark file (--benchmark-json) nor a profile.json ({error!r})."
        ) from None


def _of_pytest(content: Any, path: Path) -> Evidence:
    machine, cpu = content["machine_info"], content["machine_info"].get("cpu") or {}
    facts = {name: machine.get(name) for name in ("node", "system", "machine")}
    facts |= {"cpu": cpu.get("brand_raw"), "cores": cpu.get("count")}
    seconds = {str(b["fullname"]): float(b["stats"]["min"]) for b in content["benchmarks"]}
    return Evidence(path, facts, _moment(content["datetime"]), _sound(seconds, path), {})


def _of_profile(record: ProfileRecord, path: Path) -> Evidence:
    hardware = record.hardware
    facts = {name: hardware.get(name) for name in ("device", "system", "cpu", "cores", "torch_threads", "gpus")}
    facts["threads"] = record.request.get("threads")
    timed = {_name(row): row for row in record.rows if row.latency is not None}
    seconds = {name: row.latency.stages.forward.minimum for name, row in timed.items() if row.latency}
    counts = {
        _name(row): {"parameters": row.counts.params_total, "multiply-adds": row.counts.macs_total}
        for row in record.rows
        if row.counts is not None
    }
    if not record.started:
        raise StoreError(f"{path} does not say when it was made.")
    return Evidence(path, facts, _moment(record.started), _sound(seconds, path), counts)


def _name(row: ProfileRow) -> str:
    return f"{row.model}, {row.precision}, batch {row.batch}{', compiled' if row.is_compiled else ''}"


def _moment(text: str) -> datetime:
    """Of ISO 8601; a moment without a zone is UTC, as pytest-benchmark writes it."""
    from datetime import UTC

    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _sound(seconds: Mapping[str, float], path: Path) -> Mapping[str, float]:
    for name, value in seconds.items():
        if not (math.isfinite(value) and value > 0):
            raise StoreError(f"{path}: the time of {name} is {value}.")
    return seconds


def _check_comparable(base: Sequence[Evidence], cand: Sequence[Evidence]) -> None:
    """One machine, and in turn: a side that ran before the other was warmed, throttled or disturbed differently."""
    first = base[0]
    for other in (*base[1:], *cand):
        for name in (*first.machine, *(n for n in other.machine if n not in first.machine)):
            here, there = first.machine.get(name), other.machine.get(name)
            if here != there:
                raise UsageError(
                    f"Speed is compared on one machine alone. {name}: {here!r} in {first.path}, {there!r} in "
                    f"{other.path}."
                )
    moments = [[e.began for e in side] for side in (base, cand)]
    if max(moments[0]) < min(moments[1]) or max(moments[1]) < min(moments[0]):
        raise UsageError(
            "The files of one side were all made before those of the other: a machine that grew warm or busy would "
            "look like a change. Take them in turn, in one job: BASE, CAND, BASE, CAND."
        )


def _least(side: Sequence[Evidence]) -> dict[str, float]:
    found: dict[str, float] = {}
    for evidence in side:
        for name, seconds in evidence.seconds.items():
            found[name] = min(seconds, found.get(name, math.inf))
    if not found:
        raise UsageError(f"{side[0].path} holds no time.")
    return found


def _exact(base: Sequence[Evidence], cand: Sequence[Evidence]) -> list[SpeedChange]:
    """Counts that changed; those that did not are not listed."""
    old = {name: counts for e in base for name, counts in e.counts.items()}
    new = {name: counts for e in cand for name, counts in e.counts.items()}
    kinds: tuple[Literal["parameters", "multiply-adds"], ...] = ("parameters", "multiply-adds")
    return [
        SpeedChange(name, kind, old[name][kind], new[name][kind], True)
        for name in old
        if name in new
        for kind in kinds
        if old[name][kind] != new[name][kind]
    ]


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
