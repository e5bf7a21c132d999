"""What faults did to a run folder, counted against a run that nothing happened to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.store.record import RunRecord, read_run
from sapiens_bench.store.rows import committed, read_shard, shard_files
from sapiens_bench.testing import toy

CELL = Path("toy/toy/plain/toy-plain")  # the cell's folder below rows/ and preds/

MOST_MISSES = 4  # faults for each that is to hit work


@dataclass
class Tally:
    """Faults of one kind, and their damage after the same command was run again."""

    injected: int = 0
    met: int = 0  # of those, the ones that hit work: a run that had ended already is not met
    rows_lost: int = 0
    rows_duplicated: int = 0
    rows_corrupt: int = 0
    metric_diff: float = 0.0  # largest difference of any score or interval end from the unbroken run's
    complaints: list[str] = field(default_factory=list)  # of `verify run`, and of runs that ended as they must not
    recomputed: list[int] = field(default_factory=list)  # shards per fault that had been committed, and were made again
    recovery_s: list[float] = field(default_factory=list)  # from the fault to the next commit
    also: dict[str, int] = field(default_factory=dict)  # other things that happened to the same runs

    def wants_more(self, n: int) -> bool:
        """Whether fewer than ``n`` faults hit work so far. A kind that hits none is complained of, and ends."""
        if self.met < n and self.injected >= MOST_MISSES * n:
            self.complaints.append(f"only {self.met} of {self.injected} faults hit work")
            return False
        return self.met < n

    def figures(self) -> dict[str, Any]:
        """As they stand in the JSON file."""
        found: dict[str, Any] = {
            "injected": self.injected,
            "met_work": self.met,
            "rows_lost": self.rows_lost,
            "rows_duplicated": self.rows_duplicated,
            "rows_corrupt": self.rows_corrupt,
            "metric_diff_after_resume": self.metric_diff,
            "complaints": self.complaints[:5],
            **self.also,
        }
        if self.recomputed:
            found["shards_recomputed_per_fault"] = max(self.recomputed)
        if self.recovery_s:
            found["recovery_s_median"] = round(statistics.median(self.recovery_s), 3)
        return found

    @property
    def damage(self) -> tuple[int, int, int, float, list[str]]:
        """Lost, duplicated, corrupt, difference, complaints: all nothing when all is well."""
        return self.rows_lost, self.rows_duplicated, self.rows_corrupt, self.metric_diff, self.complaints


@dataclass(frozen=True)
class Unbroken:
    """A run of the toy that nothing happened to."""

    files: Mapping[str, bytes]  # shards of rows and predictions, and their commits
    scores: Mapping[str, Any]
    n_rows: int

    @staticmethod
    def of(out: Path) -> Unbroken:
        """The run in this folder."""
        record = read_run(out)
        return Unbroken(shard_bytes(out), scores_of(record), record.cells[0].counts.planned)


def shard_bytes(out: Path) -> dict[str, bytes]:
    """Path below the run folder -> bytes, of every shard and commit record of rows and predictions."""
    paths = [p for kind in ("rows", "preds") for p in sorted((out / kind / CELL).glob("*")) if p.name[0] != "."]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths if p.name.startswith(("shard-", "commit-"))}


def scores_of(record: RunRecord) -> dict[str, float]:
    """Every score of the run with its interval's ends, flat."""
    found: dict[str, float] = {}
    for cell in record.cells:
        for name, score in cell.scores.items():
            ends = {"value": score.value, "low": score.low, "high": score.high}
            found |= {f"{cell.model} {name} {end}": value for end, value in ends.items() if value is not None}
    return found


def committed_shards(out: Path) -> dict[int, bytes]:
    """Row shards that count at this moment."""
    folder = out / "rows" / CELL
    return {n: path.read_bytes() for n, path in shard_files(folder).items() if committed(folder, n) is not None}


def judge(tally: Tally, out: Path, unbroken: Unbroken) -> None:
    """Add what is wrong with a completed run folder to the tally."""
    folder = out / "rows" / CELL
    indices: list[int] = []
    for number in shard_files(folder):
        shard = read_shard(folder, number)
        if shard is not None:
            indices += shard[0]["index"].to_pylist()
    tally.rows_lost += len(set(range(unbroken.n_rows)) - set(indices))
    tally.rows_duplicated += len(indices) - len(set(indices))
    now = shard_bytes(out)
    for name in sorted(set(now) | set(unbroken.files)):
        if now.get(name) != unbroken.files.get(name):
            tally.rows_corrupt += 1
            tally.complaints.append(f"{name} is not what an unbroken run writes")
    record = read_run(out)
    scores = scores_of(record)
    if scores.keys() != unbroken.scores.keys():
        tally.complaints.append("the scores have other names")
    shared = scores.keys() & unbroken.scores.keys()
    differences = [abs(scores[name] - unbroken.scores[name]) for name in shared]
    tally.metric_diff = max([tally.metric_diff, *differences])
    tally.complaints += check_run(out, record, toy.toy_catalog()).all_faults()
    tally.complaints += [f"{path.name} was left behind" for path in out.rglob(".tmp-*")]
    if (out / "run.lock").exists():
        tally.complaints.append("run.lock was left behind")
