"""Disks that fill up, by the kernel's own doing: a limit on file sizes set from outside, and a small file system."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from fault_suite.tally import Tally, Unbroken, committed_shards, judge
from fault_suite.toy_runs import Starter, ToyRun

MOUNTED_BYTES = 16 << 20
_NO_MOUNT = "no file system may be mounted here"


def size_limited(starter: Starter, folder: Path, n_faults: int, seed: int) -> Tally:
    """At a random moment no file of the run may grow beyond a few kilobytes any more (RLIMIT_FSIZE)."""
    rng, tally = random.Random(seed), Tally()
    unbroken, seconds = starter.unbroken()
    while tally.wants_more(n_faults):
        out = folder / f"limited-{tally.injected}"
        run = starter.start(out)
        time.sleep(rng.random() * seconds)
        with suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (rng.randrange(1000), resource.RLIM_INFINITY))
        run.wait()
        _resume(starter, tally, out, run)
        judge(tally, out, unbroken)
    return tally


def _resume(starter: Starter, tally: Tally, out: Path, run: ToyRun) -> None:
    """Count the fault, check how the run took it, run the same command again."""
    tally.injected += 1
    code, said = run.ended[:2] if run.ended is not None else (-1, "it died")
    if (code == 4 and "the same command" in said) or (code == 2 and "MB free" in said):  # or refused before it began
        tally.met += 1
    elif code != 0:
        tally.complaints.append(f"a run without room ended with {code}: {said[:200]}")
    kept = committed_shards(out) if out.exists() else {}
    resumed = starter.finish(out, tally)
    tally.recomputed.append(sum(number in kept for number, _ in resumed.shards))


def disk_filled(folder: Path, n_faults: int, seed: int, engine: str = "local") -> Tally | None:
    """A file system that is full from a random moment on; None where none may be mounted (no user namespaces).

    Args:
        engine: "ray": the runs are on two workers of a cluster, and full from a moment after their first shard on.
    """
    command = [
        sys.executable,
        "-c",
        "from fault_suite.disks import main; main()",
        str(folder),
        str(n_faults),
        str(seed),
        engine,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    try:
        done = subprocess.run(["unshare", "-rm", *command], env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    if done.returncode:
        if _NO_MOUNT in done.stderr or "unshare" in done.stderr:
            return None
        raise RuntimeError(done.stderr[-2000:])
    return Tally(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """In a name space of its own: mounts the small file system, fills it, prints the tally."""
    folder, n_faults, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    fill = _fill_on_ray if sys.argv[4] == "ray" else _fill
    place = folder / "small"
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MOUNTED_BYTES}", "tmpfs", str(place)])
    if mounted.returncode:
        raise SystemExit(_NO_MOUNT)
    from sapiens_bench.testing import toy

    with toy.installed():
        tally = fill(place, n_faults, seed)
    print(json.dumps(vars(tally)))


def _fill(place: Path, n_faults: int, seed: int) -> Tally:
    rng, tally, starter = random.Random(seed), Tally(), Starter(place)
    unbroken, seconds = starter.unbroken()
    while tally.wants_more(n_faults):
        out = place / f"run-{tally.injected}"
        run = starter.start(out)
        time.sleep(rng.random() * seconds)
        _fill_up(starter, tally, run, out, unbroken)
    return tally


def _fill_on_ray(place: Path, n_faults: int, seed: int) -> Tally:
    from fault_suite.ray_runs import Trials, cluster

    with cluster(place.parent, 2) as nodes:
        trials = Trials(place, seed)
        while trials.tally.wants_more(n_faults):
            out, run = trials.run(trials.tally.injected, address=nodes.address, workers=2)
            time.sleep(trials.rng.random())
            _fill_up(trials.starter, trials.tally, run, out, trials.unbroken)
        return trials.tally


def _fill_up(starter: Starter, tally: Tally, run: ToyRun, out: Path, unbroken: Unbroken) -> None:
    """No byte is free until the run has ended; then the same command again."""
    ballast = out.parent / "ballast"
    _take_all(ballast)
    run.wait()
    ballast.unlink()
    _resume(starter, tally, out, run)
    judge(tally, out, unbroken)
    subprocess.run(["rm", "-r", str(out)], check=True)


def _take_all(ballast: Path) -> None:
    """Every free byte of the file system."""
    block = bytes(1 << 16)
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(block)
