"""What comes before and beside a network: planning over many pictures, and scoring results made elsewhere."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.pixels.strict_json import read_bytes

PICTURES, RESULTS = 20_000, 5_000


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def people(n_images: int, an_image: int = 1) -> dict[str, Any]:
    """So many people with 17 points on every picture of 64 x 64."""
    rng = np.random.default_rng(0)
    points = np.round(rng.uniform(1, 60, (n_images * an_image, 17, 2)), 2)
    person = {"category_id": 1, "iscrowd": 0, "area": 900.5, "bbox": [2.5, 3.5, 50.5, 55.5], "num_keypoints": 17}
    return {
        "categories": [{"id": 1, "name": "person"}],
        "images": [{"id": i, "width": 64, "height": 64, "file_name": f"{i:05d}.png"} for i in range(n_images)],
        "annotations": [
            {
                **person,
                "id": i + 1,
                "image_id": i // an_image,
                "keypoints": [v for x, y in p.tolist() for v in (x, y, 2)],
            }
            for i, p in enumerate(points)
        ],
    }


def planned(**more: Any) -> Plan:
    return resolve(Request(device="cpu", **more), Catalog.load())


def pictures(folder: Path, n: int = PICTURES) -> None:
    """Links to one picture: an entry of the folder each, as many files have."""
    folder.mkdir(parents=True)
    Image.fromarray(np.ones((64, 64), np.uint8)).save(folder.parent / "one.png")
    for i in range(n):
        os.link(folder.parent / "one.png", folder / f"{i:05d}.png")


KINDS = [("folder of label maps", PICTURES, 0, 5.0), ("COCO keypoints", PICTURES, 1, 5.0),
         ("COCO keypoints of 60,000 people", 30_000, 2, 4.0)]  # fmt: skip


@pytest.mark.parametrize(("kind", "n", "an_image", "goal_s"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_planning_over_many_pictures(
    page: Any, figures: Callable[..., Any], tmp_path: Path, kind: str, n: int, an_image: int, goal_s: float
) -> None:
    request: dict[str, Any] = {"out": tmp_path / "run"}
    if an_image:
        pictures(tmp_path / "val2017", n)
        (tmp_path / "annotations").mkdir()
        file = tmp_path / "annotations/person_keypoints_val2017.json"
        file.write_text(json.dumps(people(n, an_image)))
        request |= {"task": "pose", "models": "oracle", "datasets": "coco-val2017", "data_root": tmp_path}
    else:
        pictures(tmp_path / "set/images", n)
        pictures(tmp_path / "set/labels", n)
        request |= {"task": "seg", "models": "floor-background", "datasets": f"truth[body28]:{tmp_path / 'set'}"}
    seconds: list[float] = []

    def plan() -> None:
        seconds.append(cpu_seconds(lambda: planned(**request)))

    assert planned(**request).n_images == n
    page.call(plan)
    plan()
    plan()

    def looking() -> str:
        looked = cpu_seconds(
            lambda: [entry.stat() for f in tmp_path.rglob("*") if f.is_dir() for entry in os.scandir(f)]
        )
        parsed = cpu_seconds(lambda: json.loads(file.read_bytes())) if an_image else 0.0
        return f"looking at every entry of the folders once takes {looked:.2g} s, parsing the file {parsed:.2g} s"

    page.add("Planning", f"{n:,} pictures, {kind}", figures(seconds)._replace(value=min(seconds)), "s",
             at_most=goal_s, beside="CPU time", if_missed=looking)  # fmt: skip


def test_scoring_5000_results_beyond_parsing(page: Any, figures: Callable[..., Any], tmp_path: Path) -> None:
    """From two files to the ten numbers with their intervals of 1,000 draws, rows on disk; libraries are loaded."""
    truth = people(RESULTS)
    rng = np.random.default_rng(1)
    found = []
    for person in truth["annotations"]:
        triples = np.array(person["keypoints"]).reshape(17, 3)
        triples[:, :2] = np.round(triples[:, :2] + rng.normal(0, 2, (17, 2)), 2)
        about = {"image_id": person["image_id"], "category_id": 1, "score": 0.5}
        found.append({**about, "keypoints": triples.ravel().tolist()})
    files = {"truth": tmp_path / "truth.json", "found": tmp_path / "found.json"}
    files["truth"].write_text(json.dumps(truth))
    files["found"].write_text(json.dumps(found))
    seconds: list[float] = []
    numbers = itertools.count()  # a folder each: nothing is found on disk

    def score() -> None:
        plan = planned(
            task="pose", models=f"predictions:{files['found']}", datasets=f"truth:{files['truth']}", boxes="none",
            shard_size=1024, out=tmp_path / f"run{next(numbers)}",
        )  # fmt: skip
        record = run(plan, lambda event: None)
        assert record.cells[0].counts.ok == RESULTS

    def parse() -> None:
        for path in files.values():
            json.loads(read_bytes(path))

    def beyond() -> None:
        seconds.append(cpu_seconds(score) - cpu_seconds(parse))

    score()  # libraries are loaded
    page.call(beyond)
    beyond()
    page.add("Results made elsewhere", f"{RESULTS:,} x 17 scored from two files, beyond parsing",
             figures(seconds)._replace(value=min(seconds)), "s", at_most=2.0, beside="CPU time, 1,000 draws in it",
             if_missed=lambda: f"parsing, which is not in it, takes {cpu_seconds(parse):.2g} s")  # fmt: skip
