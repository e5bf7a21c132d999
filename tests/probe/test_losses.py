"""Losses and layer decay: values worked by hand (the official goldens are in tests/golden)."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import Parameter

from sapiens_bench.probe import losses
from sapiens_bench.probe.optim import layer_decay, layer_id


def test_silog_of_a_scaled_map_keeps_half_of_the_squared_mean() -> None:
    target = torch.tensor([[[1.0, 2.0, -1.0]]])
    pred = target.abs() * 3
    assert float(losses.silog(pred, target)) == pytest.approx(math.sqrt(0.5) * math.log(3), rel=1e-6)


def test_silog_of_an_empty_mask_is_zero_and_keeps_the_gradient() -> None:
    pred = torch.ones(1, 2, 2, requires_grad=True)
    loss = losses.silog(pred, -torch.ones(1, 2, 2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert pred.grad is not None


def test_cross_entropy_counts_ignored_pixels_in_the_denominator() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    labels = torch.tensor([[[0, 255]]])
    loss = losses.weighted_cross_entropy(logits, labels, torch.tensor([2.0, 1.0]))
    assert float(loss) == pytest.approx(2 * math.log(2) / 2, rel=1e-6)


def test_ohkm_keeps_the_hardest_keypoints() -> None:
    pred = torch.zeros(1, 3, 1, 1)
    target = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert float(losses.keypoint_ohkm(pred, target, torch.ones(1, 3), top=2)) == pytest.approx((9 + 4) / 2)
    assert float(losses.keypoint_mse(pred, target, torch.tensor([[1.0, 1.0, 0.0]]))) == pytest.approx(5 / 3)


def test_normal_losses_of_opposite_vectors() -> None:
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 2).clone()
    target[..., 1] = -1000.0
    valid = losses.valid_normals(target)
    assert valid.tolist() == [[[True, False]]]
    assert float(losses.normal_cosine(-target, target, valid)) == pytest.approx(2.0)
    assert float(losses.normal_l1(-target, target, valid)) == pytest.approx(2.0)


def test_layers_are_numbered_from_the_patch_embedding_to_the_head() -> None:
    assert layer_id("backbone.pos_embed", 24) == 0
    assert layer_id("backbone.layers.23.ln1.weight", 24) == 24
    assert layer_id("head.final_layer.weight", 24) == 25
    found = layer_decay([("head.w", Parameter(torch.zeros(2, 2)))], num_layers=2, rate=0.5, lr=1.0, weight_decay=0.1)
    assert found == {"head.w": {"lr_scale": 1.0, "lr": 1.0, "weight_decay": 0.1}}
