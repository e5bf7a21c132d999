"""One flipped bit in a committed shard of rows or predictions, or in a commit record."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from fault_suite.tally import CELL, Tally, Unbroken, judge
from fault_suite.toy_runs import DATA, FIELDS
from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.engine.events import ShardDone
from sapiens_bench.store.record import read_run
from sapiens_bench.testing import toy


def bits_flipped(folder: Path, n_flips: int, seed: int) -> Tally:
    """Flip, look with `verify run`, run the same command; a flip that `verify run` misses is a complaint."""
    rng, tally = random.Random(seed), Tally()
    whole = folder / "unbroken"
    toy.go(whole, DATA, **FIELDS)
    unbroken = Unbroken.of(whole)
    for number in range(n_flips):
        out = folder / f"flipped-{number}"
        shutil.copytree(whole, out)
        kind = rng.choice(("rows", "preds"))
        path = rng.choice(sorted((out / kind / CELL).glob("shard-*" if rng.random() < 0.8 else "commit-*")))
        flip(path, rng)
        tally.injected += 1
        complaints = check_run(out, read_run(out), toy.toy_catalog()).all_faults()
        if complaints:
            tally.met += 1
        elif path.suffix == ".parquet" or path.read_bytes().strip() != _was(path, out, unbroken).strip():
            tally.complaints.append(f"`verify run` did not see a flipped bit in {path.relative_to(out)}")
        made: list[int] = []
        toy.go(out, DATA, on_event=lambda e: made.append(e.number) if isinstance(e, ShardDone) else None, **FIELDS)  # noqa: B023
        tally.recomputed.append(len(made))
        judge(tally, out, unbroken)
        shutil.rmtree(out)
    return tally


def _was(path: Path, out: Path, unbroken: Unbroken) -> bytes:
    return unbroken.files[str(path.relative_to(out))]


def flip(path: Path, rng: random.Random) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)
