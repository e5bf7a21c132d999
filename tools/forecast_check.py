"""`run --dry-run` against what then happens: small runs of the shipped models on this machine.

    python tools/forecast_check.py FOLDER        prints the table of docs/scale.md

First every model runs once on other pictures (the 12 of "tiny"), as a user's earlier runs would; then each run is
predicted, run in a process of its own, and measured: wall clock, resident memory of its largest process, bytes on disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

CLI = [sys.executable, "-c", "from sapiens_bench.cli import main; main()"]
EARLIER = [
    ("pose", "gt-box", "movenet-*,blazepose-lite,blazepose-full"),
    ("seg", "person", "selfie-segmentation"),
    ("seg", "seg", "movenet-lightning-seg"),
    ("depth", "depth", "movenet-lightning-depth,floor-median-depth"),
    ("normal", "normal", "movenet-lightning-normal,face-mesh-normal"),
]
RUNS = [
    ("pose", "gt-box", "movenet-lightning", 120, ()),
    ("pose", "gt-box", "blazepose-lite", 80, ()),
    ("pose", "gt-box", "movenet-lightning,blazepose-full", 60, ()),
    ("pose", "gt-box", "movenet-thunder", 60, ("--shard-size", "8")),
    ("seg", "person", "selfie-segmentation", 120, ()),
    ("seg", "seg", "movenet-lightning-seg", 48, ()),
    ("depth", "depth", "floor-median-depth", 100, ()),
    ("depth", "depth", "movenet-lightning-depth", 40, ("--save-maps",)),
    ("normal", "normal", "movenet-lightning-normal", 40, ()),
    ("normal", "normal", "face-mesh-normal", 40, ("--save-maps",)),
    ("pose", "gt-box", "movenet-thunder", 120, ("--engine", "ray", "--workers", "2")),
]
_LOOK_S = 0.1


def command(task: str, protocol: str, models: str, out: Path, *more: str) -> list[str]:
    """One run as typed."""
    data = ["--dataset", "synthetic-humans", "--protocol", protocol, "--device", "cpu"]
    return [*CLI, "run", "--task", task, "--models", models, *data, "--out", str(out), *more]


def measured(arguments: list[str]) -> tuple[float, int]:
    """Seconds of a command, and the most bytes that a process of it had in memory."""
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        whole = psutil.Process(child.pid)
        while child.poll() is None:
            with suppress(psutil.Error):
                for process in (whole, *whole.children(recursive=True)):
                    with suppress(psutil.Error):
                        peak = max(peak, process.memory_info().rss)
            time.sleep(_LOOK_S)
        seconds = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"{arguments}: {child.stderr.read() if child.stderr else child.returncode}")
    return seconds, peak


def on_disk(folder: Path) -> int:
    """Bytes of rows, predictions and maps."""
    parts = ("rows", "preds", "maps")
    return sum(p.stat().st_size for part in parts for p in (folder / part).rglob("*") if p.is_file())


def main() -> None:
    """See the top of this file."""
    folder = Path(sys.argv[1])
    for task, protocol, models in EARLIER:
        out = folder / f"earlier-{task}-{protocol}"
        measured(command(task, protocol, models, out, "--split", "tiny", "--shard-size", "4"))
    print(f"Load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    heads = " | ".join(f"{what}, predicted | fact | ratio" for what in ("Seconds", "MB of memory", "kB on disk"))
    print(f"| Run | {heads} | Load |")
    print("|" + " --- |" * 11)
    for number, (task, protocol, models, limit, options) in enumerate(RUNS):
        out, more = folder / f"run-{number}", ("--limit", str(limit), *options)
        asked = [*command(task, protocol, models, out, *more), "--dry-run", "--format", "json"]
        plan = json.loads(subprocess.run(asked, capture_output=True, check=True, text=True).stdout)
        seconds, peak = measured(command(task, protocol, models, out, *more))
        facts = {"seconds": (seconds, 1.0), "host_bytes": (peak, 1e6), "disk_bytes": (on_disk(out), 1e3)}
        pairs = [(plan[name], fact, unit) for name, (fact, unit) in facts.items()]
        cells = " | ".join(f"{p / unit:.3g} | {f / unit:.4g} | {p / f:.2f}" for p, f, unit in pairs)
        told = " ".join([f"{protocol}, {models}, {limit} images", *options])
        print(f"| {told} | {cells} | {os.getloadavg()[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
