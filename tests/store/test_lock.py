"""One run at a time: told from a lock that a dead process left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.errors import FolderInUse, StoreError
from sapiens_bench.store import lock
from sapiens_bench.store.lock import holder, locked

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom sapiens_bench.store.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def start(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate(timeout=300)


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        with pytest.raises(FolderInUse, match=f"process {process.pid} on "), locked(tmp_path):
            pass
        assert f"process {process.pid} on" in holder(tmp_path)
    finally:
        end(process)
    assert (tmp_path / lock.FILE).is_file()  # left behind, and no obstacle
    assert holder(tmp_path) == ""
    with locked(tmp_path) as note:
        assert note == ""
        assert holder(tmp_path) == "this process"
    assert list(tmp_path.iterdir()) == []


def test_the_same_folder_by_another_name_is_the_same_folder(tmp_path: Path) -> None:
    root, link = tmp_path / "root", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    with locked(root), pytest.raises(FolderInUse, match="this process"), locked(link):
        pass
    with locked(link):
        pass


def test_a_refused_lock_leaves_the_holder_in_place(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(FolderInUse), locked(tmp_path):
            pass
        assert (tmp_path / lock.FILE).is_file()


def test_a_link_in_place_of_the_lock_is_not_opened(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    root = tmp_path / "root"
    root.mkdir()
    (root / lock.FILE).symlink_to(victim)
    with pytest.raises(StoreError, match=r"run\.lock"), locked(root):
        pass
    assert victim.read_text() == "precious"


def test_a_file_system_without_locks_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "lockf", refuse)
    with locked(tmp_path) as note:
        assert "has no locks" in note


def test_a_file_removed_by_its_last_owner_is_not_mistaken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our open and our lock the owner may remove the file: the lock would be on a file nobody else can see."""
    real, calls = lock.fcntl.lockf, 0

    def lose_the_race_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            (tmp_path / lock.FILE).unlink()
        return real(*arguments)

    monkeypatch.setattr(lock.fcntl, "lockf", lose_the_race_once)
    with locked(tmp_path):
        assert (tmp_path / lock.FILE).is_file()
        assert calls == 2
