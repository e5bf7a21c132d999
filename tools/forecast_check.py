"""`run --dry-run` against what then happens: five small runs of the shipped models on this machine.

    python tools/forecast_check.py FOLDER        prints the table of docs/scale.md

First every model runs once on other pictures (the 12 of "tiny"), as a user's earlier runs would; then each run is
predicted, run in a process of its own, and measured: wall clock, the process's largest resident memory, bytes on disk.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

CLI = [sys.executable, "-c", "from sapiens_bench.cli import main; main()"]
PROTOCOLS = {"pose": "gt-box", "seg": "person"}
EARLIER = [("pose", "movenet-*,blazepose-lite,blazepose-full"), ("seg", "selfie-*")]
RUNS = [
    ("pose", "movenet-lightning", 120),
    ("pose", "blazepose-lite", 80),
    ("pose", "movenet-lightning,blazepose-full", 60),
    ("pose", "movenet-thunder", 60),
    ("seg", "selfie-segmentation", 120),
]


def command(task: str, models: str, out: Path, *more: str) -> list[str]:
    """One run as typed."""
    data = ["--dataset", "synthetic-humans", "--protocol", PROTOCOLS[task], "--device", "cpu"]
    return [*CLI, "run", "--task", task, "--models", models, *data, "--out", str(out), *more]


def measured(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of a process."""
    began = time.perf_counter()
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{arguments}: {child.stderr.read().decode() if child.stderr else status}")
    return time.perf_counter() - began, _bytes(usage)


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def on_disk(folder: Path) -> int:
    """Bytes of rows and predictions."""
    return sum(p.stat().st_size for part in ("rows", "preds") for p in (folder / part).rglob("*") if p.is_file())


def main() -> None:
    """See the top of this file."""
    folder = Path(sys.argv[1])
    for task, models in EARLIER:
        measured(command(task, models, folder / f"earlier-{task}", "--split", "tiny", "--shard-size", "4"))
    print(f"Load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    heads = " | ".join(f"{what}, predicted | fact | ratio" for what in ("Seconds", "MB of memory", "kB on disk"))
    print(f"| Run | {heads} | Load |")
    print("|" + " --- |" * 11)
    for number, (task, models, limit) in enumerate(RUNS):
        out, more = folder / f"run-{number}", ("--limit", str(limit))
        asked = [*command(task, models, out, *more), "--dry-run", "--format", "json"]
        plan = json.loads(subprocess.run(asked, capture_output=True, check=True, text=True).stdout)
        seconds, peak = measured(command(task, models, out, *more))
        facts = {"seconds": (seconds, 1.0), "host_bytes": (peak, 1e6), "disk_bytes": (on_disk(out), 1e3)}
        pairs = [(plan[name], fact, unit) for name, (fact, unit) in facts.items()]
        cells = " | ".join(f"{p / unit:.3g} | {f / unit:.4g} | {p / f:.2f}" for p, f, unit in pairs)
        print(f"| {task}, {models}, {limit} images | {cells} | {os.getloadavg()[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
