"""Speed of the embedded networks, one thread, images a second; run with --benchmark-only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from sapiens_bench.models.blazepose import BlazePosePose
from sapiens_bench.models.movenet import MoveNetPose
from sapiens_bench.models.parts.graph import load_graph

EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"


def random_images(n: int, size: int) -> Tensor:
    """uint8 [n, 3, size, size] in channels-last memory, as the wrappers hand it over."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, size, size, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", ["movenet_lightning", "movenet_thunder"])
def test_bench_movenet(benchmark: Any, page: Any, name: str, batch: int) -> None:
    torch.set_num_threads(1)
    graph = load_graph(EMBEDDED / f"{name}.safetensors")
    network = MoveNetPose(graph)
    crops = random_images(batch, graph.input_size)
    with torch.inference_mode():
        found = benchmark(network, crops)
    assert found.shape == (batch, 17, 3)
    page.add("Embedded networks, one thread", f"{name}, {batch} at a time", batch / benchmark.stats.stats.min, "/s")


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", ["blazepose_lite", "blazepose_full"])
def test_bench_blazepose(benchmark: Any, page: Any, name: str, batch: int) -> None:
    torch.set_num_threads(1)
    network = BlazePosePose(load_graph(EMBEDDED / f"{name}.safetensors"))
    first, surroundings = random_images(batch, 256), random_images(batch, 768)
    with torch.inference_mode():
        found, _ = benchmark(network, first, surroundings)
    assert found.shape == (batch, 33, 3)
    page.add("Embedded networks, one thread", f"{name}, {batch} at a time", batch / benchmark.stats.stats.min, "/s")


def test_bench_default_strides_against_channels_last(benchmark: Any) -> None:
    """What channels-last memory is worth; the ratio is recorded, not asserted."""
    torch.set_num_threads(1)
    path = EMBEDDED / "movenet_lightning.safetensors"
    fast, slow = load_graph(path), load_graph(path).to(memory_format=torch.contiguous_format)
    x = random_images(1, 192).float()
    with torch.inference_mode():
        want = slow(x)
        got = benchmark(fast, x)
        slow_time = Timer("slow(x)", globals={"slow": slow, "x": x}).timeit(10)
    torch.testing.assert_close(got["heatmap"], want["heatmap"], rtol=1e-3, atol=1e-3)
    benchmark.extra_info["default_strides_over_channels_last"] = slow_time.median / benchmark.stats.stats.median
