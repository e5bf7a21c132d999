"""The decoder: folding keeps the function, files keep the head, losses reward what the scores reward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sapiens_bench.errors import CheckpointRejected, ShapeError
from sapiens_bench.models.parts.dense_head import DenseHead, HeadPlan, Tap
from sapiens_bench.models.parts.head_file import HeadFile, load_head, save_head
from sapiens_bench.models.parts.trunks import SHIPPED, open_trunk
from sapiens_bench.probe.losses import aligned_depth, relative_depth
from sapiens_bench.probe.objective import Objective, class_weights

TAPS = (Tap("a", 4, 5), Tap("b", 8, 6), Tap("c", 4, 3))
PLAN = HeadPlan(TAPS, {"seg": 3, "depth": 1}, width=8, fine_width=8, stem=4)


def inputs(n: int = 2) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(1)
    maps = [torch.randn(n, tap.channels, 32 // tap.stride, 64 // tap.stride) for tap in TAPS]
    return maps, torch.randint(0, 256, (n, 3, 32, 64), dtype=torch.uint8)


def trained() -> DenseHead:
    """A head whose normalisation layers have seen something."""
    torch.manual_seed(0)
    head = DenseHead(PLAN)
    head.standardise([torch.full((t.channels,), 0.3) for t in TAPS], [torch.full((t.channels,), 2.0) for t in TAPS])
    head.train()
    for _ in range(3):
        head(*inputs())
    return head.eval()


def test_folding_the_normalisation_keeps_the_function() -> None:
    head = trained()
    before = head(*inputs())
    after = head.fold()(*inputs())
    assert before["seg"].shape == (2, 3, 16, 32)
    assert all(torch.allclose(before[task], after[task], atol=1e-4) for task in before)


def test_a_head_without_a_stem_answers_at_the_finest_map_and_never_sees_the_picture() -> None:
    head = DenseHead(HeadPlan(TAPS, {"normal": 3}, width=8, fine_width=8, stem=0)).eval()
    assert head(inputs()[0])["normal"].shape == (2, 3, 8, 16)


def test_a_file_gives_the_head_back_and_equal_heads_give_equal_bytes(tmp_path: Path) -> None:
    about = HeadFile("movenet-lightning", "0" * 64, (32, 64), PLAN, {"steps": 3})
    head = trained().fold()
    data = save_head(about, head, None)
    assert data == save_head(about, trained().fold(), None)
    (tmp_path / "head.safetensors").write_bytes(data)
    found, again, trunk = load_head(tmp_path / "head.safetensors")
    assert found == about
    assert trunk == {}
    assert torch.allclose(head(*inputs())["seg"], again(*inputs())["seg"], atol=2e-2)


@pytest.mark.parametrize("fault", ["cut", "foreign", "nan", "missing"])
def test_files_that_cannot_be_a_head_are_refused_by_name(tmp_path: Path, fault: str) -> None:
    from safetensors.torch import load, save

    head = trained().fold()
    if fault == "nan":
        head.out["seg"].bias.data[0] = float("nan")
    data = save_head(HeadFile("movenet-lightning", "0", (32, 64), PLAN), head, None)
    if fault == "cut":
        data = data[: len(data) // 2]
    if fault == "foreign":
        data = save(load(data))
    if fault == "missing":
        bigger = HeadPlan(TAPS, {"seg": 3, "depth": 1, "normal": 3}, width=8, fine_width=8, stem=4)
        data = save_head(HeadFile("movenet-lightning", "0", (32, 64), bigger), head, None)
    path = tmp_path / "head.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointRejected, match=r"head\.safetensors cannot be used"):
        load_head(path)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_trunks_answer_as_they_say_at_portrait_sizes(name: str) -> None:
    trunk = open_trunk(name, input_hw=(128, 96))
    with torch.inference_mode():
        maps = trunk(torch.zeros(1, 3, 128, 96, dtype=torch.uint8))
    assert [tuple(m.shape[1:]) for m in maps] == [(t.channels, 128 // t.stride, 96 // t.stride) for t in trunk.taps]
    with pytest.raises(ShapeError, match="multiples of 32"):
        trunk(torch.zeros(1, 3, 100, 96))


def test_aligned_depth_is_zero_for_any_scale_and_shift_and_not_for_depth_turned_round() -> None:
    depth = torch.rand(2, 8, 8) + 2
    depth[:, :2] = 0  # no truth there
    assert float(aligned_depth(depth * 7 + 3, depth)) < 1e-4
    assert float(aligned_depth(-depth, depth)) > 0.05
    assert float(aligned_depth(depth, torch.zeros_like(depth))) == 0


def test_aligned_depth_of_a_constant_is_the_spread_about_the_mean() -> None:
    depth = torch.tensor([[[1.0, 3.0] * 8] * 2])
    assert float(aligned_depth(torch.ones_like(depth), depth)) == pytest.approx((1 / 1 + 1 / 3) / 2, abs=1e-4)


def test_the_depth_target_is_nearest_0_farthest_1_and_background_minus_1() -> None:
    depth = torch.tensor([[[0.0, 2.0], [3.0, 4.0]]])
    assert relative_depth(depth).tolist() == [[[-1.0, 0.0], [0.5, 1.0]]]


def test_rare_classes_weigh_more_and_absent_ones_1() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.uint8).numpy()
    labels[0, 0, :4] = 1
    labels[0, 1, :] = 255
    weight = class_weights(labels, 3)
    assert weight[1] / weight[0] == pytest.approx((86 / 4) ** 0.5)
    assert (86 * weight[0] + 4 * weight[1]) / 90 == pytest.approx(1)
    assert weight[2] == 1


def test_the_objective_sums_nothing_where_a_batch_has_no_person() -> None:
    objective = Objective(("depth", "normal"), depth_loss="aligned")
    predictions = {"depth": torch.randn(1, 1, 4, 4), "normal": torch.randn(1, 3, 4, 4)}
    batch = {"depth": torch.zeros(1, 4, 4), "normal": torch.zeros(1, 3, 4, 4, dtype=torch.int16)}
    assert {task: float(loss) for task, loss in objective(predictions, batch).items()} == {"depth": 0, "normal": 0}
