from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapiens_bench.models.sapiens_net import SIZES, encoder_config, head_config, on_meta
from sapiens_bench.profiling import paper
from sapiens_bench.profiling.counts import core_of, count

# TFLOPs of FlopCounterMode on the official networks: encoder at 1024x768, and the heads' cost and parameters.
ENCODER_TFLOPS = {"0.3b": 2.788, "0.6b": 5.418, "1b": 9.284, "2b": 16.534}
HEADS = [
    ("pose", 17, "0.3b", 0.427, 23.21), ("pose", 133, "1b", 0.474, 29.60), ("pose", 308, "2b", 0.516, 34.45),
    ("seg", 28, "0.6b", 1.961, 36.40), ("depth", 1, "1b", 1.740, 16.81), ("normal", 3, "2b", 2.001, 44.24),
]  # fmt: skip


def encoder(size: str, hw: tuple[int, int], class_token: bool = False) -> nn.Module:
    grid = (hw[0] // 16, hw[1] // 16)
    return on_meta(encoder_config(size, grid_hw=grid, class_token=class_token), None)


@pytest.mark.parametrize("size", SIZES)
def test_encoder_operations_equal_those_of_the_official_network(size: str) -> None:
    net = encoder(size, (1024, 768))
    found = count(lambda: net(torch.empty(1, 3, 1024, 768, device="meta")), net)
    assert round(found.flops / 1e12, 3) == ENCODER_TFLOPS[size]
    assert found.method == "meta"


@pytest.mark.parametrize(("kind", "outputs", "size", "tflops", "params_m"), HEADS)
def test_head_operations_and_parameters_equal_those_of_the_official_network(
    kind: str, outputs: int, size: str, tflops: float, params_m: float
) -> None:
    net = on_meta(encoder_config(size, patch_padding=2), head_config(kind, outputs))  # type: ignore[arg-type]
    found = count(lambda: net(torch.empty(1, 3, 1024, 768, device="meta")), net)
    assert found.macs_head is not None
    assert found.params_head is not None
    assert found.params_encoder is not None
    assert 2 * found.macs_head / 1e12 == pytest.approx(tflops, abs=6e-4)
    assert found.params_head / 1e6 == pytest.approx(params_m, abs=0.006)
    assert found.params_head + found.params_encoder == found.params_total


def test_an_encoder_with_class_token_has_the_formula_s_true_macs() -> None:
    net = encoder("0.3b", (1024, 1024), class_token=True)
    found = count(lambda: net(torch.empty(1, 3, 1024, 1024, device="meta")), net)
    sizes = paper.Encoder(*SIZES["0.3b"][:2])
    assert found.macs_total == paper.true_macs(sizes)
    assert found.params_total == paper.encoder_parameters(sizes)
    assert found.macs_linear == paper.true_macs(sizes) - 2 * 4097**2 * 1024 * 24


class Small(nn.Module):
    """Conv (2 -> 3, 3x3), a transposed one (3 -> 4, 2x2, stride 2), a linear layer, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(2, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.backbone(x))  # [B, 4, 12, 16]
        tokens = x.flatten(2).transpose(1, 2)  # [B, 192, 4]
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.fc(mixed)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("batch", [1, 3])
def test_macs_by_hand_are_the_same_on_every_device_and_batch(device: str, batch: int) -> None:
    net = Small().to(device)
    found = count(lambda: net(torch.empty(batch, 2, 6, 8, device=device)), net, n_crops=batch)
    conv = 48 * 3 * 2 * 9
    transposed = 48 * 3 * 4 * 4
    linear = 192 * 4 * 5
    attention = 2 * 192 * 192 * 4
    assert found.macs_linear == conv + transposed + linear
    assert found.macs_total == found.macs_linear + attention
    assert found.macs_encoder == conv
    assert found.params_total == 57 + 48 + 25
    assert found.params_encoder == 57
    assert found.output_bytes == 4 * 192 * 5
    assert found.activations == 48 * 3 + 192 * 4 + 192 * 4 + 192 * 5
    assert found.passes == 1


def test_a_crop_that_goes_through_twice_is_told_from_a_larger_batch() -> None:
    net = Small()
    x = torch.zeros(2, 2, 6, 8)
    twice = count(lambda: net(torch.cat([x, x.flip(-1)])), net, n_crops=2)
    once = count(lambda: net(x=x), net, n_crops=2)  # by keyword, as hub networks are called
    assert twice.passes == 2
    assert twice.macs_total == once.macs_total
    assert twice.flops_per_crop == 2 * once.flops_per_crop


def test_weights_and_inputs_are_not_counted_as_intermediate_tensors() -> None:
    net = nn.Linear(1000, 10, bias=False, device="meta")
    x = torch.empty(1, 1000, device="meta")
    found = count(lambda: net(x), net)
    assert found.peak_activation_bytes == 4 * 10
    assert found.weight_bytes == 4 * 10_000


def test_arithmetic_without_a_formula_is_named() -> None:
    net = Small()
    grid = torch.zeros(1, 4, 4, 2)
    found = count(
        lambda: (net(torch.zeros(1, 2, 6, 8)), F.grid_sample(torch.zeros(1, 1, 4, 4), grid, align_corners=False)), net
    )
    assert found.uncounted == {"grid_sampler_2d": 1}


def test_wrappers_around_one_module_are_taken_off_for_the_breakdown() -> None:
    core = Small()
    assert core_of(nn.Sequential(nn.Sequential(core))) is core
    assert [m.name for m in count(lambda: core(torch.zeros(1, 2, 6, 8)), core).modules] == ["backbone", "up", "fc"]
