"""The simulation of docs/scale.md keeps the laws that any schedule keeps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "tools" / "scale_simulation.py"
    spec = importlib.util.spec_from_file_location("scale_simulation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_simulation"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def world(simulation: ModuleType, **changes: Any) -> Any:
    """One in which nothing costs or fails."""
    free = {
        "load_s": 0.0, "driver_s": 0.0, "commit_ops": 0, "node_mtbf_s": 0.0, "slow_share": 0.0, "jitter": 0.0,
    }  # fmt: skip
    return simulation.World(**{**free, **changes})


ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 9.0)), min_size=1, max_size=40)


def items_of(simulation: ModuleType, drawn: list[tuple[str, float]]) -> list[Any]:
    return [simulation.Item(model, i, seconds) for i, (model, seconds) in enumerate(sorted(drawn))]


@given(ITEMS, st.integers(1, 12), st.booleans())
@settings(deadline=None, max_examples=50)
def test_without_costs_it_is_a_list_schedule(
    simulation: ModuleType, drawn: list[tuple[str, float]], gpus: int, by_model: bool
) -> None:
    items = items_of(simulation, drawn)
    out = simulation.simulate(items, gpus, world(simulation), by_model=by_model)
    seconds = [item.seconds for item in items]
    assert out.done == len(items)
    assert max(max(seconds), sum(seconds) / gpus) - 1e-6 <= out.seconds <= sum(seconds) / gpus + max(seconds) + 1e-6


@given(ITEMS, st.integers(1, 20), st.integers(0, 5), st.booleans())
@settings(deadline=None, max_examples=50)
def test_every_item_is_done_once_whatever_fails(
    simulation: ModuleType, drawn: list[tuple[str, float]], gpus: int, seed: int, by_model: bool
) -> None:
    items = items_of(simulation, drawn)
    failing = world(simulation, node_mtbf_s=30.0, node_down_s=5.0, slow_share=0.3, load_s=0.5)
    out = simulation.simulate(items, gpus, failing, seed, by_model)
    assert out.done == len(items)
    assert (out.lost_s > 0) <= (out.redone > 0)


def test_one_gpu_loads_every_model_once_and_many_load_more_unless_each_stays_with_its_own(
    simulation: ModuleType,
) -> None:
    items = items_of(simulation, [(model, 1.0) for model in "abc" for _ in range(40)])
    costly = world(simulation, load_s=2.0)
    assert simulation.simulate(items, 1, costly).load_s == 3 * 2.0
    assert simulation.simulate(items, 6, costly).load_s >= 6 * 2 * 2.0
    assert simulation.simulate(items, 6, costly, by_model=True).load_s < 10 * 2.0


def test_the_driver_and_the_file_system_bound_the_rate(simulation: ModuleType) -> None:
    items = items_of(simulation, [("a", 0.1)] * 200)
    slow_driver = simulation.simulate(items, 100, world(simulation, driver_s=0.5))
    slow_files = simulation.simulate(items, 100, world(simulation, commit_ops=10, fs_ops_per_s=20.0))
    assert slow_driver.seconds == pytest.approx(200 * 0.5 - 0.5 + 0.1)
    assert slow_files.seconds == pytest.approx(0.1 + 200 * 0.5)
    assert slow_files.fs_wait_s > 50


def test_the_committed_profiles_give_a_pace_to_every_model_of_the_suite(simulation: ModuleType) -> None:
    seconds, sources = simulation.paces()
    assert len(seconds) == 16
    assert sources
    assert all(0 < value < 5 for value in seconds.values())
    assert seconds["sapiens-2b-depth"] > seconds["sapiens-0.3b-depth"]
