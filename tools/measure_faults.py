"""Inject faults by the dozen and write what they cost: ``python tools/measure_faults.py OUT.json [--only KIND,KIND]``.

What is measured is put into the file as soon as it is known, so kinds can be measured one at a time. About fifteen
minutes for all on two cores; ``results/faults/README.md`` says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fault_suite import disks, flips, fuzz, growth, ray_runs, renders, toy_runs
from fault_suite.hostile.corpus import judged
from fault_suite.tally import Tally
from fault_suite.toy_runs import Starter

from sapiens_bench import __version__
from sapiens_bench.engine.provenance import hardware
from sapiens_bench.testing import toy

SCHEMA = "faults/1"
_OF_FILES = ("canary_executions", "escapes", "silent_score_changes", "tracebacks_shown", "peak_rss_mb")
Measure = Callable[[Path, int, int], dict[str, Any]]


def _driver(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return toy_runs.driver_killed(Starter(folder / "whole"), folder, n, seed).figures()


def _machine(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return toy_runs.machine_lost(Starter(folder / "whole"), folder, n, seed).figures()


def _pairs(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return toy_runs.two_runs(Starter(folder / "whole"), folder, n, seed).figures()


def _limits(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return disks.size_limited(Starter(folder / "whole"), folder, n, seed).figures()


def _disk(folder: Path, n: int, seed: int) -> dict[str, Any]:
    tally = disks.disk_filled(folder, n, seed)
    return {"not_measured": "no file system may be mounted here"} if tally is None else tally.figures()


def _ray_disk(folder: Path, n: int, seed: int) -> dict[str, Any]:
    if find_spec("ray") is None:
        return {"not_measured": "ray is not installed here"}
    tally = disks.disk_filled(folder, n, seed, "ray")
    return {"not_measured": "no file system may be mounted here"} if tally is None else tally.figures()


def _flips(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return flips.bits_flipped(folder, 4 * n, seed).figures()


def _renderers(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return renders.renderers_killed(folder, n, seed).figures()


def _long_run(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return growth.long_run(folder, 100_000, n, seed)


def _ray_long_run(folder: Path, n: int, seed: int) -> dict[str, Any]:
    if find_spec("ray") is None:
        return {"not_measured": "ray is not installed here"}
    return growth.long_run_on_ray(folder, 100_000, n, seed)


def _hostile(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return judged(folder / "files").figures()


def _fuzz(folder: Path, n: int, seed: int) -> dict[str, Any]:
    made = {name: fuzz.fuzzed(name, 400 * n, seed, folder) for name in fuzz.TARGETS}
    keys = ("runs", "read", "crashes")
    return {**{key: sum(f[key] for f in made.values()) for key in keys},
            "slowest_s": max(f["slowest_s"] for f in made.values()), "targets": made}  # fmt: skip


def _commit(folder: Path, n: int, seed: int) -> dict[str, Any]:
    return growth.commit_ms(folder, 8 * n)


def _on_ray(fault: Callable[[Path, int, int], Tally]) -> Measure:
    def measure(folder: Path, n: int, seed: int) -> dict[str, Any]:
        if find_spec("ray") is None:
            return {"not_measured": "ray is not installed here"}
        return fault(folder, n, seed).figures()

    return measure


KINDS: dict[str, Measure] = {
    "driver_killed": _driver,
    "renderer_killed": _renderers,
    "machine_lost": _machine,
    "file_size_limited": _limits,
    "disk_filled": _disk,
    **{f"ray_{fault.__name__}": _on_ray(fault) for fault in ray_runs.FAULTS},
    "ray_disk_filled": _ray_disk,
    "bit_flipped": _flips,
    "two_runs_at_once": _pairs,
    "long_run": _long_run,
    "ray_long_run": _ray_long_run,
    "commit_ms": _commit,
    "hostile_files": _hostile,
    "fuzz": _fuzz,
}


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--n", type=int, default=25, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for kind in args.only.split(","):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, toy.installed():
            figures = KINDS[kind](Path(folder), args.n, args.seed)
        figures["wall_s"] = round(time.monotonic() - began, 1)
        keep(args.out, kind, figures)
        print(f"{kind}: {json.dumps(figures)}", flush=True)


def keep(path: Path, kind: str, figures: dict[str, Any]) -> None:
    """Put the figures of one kind into the file, and the sums that follow from all that is there."""
    told = json.loads(path.read_text()) if path.exists() else {"kinds": {}}
    kinds = {name: told["kinds"].get(name) for name in KINDS if name in told["kinds"]} | {kind: figures}
    told = {
        "schema": SCHEMA,
        "version": __version__,
        "python": platform.python_version(),
        "cpu": hardware("cpu")["cpu"],
        "measured": datetime.now(UTC).date().isoformat(),
        **{k: v for k, v in told.items() if k not in ("schema", "version", "python", "cpu", "measured", "kinds")},
        **totals(kinds),
        "kinds": dict(sorted(kinds.items())),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")


def totals(kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Sums over the kinds that damage runs."""
    hurt = [figures for figures in kinds.values() if "rows_lost" in figures]
    killed = [
        figures
        for name, figures in kinds.items()
        if name.endswith("_killed") or name in ("long_run", "ray_long_run", "machine_lost")
    ]
    files = kinds.get("hostile_files", {})
    return {
        "faults_injected": files.get("injected"),
        "faults_handled": files.get("handled"),
        **{name: files.get(name) for name in _OF_FILES},
        "kills_injected": sum(f["injected"] for f in killed),
        "faults_of_runs_injected": sum(f["injected"] for f in hurt),
        **{name: sum(f[name] for f in hurt) for name in ("rows_lost", "rows_duplicated", "rows_corrupt")},
        "metric_diff_after_resume": max((f["metric_diff_after_resume"] for f in hurt), default=0.0),
        "shards_recomputed_per_kill": max((f.get("shards_recomputed_per_fault", 0) for n, f in kinds.items()
                                          if n != "bit_flipped"), default=0),
    }  # fmt: skip


if __name__ == "__main__":
    main()
