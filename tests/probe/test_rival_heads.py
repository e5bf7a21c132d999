"""Published decoders on any trunk's maps: sizes, learning, files, and what they cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.dense_head import ARCH_STRIDES, HeadPlan, Tap
from sapiens_bench.models.parts.head_file import HeadFile, build_head, load_head, save_head
from sapiens_bench.models.parts.rival_heads import RivalHead
from sapiens_bench.probe.request import DataName, ProbeRequest

CONV = (Tap("a", 4, 6), Tap("b", 8, 5), Tap("c", 16, 8), Tap("d", 16, 3), Tap("e", 32, 9))
PLAIN = (Tap("x", 14, 7), Tap("y", 14, 7))  # a plain transformer: one stride, no multiple of 4
EVERY = pytest.mark.parametrize("arch", sorted(ARCH_STRIDES))


def plan(arch: str, taps: tuple[Tap, ...] = CONV, **outputs: int) -> HeadPlan:
    return HeadPlan(taps, outputs or {"seg": 4}, width=32, stem=0, arch=arch)


def head(arch: str, taps: tuple[Tap, ...] = CONV, **outputs: int) -> RivalHead:
    torch.manual_seed(0)
    found = build_head(plan(arch, taps, **outputs))
    assert isinstance(found, RivalHead)
    return found


def maps(taps: tuple[Tap, ...] = CONV, hw: tuple[int, int] = (64, 96)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, t.channels, hw[0] // t.stride, hw[1] // t.stride, generator=generator) for t in taps]


@EVERY
def test_the_answer_has_the_size_that_the_truth_is_made_in(arch: str) -> None:
    net = head(arch).eval()
    stride = net.plan.out_stride
    assert net(maps())["seg"].shape == (2, 4, 64 // stride, 96 // stride)
    plain = head(arch, PLAIN).eval()
    assert plain(maps(PLAIN, (126, 84)))["seg"].shape == (2, 4, 126 // stride, 84 // stride)


@EVERY
def test_the_file_gives_the_decoder_back(arch: str, tmp_path: Path) -> None:
    net = head(arch)
    net.standardise([torch.full((t.channels,), 0.2) for t in CONV], [torch.full((t.channels,), 2.0) for t in CONV])
    net.fold()
    (tmp_path / "head").write_bytes(save_head(HeadFile("movenet-lightning", "0", (64, 96), net.plan), net, None))
    about, again, _ = load_head(tmp_path / "head")
    assert about.plan == net.plan
    with torch.inference_mode():
        before, after = net(maps())["seg"], again(maps())["seg"]
    assert torch.allclose(before, after, atol=0.02 * float(before.abs().max()))


@EVERY
def test_each_decoder_learns_the_labels_of_two_pictures(arch: str) -> None:
    net = head(arch)
    stride = net.plan.out_stride
    labels = torch.zeros(2, 64 // stride, 96 // stride, dtype=torch.uint8)
    labels[0, :, labels.shape[2] // 2 :], labels[1, labels.shape[1] // 2 :] = 1, 2
    labels[:, 0] = 255
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(60):
        own = net.own_losses(maps(), labels)
        loss = own["seg"] if own else torch.nn.functional.cross_entropy(
            net(maps())["seg"], labels.long(), ignore_index=255
        )  # fmt: skip
        assert (own is not None) == (arch == "mask2former")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = net.eval()(maps())["seg"].argmax(1)
    assert (found == labels)[labels != 255].float().mean() > 0.9


def test_tasks_share_a_decoder_and_are_told_apart() -> None:
    found = head("upernet", seg=4, depth=1, normal=3).eval()(maps())
    assert {task: m.shape[1] for task, m in found.items()} == {"seg": 4, "depth": 1, "normal": 3}
    assert list(head("dpt", depth=1).eval()(maps(), None, ("depth",))) == ["depth"]


def test_what_is_not_possible_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--task seg only"):
        ProbeRequest("x", ("seg", "depth"), DataName("a", ""), tmp_path, arch="mask2former")
    with pytest.raises(UsageError, match="multiple of 32"):
        build_head(HeadPlan(CONV, {"seg": 4}, width=48, stem=0, arch="mask2former"))
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch.decoders.deeplabv3.decoder", None)
    with pytest.raises(UsageError, match=r"\[rivals\]"):
        head("deeplabv3plus")
