"""Reading a large annotation file, of the size that the goal names, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sapiens_bench.cards.catalog import Catalog

TOPIC = "Reading annotations"
OPEN = """
import sys, time
from pathlib import Path
import importlib.util
def peak():  # of this process alone; ru_maxrss would start from the parent's
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
spec = importlib.util.spec_from_file_location("fake_coco_data", sys.argv[1])
fake = importlib.util.module_from_spec(spec); spec.loader.exec_module(fake)
catalog = fake.Catalog.load()
before, start = peak(), time.process_time()
data = fake.opened(catalog, sys.argv[2], sys.argv[3], Path(sys.argv[4]))
print(len(data), time.process_time() - start, peak() - before)
"""


def write_people(path: Path, n_people: int, n_points: dict[str, int]) -> int:
    """People, two an image, each part list with as many points; returns the file's bytes."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        images = [
            {"id": i + 1, "width": 640, "height": 480, "file_name": f"{i + 1:012d}.jpg"} for i in range(n_people // 2)
        ]
        file.write('{"info": {}, "categories": [{"id": 1, "name": "person"}], "images": ' + json.dumps(images))
        file.write(', "annotations": [')
        for n in range(n_people):
            person: dict[str, Any] = {"id": n + 1, "image_id": n // 2 + 1, "category_id": 1, "iscrowd": 0,
                                      "area": 900.5, "bbox": [50.25, 60.5, 140.75, 150.25]}  # fmt: skip
            for name, k in n_points.items():
                points = np.round(rng.uniform(1, 400, (k, 3)), 7)
                points[:, 2] = 2
                person[name] = points.ravel().tolist()
                person[f"{name.removesuffix('_kpts')}_valid"] = True
            person["num_keypoints"] = n_points["keypoints"]
            file.write((", " if n else "") + json.dumps(person))
        file.write("]}")
    return path.stat().st_size


PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
N_PEOPLE = 51_000
ROUNDS = 3


def test_reading_a_large_file(page: Any, repository: Path, tmp_path: Path, figures: Callable[..., Any]) -> None:
    card = Catalog.load().dataset("coco-wholebody-val")
    protocol = next(p for p in card.protocols if p.startswith("gt"))
    path = tmp_path / card.protocols[protocol].options["annotations"]
    path.parent.mkdir(parents=True)
    size = write_people(path, N_PEOPLE, PARTS)
    script = str(repository / "tests/fakes/coco_data.py")
    words = [sys.executable, "-c", OPEN, script, "coco-wholebody-val", protocol, str(tmp_path)]

    def read() -> tuple[float, float]:
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        n, seconds, added = done.stdout.split()
        assert int(n) == N_PEOPLE // 2
        return float(seconds), float(added)

    found: list[tuple[float, float]] = []
    page.call(lambda: found.append(read()))
    found += [read() for _ in range(ROUNDS - 1)]
    times, memory = zip(*found, strict=True)

    def parsing() -> str:
        data, start = path.read_bytes(), time.process_time()
        msgspec.json.decode(data)
        seconds = time.process_time() - start
        return f"a parser that makes Python's objects of the file, and checks nothing, takes {seconds:.2g} s"

    what = f"WholeBody-like: {N_PEOPLE:,} people, {size / 1e6:.0f} MB"
    page.add(TOPIC, what, figures(times)._replace(value=min(times)), "s", at_most=7, beside="CPU time",
             if_missed=parsing)  # fmt: skip
    page.add(TOPIC, f"{what}: memory added", figures(memory)._replace(value=max(memory)), "MB", at_most=600,
             if_missed=lambda: f"the file itself is {size / 2**20:.0f} MB of it")  # fmt: skip
