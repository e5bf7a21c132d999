"""Jobs that make files, given to the workers of a Ray cluster: pictures to be rendered, feature maps of a trunk.

The same crew as for rows: a few jobs are a shard, a worker that dies is replaced, what it had is charged and goes back.
Files appear whole or not at all, so either engine goes on where the other was stopped.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sapiens_bench.engine.choices import Places
from sapiens_bench.engine.crew import TRIES, Answer, Crew, Item, Queue
from sapiens_bench.engine.job_lists import listed_in
from sapiens_bench.engine.ray_cluster import cores_for, joined
from sapiens_bench.engine.ray_pool import RayPool, setup_of, told_in
from sapiens_bench.engine.ray_worker import JobWorker
from sapiens_bench.engine.stopping import guarded, signals_raise
from sapiens_bench.errors import WorkerDied
from sapiens_bench.workers import OnDone

MOST_JOBS = 16  # of a shard
JOBS_PER_MORE = 64  # jobs in all, for each that a shard has more


def spread_jobs(
    places: Places,
    on_note: Callable[[str], None],
    stack: ExitStack,
    function: str,
    arguments: Sequence[Any],
    folder: Path,
    on_done: OnDone,
) -> None:
    """``workers.run_all`` on a cluster.

    Args:
        stack: ends the cluster, where it is started here.

    Raises:
        WorkerDied: jobs that cost three workers each; all others are done.
        UsageError, MachineFault: see ``spread``. What a job raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = _cut(len(arguments))
    told = ([arguments[i] for i in shard] for shard in shards)
    with (
        signals_raise(),
        listed_in(folder, told) as jobs,
        told_in(folder, {**setup_of(), "function": function, "jobs": str(jobs.resolve())}) as file,
    ):
        cluster = stack.enter_context(joined(places.address, cores_for(places.workers, places.threads)))
        if cluster.note:
            on_note(cluster.note)
        pool = RayPool(cluster, places, file, lambda hello: None, JobWorker)

        def take(item: Item, worker: int, answer: Answer) -> None:
            for index, value in zip(shards[item.shard], answer.about["values"], strict=True):
                on_done(index, value)

        try:
            lost = Crew(pool, Queue([("", array("q", range(len(shards))))]), take, on_note).work()
        finally:
            with guarded():
                pool.close()
    if lost:
        raise WorkerDied(
            f"{sum(len(shards[each.item.shard]) for each in lost)} of {len(arguments)} jobs ended {TRIES} workers each "
            f"(out of memory?): {lost[0].whys[-1]} All others are done and kept; the same command tries these again."
        )


def _cut(n: int) -> list[range]:
    """Which jobs are a shard: few enough for the workers to end at the same time, enough for no time to be lost."""
    size = min(MOST_JOBS, 1 + n // JOBS_PER_MORE)
    return [range(first, min(first + size, n)) for first in range(0, n, size)]
