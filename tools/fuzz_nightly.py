"""Fuzz the readers of other people's files for hours: ``python tools/fuzz_nightly.py [TARGET ...] [--seconds 3600]``.

With the package atheris the changes are led by coverage (one target a process); without it they are drawn at random.
Files that crash a reader, hang it or take too much memory are kept in ``--out``, of each place in the code the first;
the exit code is 1 when there are any. ``--figures FILE.json`` puts what was done into a file
(``results/faults/fuzz_led.json``).
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

TIMEOUT_S, RSS_MB = 10, 2500  # of one file
LIMITS = (f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MB}", "-max_len=20000", "-print_final_stats=1")
SCHEMA = "fuzz-led/1"
_STATS = {  # what libFuzzer prints at its end -> name in the figures
    r"stat::number_of_executed_units:\s*(\d+)": "runs",
    r"stat::slowest_unit_time_sec:\s*(\d+)": "slowest_s",
    r"stat::peak_rss_mb:\s*(\d+)": "peak_rss_mb",
    r"\bcov: (\d+)": "edges_covered",
    r"\bcorp: (\d+)": "files_with_new_coverage",
}


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=3600, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=Path("crashes"))
    parser.add_argument("--figures", type=Path, help="a file for what was done; other targets in it stay")
    parser.add_argument("--led", action="store_true", help=argparse.SUPPRESS)  # one target, in a process of its own
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    atheris = _atheris()
    if args.led and atheris is not None:
        return _led(atheris, args.targets[0], args.seconds, args.seed, args.out)
    from fault_suite import fuzz

    bad = 0
    for name in args.targets or fuzz.TARGETS:
        draw = _drawn if atheris is None else _led_apart
        found = draw(fuzz, name, args.seconds, args.seed, args.out)
        print(f"{name}: {json.dumps(found)}", flush=True)
        bad += found["crashes"]
        if args.figures is not None:
            _keep(args.figures, name, found)
    return int(bad > 0)


def _atheris() -> Any:
    try:
        return importlib.import_module("atheris")
    except ImportError:
        return None


def _drawn(fuzz: ModuleType, name: str, seconds: int, seed: int, out: Path) -> dict[str, Any]:
    """Random changes until the time is up."""
    until, crashes, runs, slowest = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < until:
        found = fuzz.fuzzed(name, 500, seed + runs, out)
        runs, crashes = runs + found["runs"], crashes + found["crashes"]
        slowest = max(slowest, found["slowest_s"])
        if found["crashes"]:
            print(f"{name}: {found['first']}", flush=True)
    return {"led_by": "nothing", "seconds": seconds, "runs": runs, "slowest_s": slowest, "crashes": crashes}


def _led_apart(fuzz: ModuleType, name: str, seconds: int, seed: int, out: Path) -> dict[str, Any]:
    """A process led by coverage, and what it says at its end."""
    folder = Path(tempfile.mkdtemp(dir=out, prefix=f"{name}-"))
    options = ["--led", "--seconds", str(seconds), "--seed", str(seed), "--out", str(folder)]
    ended = subprocess.run([sys.executable, __file__, name, *options], stderr=subprocess.PIPE, text=True)
    kept = sorted(path.name for path in folder.iterdir())
    if not kept:
        folder.rmdir()
    found = {"led_by": "coverage", "seconds": seconds, **stats_of(ended.stderr), "crashes": len(kept), "kept": kept}
    if ended.returncode and not kept:  # neither time nor a kept file ended it
        print(ended.stderr[-4000:], file=sys.stderr)
        raise SystemExit(f"{name}: the fuzzer itself ended with code {ended.returncode}")
    return found


def stats_of(said: str) -> dict[str, int]:
    """The figures in what libFuzzer printed; of a figure that it prints again and again the last one."""
    found = {name: re.findall(pattern, said) for pattern, name in _STATS.items()}
    return {name: int(numbers[-1]) for name, numbers in found.items() if numbers}


def _keep(path: Path, name: str, found: dict[str, Any]) -> None:
    told = json.loads(path.read_text()) if path.exists() else {"targets": {}}
    told = {
        "schema": SCHEMA,
        "python": platform.python_version(),
        "measured": datetime.now(UTC).date().isoformat(),
        "limits_of_a_file": {"seconds": TIMEOUT_S, "rss_mb": RSS_MB},
        "targets": dict(sorted({**told["targets"], name: found}.items())),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")


def _led(atheris: Any, name: str, seconds: int, seed: int, out: Path) -> int:
    """Changes that reach new code; does not return while there is time."""
    with atheris.instrument_imports(include=["sapiens_bench"]):
        fuzz = importlib.import_module("fault_suite.fuzz")
    target, work, seeds = fuzz.TARGETS[name], Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    for number, data in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(data)
    known: set[str] = set()

    def one(data: bytes) -> None:
        try:
            fuzz.attempt(target, data, work)
        except Exception as error:  # a defect: kept, and the others are looked for
            place = _place(error)
            if place not in known:
                known.add(place)
                (out / f"crash-{len(known)}").write_bytes(data)
                print(f"{name}: {type(error).__name__}: {str(error)[:200]} at {place}", flush=True)

    def change(data: bytes, most: int, number: int) -> bytes:
        """Every other time the words that mean something to a reader."""
        if number % 2:
            return bytes(atheris.Mutate(data, most))
        return bytes(fuzz.mutated(data, random.Random(number))[:most])

    options = [*LIMITS, f"-seed={seed % 2**32}", f"-max_total_time={seconds}", f"-artifact_prefix={out}/stop-"]
    atheris.Setup([sys.argv[0], *options, str(seeds)], one, custom_mutator=change)
    atheris.Fuzz()
    return 0


def _place(error: BaseException) -> str:
    """The innermost line of this package that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "sapiens_bench" in frame.filename] or frames
    return f"{type(error).__name__} {Path(ours[-1].filename).name}:{ours[-1].lineno}"


if __name__ == "__main__":
    sys.exit(main())
