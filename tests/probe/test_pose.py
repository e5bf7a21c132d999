"""Pose heads: targets are those of the paper's codec, crops those of the wrapper, and a head learns its marks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli import app
from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.heatmaps import encode
from sapiens_bench.models.parts.udp_targets import blur_kernel_of, sigma_of, udp_targets
from sapiens_bench.pixels.affine import box_to_center_scale
from sapiens_bench.probe.objective import Objective
from sapiens_bench.probe.people import person_view
from sapiens_bench.probe.request import DataName, ProbeRequest
from sapiens_bench.probe.run import probe
from sapiens_bench.probe.views import draws
from sapiens_bench.store.record import read_run
from sapiens_bench.tasks.pose.types import PoseTarget

FLIP = np.array([0, 2, 1])


@pytest.fixture
def marked(repository: Path, tmp_path: Path) -> Path:
    """Folder with the card of the marks, and its code beside it."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "marks.yaml").write_text(importlib.import_module("marks").CARD)
    (folder / "marks.py").write_text((repository / "tests" / "fakes" / "marks.py").read_text())
    return folder


def person(points: list[list[float]], visible: list[float]) -> PoseTarget:
    box = np.array([[20.0, 10.0, 60.0, 90.0]])
    known = np.array([visible])
    return PoseTarget(np.array([points]), known, np.ones(1), np.zeros(1, np.bool_), box, np.ones(1, np.int64))


def test_targets_of_a_batch_equal_those_of_the_codec_person_by_person() -> None:
    rng = np.random.default_rng(0)
    input_wh, map_wh = (192, 256), (48, 64)
    points = rng.uniform(-60, 300, (5, 17, 2))  # many beside the crop
    visible = (rng.random((5, 17)) > 0.2).astype(np.float64)
    share = points / (np.array(input_wh) - 1)
    batch = torch.from_numpy(np.concatenate([share, visible[..., None]], 2).astype(np.float32))
    maps, weight = udp_targets(batch, (map_wh[1], map_wh[0]))
    assert sigma_of(64) == 2
    for i in range(5):
        wanted, known = encode(points[i], visible[i], input_wh, map_wh, sigma=2.0)
        assert (weight[i].numpy() == known).all()
        np.testing.assert_allclose(maps[i].numpy(), wanted, atol=2e-5)
    assert 0 < int(weight.sum()) < weight.numel()


def test_the_decoders_blur_follows_the_size_of_the_map() -> None:
    assert [blur_kernel_of(height) for height in (64, 96)] == [11, 17]
    assert blur_kernel_of(8) == 3


def test_the_plain_view_is_the_crop_of_the_box_and_points_lie_in_it_as_udp_has_it() -> None:
    target = person([[20.0, 10.0], [60.0, 90.0], [40.0, 50.0]], [2, 1, 0])
    image = np.zeros((100, 100, 3), np.uint8)
    image[48:53, 38:43] = 255
    view = person_view(image, target, 0, 0, (64, 48), draws("x"), FLIP)
    center, scale = box_to_center_scale(target.boxes_xyxy_px_N4[0], aspect=0.75)
    share = (np.array([[20.0, 10.0], [60.0, 90.0]]) - center + scale / 2) / scale
    assert view["pose"][:2, :2] == pytest.approx(share, abs=1e-5)
    assert view["pose"][:, 2].tolist() == [1, 1, 0]
    assert view["pose"][2].tolist() == [0, 0, 0]  # nobody said where
    bright = np.argwhere(view["image"][0] > 200).mean(0)
    assert bright == pytest.approx([31.5, 23.5], abs=0.6)  # the box's middle is the crop's


def test_a_point_is_found_where_its_mark_is_in_every_changed_view() -> None:
    points = [[30.0, 40.0], [28.0, 60.0], [52.0, 60.0]]
    target = person(points, [2, 2, 2])
    image = np.zeros((100, 100, 3), np.uint8)
    for number, (x, y) in enumerate(points):
        image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3, number] = 255
    for number in range(1, 9):
        view = person_view(image, target, 0, number, (128, 96), draws("seed", number), FLIP)
        for k in range(3):
            channel = view["image"][FLIP[k] if number % 2 else k].astype(float)
            weight = np.where(channel > 0.6 * channel.max(), channel, 0)
            y, x = (float((axis * weight).sum() / weight.sum()) for axis in np.mgrid[:128, :96])
            assert view["pose"][k, :2] * [95, 127] == pytest.approx([x, y], abs=1.5)


def test_a_perfect_map_costs_nothing_and_only_the_hardest_points_count_under_ohkm() -> None:
    points = torch.tensor([[[0.2, 0.3, 1.0], [0.5, 0.5, 1.0], [0.7, 0.1, 1.0], [0.1, 0.9, 0.0], [0.4, 0.4, 1.0]]])
    maps, _ = udp_targets(points, (32, 24))
    mse, ohkm = Objective(("pose",)), Objective(("pose",), pose_loss="ohkm")
    assert float(mse({"pose": maps}, {"pose": points})["pose"]) == 0
    worse = maps.clone()
    worse[0, 1] += 1.0
    worse[0, 2] += 0.1
    worse[0, 3] += 5.0  # nobody knows where that point is
    assert float(mse({"pose": worse}, {"pose": points})["pose"]) == pytest.approx(1000 * 1.01 / 5, rel=1e-4)
    assert float(ohkm({"pose": worse}, {"pose": points})["pose"]) == pytest.approx(1000 * 1.01 / 2, rel=1e-4)


def command(cards: Path, out: Path, *more: str) -> list[str]:
    words = ["probe", "--backbone", "movenet-lightning", "--task", "pose", "--train", "marks:train"]
    words += ["--eval", "marks:test", "--cards", str(cards), "--out", str(out), "--input", "64x64", "--width", "16"]
    return [*words, "--batch-size", "6", "--threads", "1", "--device", "cpu", "--lr", "5e-3", "--views", "4", *more]


def test_a_pose_head_is_fitted_and_ranked_by_the_ordinary_run(marked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, command(marked, out, "--steps", "150"))
    assert done.exit_code == 0, done.output
    (row,) = [cell for cell in read_run(out / "run-pose").cells if cell.status == "done"]
    assert row.model == "probe-movenet-lightning-pose"
    assert row.scores["oks/AP"].value > 0.5
    losses = [line.split(",") for line in (out / "seed-0" / "log.csv").read_text().splitlines() if "validation" in line]
    assert float(losses[-1][3]) < float(losses[0][3]) / 2
    card = (out / "probe-movenet-lightning-pose.yaml").read_text()
    assert "space: coco17" in card
    assert "wrapper: probe_pose" in card


def request(cards: Path, out: Path, **changed: Any) -> ProbeRequest:
    chosen: dict[str, Any] = {
        "backbone": "movenet-lightning", "tasks": ("pose",), "train": DataName("marks", "train"), "out": out,
        "input_hw": (64, 64), "batch": 4, "width": 8, "steps": 2, "lr": 1e-3, "cards": (cards,), "device": "cpu",
        "threads": 1,
    }  # fmt: skip
    return ProbeRequest(**{**chosen, **changed})


def test_what_a_pose_head_cannot_be_is_refused_with_the_reason(marked: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--task pose alone"):
        request(marked, tmp_path, tasks=("pose", "seg"))
    with pytest.raises(UsageError, match="--views 0 with --task pose"):
        request(marked, tmp_path, views=0)
    nobody = request(marked, tmp_path, train=DataName("marks", "nobody"))
    with pytest.raises(UsageError, match="Nobody in the training data"):
        probe(nobody, Catalog.load([marked]), lambda what, done, total: None)
