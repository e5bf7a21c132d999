"""Rendering a factor study ahead of its runs: all levels of a picture together, so that they share what they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sapiens_bench.adapters.synthetic.humans import SyntheticHumans

if TYPE_CHECKING:
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.study.design import Study


def ahead(study: Study, plan: Plan, workers: int, progress: Callable[[int, int], None]) -> None:
    """Render what is missing of every condition; pictures that are there stay. Other studies render nothing.

    Args:
        plan: of the reference.
        progress: called with (pictures done, all of them).
    """
    factors = [str(trial.change.get("data_options", {}).get("factor", "")) for trial in study.all]
    for data in plan.data if study.kind == "factor" else ():
        if isinstance(data.open.adapter, SyntheticHumans):
            data.open.adapter.materialise_levels(factors, range(data.facts.n_samples), workers, progress)
