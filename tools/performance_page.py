"""Writes docs/performance.md: every benchmark's figure beside its goal, from one run of tests/benchmarks.

python tools/performance_page.py            all of it, a few minutes on a quiet machine
python tools/performance_page.py oks dense  these files alone; the lines of the others stay as they are

A file of benchmarks runs in a process of its own. What is measured is kept in docs/performance.json, from which the
page is made; ``--check`` measures nothing and fails when the page is not what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from sapiens_bench.engine.device import cpu_facts
from sapiens_bench.engine.threads import usable_cores
from sapiens_bench.tasks.pose.compiled import LOADING_S

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
STORED, PAGE = REPOSITORY / "docs" / "performance.json", REPOSITORY / "docs" / "performance.md"
PACKAGES = ("numpy", "numba", "opencv-python-headless", "pyarrow", "pycocotools", "torch")
WHOLE_COMMANDS = ("commands", "cores", "default", "own", "report")  # with the threads that a user has
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # read when numpy is loaded
HEAD = """<!-- Written by tools/performance_page.py: run it, do not edit. -->

# Performance

`python tools/performance_page.py` measures all of this and writes the page. Ratios are of CPU seconds, in one process
and one thread, of equal results; both sides take turns, and the figure is the fastest of each, with the least and the
most favourable round beside it. Seconds of whole commands are wall clock. A goal that is missed says why.
"""
NOTES = {  # topic -> what its table cannot say
    "Keypoint similarity (OKS) against pycocotools": (
        "By kernels that numba compiles; it comes with the package. A run loads them once numpy has worked for "
        f"{LOADING_S} s, as long as loading takes, so that numpy and loading together never take more than twice the "
        "better way. Two lines tell from how many images on that is; a smaller job gets the ratio of the lines "
        "“by numpy”."
    ),
    "What the harness adds": (
        "Script and harness share one core by affinity, the harness as by `--threads 1 --workers 1`, so that CPU "
        "seconds do not depend on what runs beside what; freed memory is kept for the next image, as in a run, on both "
        "sides."
    ),
    "Growth": (
        "The exponent between the two largest sizes: 1 is linear, 0 flat. Memory is the most that Python, numpy and "
        "Arrow hold at once, beyond what was there before."
    ),
}


def names() -> list[str]:
    """Every file of benchmarks: "oks" for test_bench_oks.py."""
    return sorted(path.stem.removeprefix("test_bench_") for path in BENCHMARKS.glob("test_bench_*.py"))


def measure(name: str) -> list[dict[str, Any]]:
    """The lines of one file of benchmarks.

    Raises:
        SystemExit: a benchmark failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(BENCHMARKS / f"test_bench_{name}.py"), "--benchmark-only", "-q",
                   f"--benchmark-json={found}"]  # fmt: skip
        environment = os.environ if name in WHOLE_COMMANDS else {**os.environ, **ONE_THREAD}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: a benchmark failed; nothing was written.\n{done.stdout[-4000:]}{done.stderr}")
        content = json.loads(found.read_text(encoding="utf-8"))
    return [line for each in content["benchmarks"] for line in each["extra_info"].get("lines", [])]


def machine(load_before: float) -> dict[str, str]:
    """Where the figures were measured, and how busy it was."""
    load = max(load_before, os.getloadavg()[0]) if hasattr(os, "getloadavg") else load_before
    return {
        "processor": cpu_facts().get("model name", "a processor without a name"),
        "cores": str(usable_cores()),
        "load": f"{load:.1f}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def page(stored: Mapping[str, Any]) -> str:
    """The page of what was measured: {"files": {name: {"machine": ..., "lines": [...]}}}."""
    files = stored["files"].values()
    lines = [line | {"is_busy": _is_busy(file["machine"])} for file in files for line in file["lines"]]
    with_goal = [line for line in lines if _goal(line)]
    met = sum(line["is_met"] for line in with_goal)
    parts = [HEAD, "\n".join(_machines(files)), f"Of {len(with_goal)} goals {met} are met."]
    topics = dict.fromkeys(line["topic"] for line in lines)
    for topic in topics:
        table = "\n".join(_table([line for line in lines if line["topic"] == topic]))
        parts.append("\n\n".join(part for part in (f"## {topic}", NOTES.get(topic, ""), table) if part))
    missed = [f"- {line['topic']}, {line['what']}: {_reason(line)}." for line in with_goal if not line["is_met"]]
    if missed:
        parts.append("## Why goals are missed\n\n" + "\n".join(missed))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _is_busy(machine: Mapping[str, str]) -> bool:
    return float(machine["load"]) > 1.5 * int(machine["cores"])


def _reason(line: Mapping[str, Any]) -> str:
    reason = f"{_measured(line)} where {_goal(line)} is the goal; {line['if_missed'] or 'no reason is known'}"
    return f"{reason}; measured while the machine was busy" if line["is_busy"] else reason


def _machines(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each machine and state of it."""
    loads: dict[tuple[str, str, str], list[float]] = {}
    for file in files:
        m = file["machine"]
        loads.setdefault((m["processor"], m["cores"], m["versions"]), []).append(float(m["load"]))
    found = []
    for (processor, cores, versions), load in loads.items():
        busy = f"**The machine was busy** (load average up to {max(load):.1f})" if max(load) > 1.5 * int(cores) else (
            f"load average up to {max(load):.1f}, the benchmarks' own work included")  # fmt: skip
        found.append(f"Measured on {processor}, {cores} cores; {busy}. {versions}.")
    return found


def _table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = ["| what | measured | rounds | goal | | made of |", "|---|---|---|---|---|---|"]
    for line in lines:
        spread = "" if line["low"] == line["high"] else f"{_number(line['low'])}–{_number(line['high'])}"
        verdict = "" if not _goal(line) else "met" if line["is_met"] else "**missed**"
        rows.append(f"| {line['what']} | {_measured(line)} | {spread} | {_goal(line)} | {verdict} | {line['beside']} |")
    return rows


def _measured(line: Mapping[str, Any]) -> str:
    return f"{_number(line['value'])} {line['unit']}".replace(" x", "x").rstrip()


def _goal(line: Mapping[str, Any]) -> str:
    if line["at_least"] is not None:
        return f"≥ {line['at_least']:g}"
    return f"≤ {line['at_most']:g}" if line["at_most"] is not None else ""


def _number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 0.01 else f"{value:.3g}"


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="Measure, and write docs/performance.md.")
    parser.add_argument("names", nargs="*", help=f"files of benchmarks: {', '.join(names())}; all when none is given")
    parser.add_argument("--check", action="store_true", help="measure nothing; fail when the page is not current")
    given = parser.parse_args()
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {"files": {}}
    if given.check:
        is_current = PAGE.read_text(encoding="utf-8") == page(stored)
        sys.stdout.write(
            "" if is_current else f"{PAGE.name} is not what {STORED.name} says: run this without --check.\n"
        )
        return 0 if is_current else 1
    for name in given.names or names():
        began, load = time.perf_counter(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        lines = measure(name)
        stored["files"][name] = {"machine": machine(load), "lines": lines}
        sys.stdout.write(f"{name}: {len(lines)} figures in {time.perf_counter() - began:.0f} s\n")
        sys.stdout.flush()
    stored["files"] = {name: stored["files"][name] for name in names() if name in stored["files"]}
    STORED.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(stored), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
