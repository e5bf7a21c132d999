"""Kill -9 at random moments of writing: nothing acknowledged is lost, nothing is there twice, nothing is spoilt."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sapiens_bench.store.rows import committed, read_rows, shard_files

KILLS = 25
WRITE = """
import sys
from pathlib import Path
import numpy as np
from sapiens_bench.store.rows import commit_shard
folder, first = Path(sys.argv[1]), int(sys.argv[2])
base = {"group": "g", "status": "ok", "error_code": "", "error_detail": "", "error_side": ""}
for number in range(first, first + 10_000):
    named = [{"index": i, "key": str(i), **base} for i in range(8 * number, 8 * number + 8)]
    rows = [{**row, "m/a": np.full(500, number)} for row in named]
    commit_shard(folder, number, rows, {"fingerprint": "f", "item_key": str(number)})
    print(number, flush=True)
"""


@pytest.mark.slow
def test_no_row_is_lost_doubled_or_spoilt_by_kills(tmp_path: Path) -> None:
    rng = random.Random(0)
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        first = max(acknowledged, default=-1) + 1
        command = [sys.executable, "-c", WRITE, str(tmp_path), str(first)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.add(int(process.stdout.readline()))
        time.sleep(rng.random() * 0.1)
        process.kill()
        told, _ = process.communicate()
        acknowledged |= {int(line) for line in told.split("\n")[:-1]}
    counted = {number for number in shard_files(tmp_path) if committed(tmp_path, number) is not None}
    assert acknowledged <= counted
    assert len(counted - acknowledged) <= KILLS  # the one in work when the signal came may have been finished
    rows = read_rows(tmp_path)
    assert rows["index"].to_pylist() == sorted(8 * number + i for number in counted for i in range(8))
