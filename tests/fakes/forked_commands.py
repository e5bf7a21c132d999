"""Our commands in processes of their own that need not load libraries: forked from one that has loaded them."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from pathlib import Path
from subprocess import CompletedProcess

_LOADED = ["torch", "pyarrow.parquet", "sapiens_bench.cli"]  # a command takes two seconds over them
_TIMEOUT_S = 300.0


def forked(arguments: list[str], folder: Path) -> CompletedProcess[str]:
    """``sapiens-bench ARGUMENTS`` in a folder, on a screen 160 characters wide.

    Raises:
        AssertionError: it does not end.
    """
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload(_LOADED)
    said = folder / ".stdout", folder / ".stderr"
    process = context.Process(target=_command, args=(arguments, folder, *said))
    process.start()
    process.join(_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{shlex.join(arguments)} did not end in {_TIMEOUT_S:g} s")
    out, err = (path.read_text(encoding="utf-8", errors="replace") for path in said)
    return CompletedProcess(arguments, -1 if process.exitcode is None else process.exitcode, out, err)


def _command(arguments: list[str], folder: Path, out: Path, err: Path) -> None:
    """What the script does, with its output in two files."""
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.chdir(folder)
    os.environ["COLUMNS"] = "160"
    sys.argv = ["sapiens-bench", *arguments]
    from sapiens_bench.cli import main

    main()
