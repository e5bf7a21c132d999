"""Sapiens v1 hot paths beside what one would write first: decoding, attention, timm's ViT, loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.sapiens_net import Attention, Encoder, EncoderConfig


def people_heatmaps() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, [191, 255], (308, 2))
    y, x = np.mgrid[0:256, 0:192]
    maps = np.exp(-((x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2) / 72.0)
    maps = maps * rng.uniform(0.2, 1, 308)[:, None, None] + rng.normal(0, 0.004, maps.shape)
    return maps.astype(np.float32)


def blur_loop(maps_KHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad, blur, rescale, clip and take the logarithm of every map in full, then read nine values."""
    k, h, w = maps_KHW.shape
    best = maps_KHW.reshape(k, -1).argmax(1)
    x, y = best % w, best // w
    logs = maps_KHW.copy()
    for i in range(k):
        top = logs[i].max()
        framed = np.zeros((h + 10, w + 10), np.float32)
        framed[5:-5, 5:-5] = logs[i]
        logs[i] = cv2.GaussianBlur(framed, (11, 11), 0)[5:-5, 5:-5]
        logs[i] *= top / logs[i].max()
    np.clip(logs, 1e-3, 50, logs)
    np.log(logs, logs)
    padded = np.pad(logs, ((0, 0), (1, 1), (1, 1)), mode="edge")
    patches = np.stack([padded[i, y[i] : y[i] + 3, x[i] : x[i] + 3] for i in range(k)])
    return heatmaps.refine(np.stack([x, y], 1), maps_KHW.reshape(k, -1).max(1), patches)


def test_decode_308_heatmaps(benchmark: BenchmarkFixture, page: Any, ratio: Callable[..., float]) -> None:
    maps = people_heatmaps()
    tensor = torch.from_numpy(maps)[None]

    def ours() -> NDArray[np.float32]:
        p = heatmaps.peaks(tensor)
        return heatmaps.refine(p.xy_BK2[0].numpy(), p.score_BK[0].numpy(), p.log_patch_BK33[0].numpy())

    found = benchmark(ours)
    away = np.abs(found - blur_loop(maps)).max() * 768 / 191
    assert away < 1e-3
    benchmark.extra_info["largest difference, input px"] = float(away)
    faster = ratio(lambda: blur_loop(maps), ours)
    page.add("Rendering and networks", "decoding 308 heatmaps, over blurring every map in full", faster, "x")


def test_encoder_beside_timm(benchmark: BenchmarkFixture, page: Any, ratio: Callable[..., float]) -> None:
    """Four layers of the 0.3B width at 512 x 384: same arithmetic, so equal speed is the goal."""
    encoder = Encoder(EncoderConfig(1024, 4, 16, 4096, (32, 24))).eval()
    other = timm.create_model(
        "vit_large_patch16_224", pretrained=False, img_size=(512, 384), depth=4, num_classes=0, class_token=False,
        global_pool="",
    ).eval()  # fmt: skip
    image = torch.randn(1, 3, 512, 384)

    def run(net: torch.nn.Module) -> Tensor:
        with torch.inference_mode():
            out: Tensor = net(image)
        return out

    benchmark.pedantic(lambda: run(encoder), rounds=3, warmup_rounds=1)
    faster = ratio(lambda: run(other), lambda: run(encoder), rounds=3)
    page.add("Rendering and networks", "four layers of the 0.3B encoder, over timm's", faster, "x")


class Naive(Attention):
    """softmax(q k^T) v with the whole matrix in memory."""

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)
        mixed = weights.softmax(dim=-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, n, d))
        return out


def peak_bytes(run: Callable[[], object]) -> int:
    """Largest sum of live tensor memory that the profiler saw being allocated."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=False) as seen:
        run()
    live = peak = 0
    for event in sorted(seen.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def test_attention_at_3072_tokens(benchmark: BenchmarkFixture, page: Any, ratio: Callable[..., float]) -> None:
    ours, naive = Attention(1024, 16).eval(), Naive(1024, 16).eval()
    naive.load_state_dict(ours.state_dict())
    tokens = torch.randn(1, 3072, 1024)

    def run(net: Attention) -> Tensor:
        with torch.inference_mode():
            out: Tensor = net(tokens)
        return out

    result = benchmark.pedantic(lambda: run(ours), rounds=3, warmup_rounds=1)
    torch.testing.assert_close(result, run(naive), atol=1e-5, rtol=1e-4)
    faster = ratio(lambda: run(naive), lambda: run(ours), rounds=3)
    page.add("Rendering and networks", "attention at 3,072 tokens, over the naive product", faster, "x")
    shares = peak_bytes(lambda: run(naive)) / peak_bytes(lambda: run(ours))
    page.add(
        "Rendering and networks",
        "attention at 3,072 tokens: activation memory of the naive product over ours",
        shares,
        "x",
    )


def test_loading_takes_little_more_memory_than_the_file(benchmark: BenchmarkFixture, page: Any, tmp_path: Path) -> None:
    """A fresh process loads a 0.6 GB checkpoint; its peak memory is compared with the same process without one."""
    import subprocess
    import sys

    script = """
import sys
from pathlib import Path
from sapiens_bench.models.parts.checkpoints import fill, open_state
from sapiens_bench.models.sapiens_net import EncoderConfig, on_meta
config = EncoderConfig(1920, 3, 32, 7680, (64, 48))
if sys.argv[2] == "make":
    import torch
    from sapiens_bench.models.sapiens_net import Encoder
    torch.save({"state_dict": Encoder(config).state_dict()}, sys.argv[1])
elif sys.argv[2] == "load":
    net = on_meta(config, None)
    fill(net, open_state(Path(sys.argv[1])).state, Path(sys.argv[1]))
# VmHWM, not ru_maxrss: that one starts at the size of the process that forked us.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    path = tmp_path / "weights.pth"

    def peak(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", script, str(path), mode], capture_output=True, check=True)
        return int(done.stdout) * 1024

    peak("make")
    loaded = benchmark.pedantic(lambda: peak("load"), rounds=1)
    over = (loaded - peak("none")) / path.stat().st_size
    page.add("Rendering and networks", "loading a checkpoint: peak memory over the file's size", over, "x")
