"""Reports of ten models on 5,000 images: whole commands, the truth there, and the page in a browser; CPU seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

TOPIC = "Reports of ten models on 5,000 images"
CODE = (
    "import sys; sys.argv[0] = 'sapiens-bench'\n"
    "from sapiens_bench.cli import main\n"
    "try:\n    main()\n"
    "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
)
N, M, K = 5_000, 10, 17
BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


def data_of(folder: Path) -> list[Path]:
    """A COCO set of N small pictures with two people each, and the results of M models that err more and more."""
    rng = np.random.Generator(np.random.Philox(0))
    pictures, truth = folder / "coco/val2017", folder / "coco/annotations"
    pictures.mkdir(parents=True)
    truth.mkdir()
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    found: list[list[dict[str, Any]]] = [[] for _ in range(M)]
    for i in range(1, N + 1):
        name = f"{i:012d}.jpg"
        cv2.imwrite(str(pictures / name), rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(10, 0).repeat(10, 1))
        images.append({"id": i, "file_name": name, "width": 160, "height": 120})
        for at in range(2):
            x, y, w, h = 5 + 75 * at, 10, 60, 100
            xy = rng.uniform((x, y), (x + w, y + h), (K, 2))
            people.append({
                "id": len(people) + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [x, y, w, h],
                "area": 0.6 * w * h, "num_keypoints": K,
                "keypoints": np.c_[xy, np.full(K, 2)].round(2).ravel().tolist(),
            })  # fmt: skip
            for m in range(M):
                kept = np.c_[xy + rng.normal(0, 1 + 0.4 * m, (K, 2)), rng.uniform(0.3, 1, K)]
                score = float(rng.uniform(0.3, 1))
                keypoints = kept.round(2).ravel().tolist()
                found[m].append({"image_id": i, "category_id": 1, "keypoints": keypoints, "score": score})
    names = [f"p{k}" for k in range(K)]
    content = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person", "keypoints": names}]}
    (truth / "person_keypoints_val2017.json").write_text(json.dumps(content))
    paths = [folder / f"m{m}.json" for m in range(M)]
    for path, results in zip(paths, found, strict=True):
        path.write_text(json.dumps(results))
    return paths


def spent(*words: str, cwd: Path) -> tuple[float, float, str]:
    """CPU seconds and most memory (MB) of a command with its children; what it wrote to stderr."""
    with (cwd / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = (cwd / "stderr.txt").read_text(errors="replace")
    assert process.returncode == 0, said
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    models = ",".join(f"predictions:{p}" for p in data_of(path))
    spent(
        sys.executable, "-c", CODE, "run", "--task", "pose", "--dataset", "coco-val2017", "--data-root", "coco",
        "--models", models, "--boxes", "gt", "--out", "run", cwd=path,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("form", ["text", "md", "latex", "html"])
def test_reports(page: Any, folder: Path, form: str) -> None:
    words = [sys.executable, "-c", CODE, "report", "run", "--format", form, "--out", f"report.{form}"]
    if form == "html":  # with the truth: error diagnosis and gallery
        words += ["--data-root", "coco", "--with-pictures"]
    found: list[tuple[float, float, str]] = []
    page.call(lambda: found.append(spent(*words, cwd=folder)))
    ((seconds, peak, said),) = found
    assert said.split()[-1] == "False"  # torch was not imported
    page.add(TOPIC, f"`report --format {form}`", seconds, "s", at_most=20, beside=f"{peak:.0f} MB")
    page.add(TOPIC, f"`report --format {form}`: most memory", peak, "MB", at_most=1024)
    if form == "html":
        text = (folder / "report.html").read_text()
        assert "lost: jitter" in text
        assert text.count("data:image") >= 10


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_page_opens(page: Any, folder: Path) -> None:
    assert BROWSER is not None
    words = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=profile", "--dump-dom"]
    found: list[tuple[float, float, str]] = []
    page.call(lambda: found.append(spent(*words, (folder / "report.html").as_uri(), cwd=folder)))
    page.add(TOPIC, "the page opens in Chromium, its start included", found[0][0], "s", at_most=2)
