"""Fuzz the readers of other people's files for hours: ``python tools/fuzz_nightly.py [TARGET ...] [--seconds 3600]``.

With the package atheris the changes are led by coverage (one target a process); without it they are drawn at random.
Files that crash a reader are kept in ``--out``; the exit code is 1 when there are any.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

LIMITS = ("-timeout=10", "-rss_limit_mb=2500", "-max_len=20000")


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=3600, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=Path("crashes"))
    parser.add_argument("--led", action="store_true", help=argparse.SUPPRESS)  # one target, in a process of its own
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    atheris = _atheris()
    if args.led and atheris is not None:
        return _led(atheris, args.targets[0], args.seconds, args.out)
    from fault_suite import fuzz

    bad = 0
    for name in args.targets or fuzz.TARGETS:
        if atheris is None:
            bad += _drawn(fuzz, name, args.seconds, args.seed, args.out)
        else:
            command = [sys.executable, __file__, name, "--led", "--seconds", str(args.seconds), "--out", str(args.out)]
            bad += subprocess.run(command).returncode != 0
    return int(bad > 0)


def _atheris() -> Any:
    try:
        return importlib.import_module("atheris")
    except ImportError:
        return None


def _drawn(fuzz: ModuleType, name: str, seconds: int, seed: int, out: Path) -> int:
    """Random changes until the time is up; how many crashed."""
    until, crashes, runs = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        found = fuzz.fuzzed(name, 500, seed + runs, out)
        runs, crashes = runs + found["runs"], crashes + found["crashes"]
        if found["crashes"]:
            print(f"{name}: {found['first']}", flush=True)
    print(f"{name}: {runs} files, {crashes} crashes", flush=True)
    return crashes


def _led(atheris: Any, name: str, seconds: int, out: Path) -> int:
    """Changes that reach new code; does not return while there is time."""
    with atheris.instrument_imports(include=["sapiens_bench"]):
        fuzz = importlib.import_module("fault_suite.fuzz")
    target, work, seeds = fuzz.TARGETS[name], Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    for number, data in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        fuzz.attempt(target, data, work)

    artefacts = f"-artifact_prefix={out}/crash-{name}-"
    atheris.Setup([sys.argv[0], *LIMITS, f"-max_total_time={seconds}", artefacts, str(seeds)], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
