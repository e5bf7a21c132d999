"""Runs of Sapiens with random weights on synthetic people: images a second and how idle the device is.

    python tools/gpu_measure.py prepare FOLDER            weights, cards and pictures
    python tools/gpu_measure.py runs FOLDER --out OUT     OUT/runs.md and OUT/runs.json, written anew after every run

Every line of the table is a run of its own through the public API. Prefetch 0 is the synchronous way: a batch is
uploaded, computed and read back before the next is packed. Idle is the share of the time in which the device had
nothing to do between two batches, by CUDA events, first shard left out; pauses inside a batch do not count as idle.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

TASKS = ("pose", "depth", "seg", "normal")
HEAD = "| Task | Precision | Prefetch | Form | Images | Images/s | Idle % | Busy s | Waits for loaders s | In all s |"


class Way(NamedTuple):
    """One line of the table."""

    task: str
    precision: str
    prefetch: int
    form: str  # "", or as behind the mark of a model's name

    @property
    def name(self) -> str:
        """For a folder."""
        return "-".join([self.task, self.precision, str(self.prefetch), *([self.form] if self.form else [])])


def ways(low: str) -> Iterator[Way]:
    """Most important first: the run may be cut short."""
    for task in TASKS:
        for prefetch in (1, 0):
            yield Way(task, low, prefetch, "")
    yield Way("depth", low, 2, "")
    yield Way("depth", low, 1, "channels_last")
    yield Way("depth", "fp32", 1, "")
    yield Way("depth", low, 1, "compile")


def prepare(asked: argparse.Namespace) -> None:
    """Make the weights, and render the pictures with every core."""
    from sapiens_bench.api import evaluate
    from sapiens_bench.testing import random_sapiens

    random_sapiens.write(asked.folder, asked.size)
    # A model without a network: all it does is to have the pictures made, for the runs and for gpu_check itself.
    for split, limit in (("study", asked.images), *([("default", None)] if asked.device != "cpu" else [])):
        out = asked.folder / f"pictures-{split}"
        shutil.rmtree(out, ignore_errors=True)
        evaluate(
            task="depth", models=("oracle-depth",), split=split, limit=limit, device="cpu", n_boot=0,
            datasets=("synthetic-humans",), out=out,
        )  # fmt: skip


def one(way: Way, asked: argparse.Namespace) -> dict[str, Any]:
    """Run it; the figures of its record."""
    from sapiens_bench.api import evaluate

    out = asked.folder / "runs" / way.name
    model = f"random-{asked.size}-{way.task}" + (f"@{way.form}" if way.form else "")
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    record = evaluate(
        task=way.task, models=(model,), datasets=("synthetic-humans",), split="study",
        limit=asked.images, shard_size=asked.shard, cards=(asked.folder / "cards",), out=out, n_boot=0,
        weights_root=asked.folder / "weights", device=asked.device, precision=way.precision,
        prefetch=way.prefetch, batch_size=asked.batch, save_preds=False, max_errors=1.0,
    )  # fmt: skip
    cell, seconds = record.cells[0], time.perf_counter() - began
    timing = cell.timing
    if cell.counts.ok != asked.images:
        raise RuntimeError(f"{cell.counts}, {cell.errors[:2]} {cell.how}")
    return {
        **way._asdict(), "images": timing.images, "images_per_s": timing.images_per_s, "idle": timing.device_idle,
        "busy_s": timing.device_busy_s, "wait_s": timing.wait_s, "seconds": seconds,
        "timing": timing.model_dump(), "hardware": record.hardware.model_dump(), "threads": record.request["loaders"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as markdown."""
    lines = [HEAD, "|" + " --- |" * (HEAD.count("|") - 1)]
    lines += [
        f"| {row['task']} | {row['precision']} | {row['prefetch']} | {row['form'] or 'plain'} | {row['images']} | "
        f"{row['images_per_s']:.2f} | {100 * row['idle']:.2f} | {row['busy_s']:.2f} | {row['wait_s']:.2f} | "
        f"{row['seconds']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def runs(asked: argparse.Namespace) -> None:
    """All ways, one after the other."""
    from sapiens_bench.errors import Interrupted

    rows: list[dict[str, Any]] = []
    for way in ways(asked.low):
        try:
            rows.append(one(way, asked))
        except Interrupted:  # the time is up
            raise
        except Exception as error:  # the others are still wanted
            print(f"{way.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        (asked.out / "runs.md").write_text(table(rows))
        (asked.out / "runs.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))
    if not rows:
        raise SystemExit("no run came to its end")


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("prepare", "runs"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--size", default="0.3b")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--shard", type=int, default=64)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--low", default="bf16")
    asked = parser.parse_args()
    prepare(asked) if asked.what == "prepare" else runs(asked)


if __name__ == "__main__":
    main()
