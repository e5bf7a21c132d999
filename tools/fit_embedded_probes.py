#!/usr/bin/env python3
"""Fit the heads that are shipped: render the pictures, then one head of three tasks on each trunk, one after another.

    python tools/fit_embedded_probes.py OUT [--quick] [--seconds 360] [--pictures 1600] [--trunks movenet-lightning,...]

Made for one GPU and many cores: about six minutes on an H100 with 16 cores, rendering included; every trunk gets the
same time. ``OUT/<trunk>.tar`` holds what ``tools/embed_probes.py`` wants (head, cards, log, picture of the losses); it
is written as soon as its trunk is done. ``OUT/summary.txt`` says what came of each. ``--quick`` rehearses on a CPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRUNKS = "movenet-lightning,blazepose-full,movenet-thunder"
TASKS = ("seg", "depth", "normal")
INPUT_HW = (384, 288)
START_S = 18.0  # of a trunk's command before and after its training: start, copies to the device, files
RAM_NEEDED = 16e9  # bytes free in /dev/shm for pictures and views
BOOT = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"


def main() -> int:
    """Everything. Returns 1 where a trunk failed."""
    began = time.monotonic()
    asked = arguments()
    out: Path = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="probes-", dir=roomy()))
    os.environ.setdefault("SAPIENS_BENCH_CACHE", str(work / "cache"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    trunks = asked.trunks.split(",")
    say(out, f"{os.cpu_count()} cores, work in {work}")
    status = 0
    prepare(asked, trunks[0], work)
    say(out, f"pictures and views: {time.monotonic() - began:.0f} s since the start")
    for number, trunk in enumerate(trunks):
        folder = work / "probes" / trunk
        left = asked.seconds - (time.monotonic() - began)
        seconds = max(5.0, left / (len(trunks) - number) - START_S)
        started = time.monotonic()
        more = ["--steps", "100000", "--max-seconds", f"{seconds:.0f}"]
        fate = run(probe(asked, trunk, f"probes/{trunk}", more), work, 1.3 * seconds + 60)
        pack(folder, out / f"{trunk}.tar")
        took = f"{time.monotonic() - started:.0f} s of which {seconds:.0f} s for steps"
        say(out, f"{trunk}: {fate}, {took}; {last(folder)}")
        status |= fate != "done"
    shutil.rmtree(work, ignore_errors=True)
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=360.0)
    parser.add_argument("--pictures", type=int, default=1600)
    parser.add_argument("--trunks", default=TRUNKS)
    return parser.parse_args()


def prepare(asked: argparse.Namespace, trunk: str, work: Path) -> None:
    """Make pictures and views, which the commands then find in the cache."""
    sys.path.insert(0, str(ROOT))
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.probe.request import DataName, ProbeRequest
    from sapiens_bench.probe.run import probe_data

    request = ProbeRequest(
        trunk,
        TASKS,
        DataName("synthetic-humans", "train"),
        work,
        train_limit=6 if asked.quick else asked.pictures,
        views=0,
        input_hw=INPUT_HW,
        head="large",
        threads=os.cpu_count() or 1,
        device="cpu",
    )
    shown = {"at": 0.0}

    def watch(what: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - shown["at"] > 10:
            shown["at"] = time.monotonic()
            print(f"{what}: {done}/{total}", flush=True)

    probe_data(request, Catalog.load(), watch)


def probe(asked: argparse.Namespace, trunk: str, folder: str, more: list[str]) -> list[str]:
    """The command of one trunk; ``folder`` is relative, so that cards name no place of this machine."""
    size = ["--train-limit", "6", "--batch-size", "2"] if asked.quick else []
    if not asked.quick:
        size = ["--train-limit", str(asked.pictures), "--batch-size", "32", "--precision", "bf16"]
    words = [
        "probe", "--backbone", trunk, "--task", ",".join(TASKS), "--train", "synthetic-humans:train", "--views", "0",
        "--input", f"{INPUT_HW[0]}x{INPUT_HW[1]}", "--head", "large", "--lr", "1.5e-3",
        "--weight-decay", "0.05", "--warm-up", "200", "--validation", "0.04", "--depth-loss", "aligned",
        "--checkpoint-every", "1000",
        "--threads", str(os.cpu_count() or 1), "--name", f"probe-{trunk}", "--out", folder, *size, *more,
    ]  # fmt: skip
    return [sys.executable, "-c", BOOT, *words]


def run(command: list[str], folder: Path, timeout_s: float) -> str:
    """Run a command there; what came of it."""
    try:
        done = subprocess.run(command, cwd=folder, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"stopped after {timeout_s:.0f} s"
    return "done" if done.returncode == 0 else f"FAILED ({done.returncode})"


def pack(folder: Path, target: Path) -> None:
    """Everything but checkpoints and TensorBoard's files; whatever there is."""
    if not folder.is_dir():
        return
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".safetensors", ".yaml", ".csv", ".png"):
                tar.add(path, str(Path(folder.name) / path.relative_to(folder)))


def last(folder: Path) -> str:
    """The last line of the log."""
    log = folder / "seed-0" / "log.csv"
    return log.read_text().splitlines()[-1] if log.is_file() else "no log"


def roomy() -> str | None:
    """/dev/shm where it has room: what is made there need not go through a disk."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() and shutil.disk_usage(shm).free > RAM_NEEDED else None


def say(out: Path, text: str) -> None:
    print(text, flush=True)
    with (out / "summary.txt").open("a") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
