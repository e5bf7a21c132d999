"""Kill -9, Ctrl-C, SIGTERM, a full disk: what is committed stays, and the same command completes it bit for bit."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sapiens_bench.engine.events import ShardDone
from sapiens_bench.errors import FolderInUse, Interrupted, StorageFull
from sapiens_bench.store.record import read_run

CELL = Path("rows/toy/toy/plain/toy-plain")
N_SHARDS = 12
DATA = {"n": 60}


def shard_bytes(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / CELL).glob("shard-*"))}


def start(out: Path, **fields: Any) -> subprocess.Popen[str]:
    """The toy in a process of its own, with a slow model."""
    given = json.dumps({"data": DATA, "batch_size": 4, **fields})
    # A shell that starts jobs in the background ignores SIGINT in them, and Python inherits that.
    return subprocess.Popen(
        [sys.executable, "-m", "sapiens_bench.testing.toy", str(out), given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for_shard(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"shard {number}\n":
            return
    _, errors = process.communicate()
    pytest.fail(f"the run ended early: {errors}")


def test_rows_after_kill_and_resume_are_those_of_an_unbroken_run(toy: ModuleType, tmp_path: Path) -> None:
    unbroken = toy.go(tmp_path / "whole", DATA, batch_size=4)
    process = start(tmp_path / "killed", data={**DATA, "delay_s": 0.02})
    wait_for_shard(process, N_SHARDS // 2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    half = shard_bytes(tmp_path / "killed")
    assert N_SHARDS // 2 < len(half) < N_SHARDS
    assert read_run(tmp_path / "killed").status == "running"
    events: list[Any] = []
    # The delay is an option of the protocol, hence part of the fingerprint: resume with the same one.
    resumed = toy.go(tmp_path / "killed", {**DATA, "delay_s": 0.02}, on_event=events.append, batch_size=4)
    assert sum(isinstance(e, ShardDone) for e in events) == N_SHARDS - len(half)
    assert resumed.cells[0].scores == unbroken.cells[0].scores
    toy.go(tmp_path / "slow", {**DATA, "delay_s": 0.02}, batch_size=4)
    assert shard_bytes(tmp_path / "killed") == shard_bytes(tmp_path / "slow")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_run_promptly_and_resumably(
    toy: ModuleType, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    slow = {**DATA, "delay_s": 0.1}
    process = start(tmp_path, data=slow)
    wait_for_shard(process, 1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    record = read_run(tmp_path)
    assert record.status == "interrupted"
    assert not list((tmp_path / CELL).glob(".tmp-*"))
    assert 2 <= len(shard_bytes(tmp_path)) < N_SHARDS  # the images that were left take longer than any signal


def test_ctrl_c_inside_the_process_keeps_what_is_committed(toy: ModuleType, tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, ShardDone) and event.number == 3:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        toy.go(tmp_path, DATA, on_event=stop)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert sorted(shard_bytes(tmp_path)) == [f"shard-{i:05d}.parquet" for i in range(4)]
    assert read_run(tmp_path).status == "interrupted"
    assert toy.go(tmp_path, DATA).status == "done"


def test_a_full_disk_ends_the_run_resumably(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def full(source: Any, target: Any) -> None:
        if "shard-00002" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageFull, match="same command"):
            toy.go(tmp_path, DATA)
    assert len(shard_bytes(tmp_path)) == 2
    assert read_run(tmp_path).status == "incomplete"
    assert toy.go(tmp_path, DATA).status == "done"
    assert len(shard_bytes(tmp_path)) == N_SHARDS


def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(toy: ModuleType, tmp_path: Path) -> None:
    slow = {**DATA, "delay_s": 0.1}
    first = start(tmp_path / "two", data=slow)
    wait_for_shard(first, 0)
    with pytest.raises(FolderInUse, match=f"is in use by process {first.pid} on .* give another --out"):
        toy.go(tmp_path / "two", slow, batch_size=4)
    assert read_run(tmp_path / "two").status == "running"
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    toy.go(tmp_path / "one", slow, batch_size=4)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "two")
    assert read_run(tmp_path / "two").cells[0].counts.ok == DATA["n"]


def test_the_lock_of_a_killed_run_bars_nobody(toy: ModuleType, tmp_path: Path) -> None:
    slow = {**DATA, "delay_s": 0.05}
    process = start(tmp_path, data=slow)
    wait_for_shard(process, 0)
    process.kill()
    process.communicate()
    assert (tmp_path / "run.lock").is_file()
    assert toy.go(tmp_path, slow, batch_size=4).status == "done"
    assert not (tmp_path / "run.lock").exists()
