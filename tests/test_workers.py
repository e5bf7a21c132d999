"""Other processes: what they import, how they end, what happens to their faults. Jobs are functions of the library."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench import workers
from sapiens_bench.errors import WorkerDied, machine_fault
from sapiens_bench.workers import Child, ChildDied, ChildTimedOut, Reply, child_environment, run_all


def results(function: str, arguments: list[Any], n_workers: int = 2) -> dict[int, Any]:
    found: dict[int, Any] = {}
    run_all(function, arguments, n_workers, found.__setitem__, Path())
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Any, seconds: float = 120.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_every_job_is_done_once_whatever_the_number_of_workers(n_workers: int) -> None:
    assert results("math:sqrt", [4, 9, 16], n_workers) == {0: 2.0, 1: 3.0, 2: 4.0}


def test_progress_comes_from_the_calling_thread() -> None:
    import threading

    seen: set[int] = set()
    run_all("math:sqrt", [1, 2, 3], 2, lambda index, value: seen.add(threading.get_ident()), Path())
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("path", ["", ".", "relative", "{here}", ":{elsewhere}:."])
def test_code_in_the_working_folder_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, here / "relative", elsewhere):
        folder.mkdir()
    modules = ("socket", "json", "tempfile", "sitecustomize", "usercustomize", "numpy", "sapiens_bench")
    for name in modules:
        for folder in (here, here / "relative"):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", path.format(here=here, elsewhere=elsewhere))
    child = Child(threads=1)
    for name in ("socket", "numpy", "sapiens_bench.render.camera"):
        assert "not JSON" in child.ask("importlib:import_module", name).message
    child.close()
    assert not (tmp_path / "executed").exists()


def test_the_import_path_a_user_asked_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sapiens_plugin_here.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path)]))
    assert child_environment(None)["PYTHONPATH"] == str(tmp_path)
    child = Child()
    assert child.ask("sapiens_plugin_here:double", 21) == Reply(42)
    child.close()


def test_a_child_uses_the_code_of_its_parent() -> None:
    child = Child()
    assert child.ask("inspect:getsourcefile", "x").error == "TypeError"
    source = child.ask("sapiens_bench.workers:find", "sapiens_bench.workers:serve").message
    assert "not JSON" in source
    child.close()


def test_prints_of_a_library_are_no_answer() -> None:
    child = Child()
    assert child.ask("builtins:print", "a library that prints") == Reply(None)
    assert child.ask("math:sqrt", 4).value == 2
    child.close()


def test_a_job_that_hangs_is_stopped_and_a_dead_process_says_its_last_line() -> None:
    child = Child()
    with pytest.raises(ChildTimedOut):
        child.ask("time:sleep", 60, timeout_s=0.2)
    child.close()
    child = Child()
    with pytest.raises(ChildDied) as death:
        child.ask("os:_exit", 7)
    assert death.value.code == 7
    child.close()


def test_a_worker_that_dies_over_a_job_twice_stops_everything_by_name() -> None:
    with pytest.raises(WorkerDied, match="--workers 1"):
        results("os:_exit", [3, 3])


@pytest.mark.parametrize(
    ("fault", "kind", "number"),
    [
        ("sapiens_bench.workers:Child.ask", RuntimeError, None),
        ("os:listdir", FileNotFoundError, errno.ENOENT),
    ],
)
def test_what_a_job_raises_is_raised_here(fault: str, kind: type[Exception], number: int | None) -> None:
    with pytest.raises(kind) as caught:
        results(fault, ["/no/such/folder", "/nor/this"])
    assert getattr(caught.value, "errno", None) == number


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(error="MemoryError", message="x"), MemoryError),
        (Reply(error="OSError", message="full", errno=errno.ENOSPC), OSError),
        (Reply(error="StorageFull", message="x"), workers.errors.StorageFull),
        (Reply(error="UnknownName", message="x"), workers.errors.UsageError),  # it takes more than a text itself
    ],
)
def test_machine_faults_and_our_own_exceptions_keep_their_class(reply: Reply, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        raise workers.error_of(reply)


def test_a_fault_of_the_machine_is_seen_through_every_wrapping() -> None:
    def wrapped(cause: BaseException) -> BaseException:
        try:
            try:
                raise cause
            except type(cause) as error:
                raise workers.errors.SampleFault("image.missing", str(error)) from None
        except workers.errors.SampleFault as fault:
            return fault

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        found = machine_fault(wrapped(OSError(number, "x")))
        assert isinstance(found, OSError)
        assert found.errno == number
    assert isinstance(machine_fault(wrapped(MemoryError())), MemoryError)
    assert machine_fault(wrapped(OSError(errno.ENOENT, "x"))) is None
    assert machine_fault(wrapped(ValueError("x"))) is None


def test_ctrl_c_drops_what_has_not_begun_and_lets_the_rest_finish(tmp_path: Path) -> None:
    folders = [str(tmp_path / str(k)) for k in range(40)]

    def stop(index: int, value: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all("os:mkdir", folders, 2, stop, Path())
    assert 1 <= len(list(tmp_path.iterdir())) < 40


def test_what_outlasts_the_grace_after_ctrl_c_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GRACE_S", 0.1)

    def stop(index: int, value: Any) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all("time:sleep", [0, 600], 2, stop, Path())
    assert time.monotonic() - began < 300


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("by_kernel", [True, False])
def test_children_end_with_a_parent_that_is_killed(by_kernel: bool, tmp_path: Path) -> None:
    """In the middle of a job: with the kernel's signal, and with the thread that other systems have."""
    serve = "" if by_kernel else "w._BOOT = w._BOOT.replace('serve(', 'import sys; sys.platform = \"x\"; serve(')\n"
    code = (
        f"from sapiens_bench import workers as w\n{serve}c = w.Child()\nc.ask('math:sqrt', 1)\n"
        "print(c.pid, flush=True)\nc.ask('time:sleep', 60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_alive(pid))
