"""What studies cost: a rendered picture in full and recoloured, 200 pairs of a factor, corruptions beside a network.

CPU seconds of one thread at 512 x 384; ``pytest tests/benchmarks/test_bench_study.py --benchmark-only``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.adapters.conditions.condition import CORRUPTIONS, LEVELS, Condition
from sapiens_bench.adapters.conditions.conditioned import changed
from sapiens_bench.models.movenet import MoveNetPose
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.render import scene
from sapiens_bench.render.factors import AS_DRAWN, FACTORS, Redraw, redraw
from sapiens_bench.render.scene import Scene, draw_setting, render
from sapiens_bench.types import ModelInput

TOPIC = "Studies"
EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"
SCENES = (2, 3, 4, 7, 9, 10)  # of split study: whole bodies, two pairs, an upper body, a face
PAIRS, CORES, ALLOWED_S = 200, 2, 240


def seconds_of(function: Callable[[], object], rounds: int = 1) -> float:
    """CPU seconds, of the fastest round."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def geometry() -> list[Redraw]:
    """One level of every factor that changes the truth."""
    chosen = [redraw(f"{name}={factor.levels(2)[1]}") for name, factor in FACTORS.items()]
    return [change for change in chosen if not change.is_appearance]


def colours() -> dict[str, Redraw]:
    """One level of every factor that changes appearance alone."""
    chosen = {name: redraw(f"{name}={factor.levels(2)[1]}") for name, factor in FACTORS.items()}
    return {name: change for name, change in chosen.items() if change.is_appearance}


def alone(index: int, change: Redraw) -> None:
    """A picture that shares nothing with one before it."""
    scene._made.cache_clear()
    render("study", index, redraw=change)


def test_bench_pictures_of_a_factor(page: Any, figures: Any) -> None:
    render("study", 0)  # the kit is read, tables are made
    whole = [seconds_of(partial(alone, index, change), 2) for index, change in zip(cycle(SCENES), geometry())]
    mean = float(np.mean(whole))
    page.call(lambda: render("study", SCENES[0]))
    goal = {"at_most": 0.5, "beside": f"{len(whole)} pictures, a factor each, rounds are pictures"}
    page.add(TOPIC, "a picture under a factor of geometry", figures(whole)._replace(value=mean), "s", **goal)
    estimate = mean * PAIRS / CORES
    beside = f"{PAIRS} pictures at {mean:.2f} CPU-s on {CORES} cores; each further level as much again"
    page.add(TOPIC, f"{PAIRS} pairs of a level of geometry, rendered", estimate, "s", at_most=ALLOWED_S, beside=beside)


def test_bench_pictures_of_one_rasterisation(page: Any, figures: Any) -> None:
    scenes = [Scene(draw_setting("study", index)) for index in SCENES]
    for each in scenes:
        each.picture(AS_DRAWN)
    page.call(lambda: scenes[0].picture(AS_DRAWN))
    for name, change in colours().items():
        costs = []
        for each in scenes:
            first = len(each.canvas.shadows)
            costs.append(seconds_of(partial(each.picture, change)))
            has_new_shadows = len(each.canvas.shadows) > first
        mean = figures(costs)._replace(value=float(np.mean(costs)))
        goal = {} if has_new_shadows else {"at_most": 0.15}  # 0.15 is for what changes only colour
        beside = "the lamp moves, so shadows are made again" if has_new_shadows else "the rasterisation is there"
        page.add(TOPIC, f"one more picture, {name} set", mean, "s", beside=beside, **goal)


def test_bench_corruptions_beside_a_network(page: Any, figures: Any) -> None:
    graph = load_graph(EMBEDDED / "movenet_lightning.safetensors")
    network = MoveNetPose(graph)
    crop = torch.zeros((1, graph.input_size, graph.input_size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    box = np.array([[60, 40, 320, 480]], np.float32)
    given = ModelInput("study/000003", render("study", 3).rgb_HW3, box, np.ones(1, np.float32))
    names = [name for name, (_, moves) in CORRUPTIONS.items() if not moves]
    conditions = [Condition(name=name, level=level) for name in names for level in range(1, LEVELS + 1)]
    costs = {condition.text: 9.0 for condition in conditions}
    inference = 9.0
    with torch.inference_mode():
        page.call(lambda: network(crop))
        for _ in range(5):  # in turn, so that a busy machine slows both
            inference = min(inference, *(seconds_of(lambda: network(crop)) for _ in range(8)))
            for condition in conditions:
                took = seconds_of(partial(changed, given, condition))
                costs[condition.text] = min(costs[condition.text], took)
    shares = {text: 100 * cost / inference for text, cost in costs.items()}
    beside = f"{len(shares)} corruptions, MoveNet Lightning {1000 * inference:.1f} ms a person"
    found = figures(list(shares.values()))._replace(value=float(np.mean(list(shares.values()))))
    page.add(TOPIC, "a corruption, mean share of MoveNet inference", found, "%", at_most=15, beside=beside)
    dearest = sorted(shares, key=lambda text: shares[text])[-1]
    dear = ", ".join(f"{text} {share:.0f}" for text, share in shares.items() if share > 15) or "none"
    page.add(TOPIC, f"the dearest corruption, {dearest}", shares[dearest], "%", beside=f"those above 15 %: {dear}")
    assert len(shares) == LEVELS * len(names)
