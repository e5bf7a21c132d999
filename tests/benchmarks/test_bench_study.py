"""What studies cost: a rendered picture in full and recoloured, 200 pairs of a factor, corruptions beside a network.

CPU seconds of one thread at 512 x 384; ``pytest tests/benchmarks/test_bench_study.py --benchmark-only``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.adapters.conditions.condition import CORRUPTIONS, LEVELS, Condition
from sapiens_bench.adapters.conditions.conditioned import changed
from sapiens_bench.models.movenet import MoveNetPose
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.render.factors import AS_DRAWN, FACTORS, Redraw, redraw
from sapiens_bench.render.scene import Scene, draw_setting, render
from sapiens_bench.types import ModelInput

TOPIC = "Studies"
EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"
SCENES = (2, 3, 4, 7, 9, 10)  # of split study: whole bodies, two pairs, an upper body, a face
PAIRS, CORES, ALLOWED_S = 200, 2, 240


def seconds_of(function: Any) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def geometry() -> list[Redraw]:
    """One level of every factor that changes the truth."""
    chosen = [redraw(f"{name}={factor.levels(2)[1]}") for name, factor in FACTORS.items()]
    return [change for change in chosen if not change.is_appearance]


def colours() -> dict[str, Redraw]:
    """One level of every factor that changes appearance alone."""
    chosen = {name: redraw(f"{name}={factor.levels(2)[1]}") for name, factor in FACTORS.items()}
    return {name: change for name, change in chosen.items() if change.is_appearance}


def test_bench_pictures_of_a_factor(page: Any, figures: Any) -> None:
    render("study", 0)  # the kit is read, tables are made
    whole = [seconds_of(lambda c=change, i=index: render("study", i, redraw=c))
             for index, change in zip(SCENES * 2, geometry())]  # fmt: skip
    mean = float(np.mean(whole))
    page.call(lambda: render("study", SCENES[0]))
    goal = {"at_most": 0.5, "beside": f"{len(whole)} pictures, a factor each, rounds are pictures"}
    page.add(TOPIC, "a picture under a factor of geometry", figures(whole)._replace(value=mean), "s", **goal)
    estimate = mean * PAIRS / CORES
    beside = f"{PAIRS} pictures at {mean:.2f} CPU-s on {CORES} cores; each further level as much again"
    page.add(TOPIC, f"{PAIRS} pairs of a level of geometry, rendered", estimate, "s", at_most=ALLOWED_S, beside=beside)


def test_bench_pictures_of_one_rasterisation(page: Any, figures: Any) -> None:
    scenes = [Scene(draw_setting("study", index)) for index in SCENES]
    for scene in scenes:
        scene.picture(AS_DRAWN)
    page.call(lambda: scenes[0].picture(AS_DRAWN))
    every: list[float] = []
    for name, change in colours().items():
        costs = [seconds_of(lambda s=scene, c=change: s.picture(c)) for scene in scenes]
        every += costs
        mean = figures(costs)._replace(value=float(np.mean(costs)))
        goal = {"at_most": 0.15, "beside": "the rasterisation of the scene is there"}
        page.add(TOPIC, f"one more picture, {name} set", mean, "s", **goal)
    assert len(every) == len(SCENES) * len(colours())


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
                took = seconds_of(lambda c=condition: changed(given, c))
                costs[condition.text] = min(costs[condition.text], took)
    shares = {text: 100 * cost / inference for text, cost in costs.items()}
    beside = f"{len(shares)} corruptions, MoveNet Lightning {1000 * inference:.1f} ms a person"
    found = figures(list(shares.values()))._replace(value=float(np.mean(list(shares.values()))))
    page.add(TOPIC, "a corruption, mean share of MoveNet inference", found, "%", at_most=15, beside=beside)
    dearest = sorted(shares, key=lambda text: shares[text])[-1]
    dear = ", ".join(f"{text} {share:.0f}" for text, share in shares.items() if share > 15) or "none"
    page.add(TOPIC, f"the dearest corruption, {dearest}", shares[dearest], "%", beside=f"those above 15 %: {dear}")
    assert len(shares) == LEVELS * len(names)
