"""ResNet with deconvolutions (SimpleBaseline) and HRNet: weight files of MMPose and of the authors -> one network.

Trunks are those of torchvision and timm, whose names are the authors' own; sizes are read off the tensors. MMPose puts
``backbone.`` before them and ``keypoint_head.`` (0.x) or ``head.`` (1.x) before deconvolutions and last layer; the
authors' files have no prefix at all. Everything must fit, but for counters of batches.
Source: Xiao et al., Simple Baselines, ECCV 2018, section 3; Sun et al., HRNet, CVPR 2019, section 3; names as in
open-mmlab/mmpose (``HeatmapHead``), microsoft/human-pose-estimation.pytorch and
leoxiaobin/deep-high-resolution-net.pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state

HEADS = ("keypoint_head.", "head.")
STRIDE_AND_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}  # kernel of a deconvolution -> padding, output padding
UNUSED = ("loss_module.", "data_preprocessor.")
PUBLISHED: dict[str, tuple[int, ...]] = {  # trunk -> blocks of each stage; width of the finest branch for HRNet
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "hrnet_w32": (32,),
    "hrnet_w48": (48,),
}
State = Mapping[str, Tensor]


class HeatmapNet(nn.Module):
    """Network input [B, 3, H, W] -> heatmaps [B, K, H / 4, W / 4]."""

    def __init__(self, trunk: nn.Module, deconvs: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.backbone, self.deconv_layers, self.final_layer = trunk, deconvs, last

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.final_layer(self.deconv_layers(self.backbone(image)))
        return out


class _ResNet(nn.Module):
    """torchvision's ResNet up to its last map, under its own names."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        for name, part in net.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, part)

    def forward(self, image: Tensor) -> Tensor:
        for part in self.children():
            image = part(image)
        return image


class _HRNet(nn.Module):
    """timm's HRNet up to its finest map; the last exchange makes that one alone."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        net.stage4[-1].fuse_layers = net.stage4[-1].fuse_layers[:1]
        for name, part in net.named_children():
            self.add_module(name, part)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for name in ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"):
            x = self.get_submodule(name)(x)
        levels = [x]
        for stage in (2, 3, 4):
            change: Any = self.get_submodule(f"transition{stage - 1}")
            same = len(levels) if stage > 2 else 0  # levels that go on as they are
            levels = [levels[i] if i < same else change[i](levels[-1]) for i in range(len(change))]
            levels = self.get_submodule(f"stage{stage}")(levels)
        return levels[0]


def split(state: State, path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Trunk and head of a file, names below their prefixes.

    Raises:
        CheckpointRejected: neither MMPose's layout nor the authors'.
    """
    kept = {n: t for n, t in state.items() if not n.startswith(UNUSED) and not n.endswith("num_batches_tracked")}
    if any(name.startswith("backbone.") for name in kept):
        prefix = next((p for p in HEADS if f"{p}final_layer.weight" in kept), None)
        if prefix is not None:
            head, trunk = only_prefix(kept, prefix), only_prefix(kept, "backbone.")
            others = [n for n in kept if not n.startswith((prefix, "backbone."))]
            if others:
                raise CheckpointRejected(f"{path}: {others[0]} belongs to neither trunk nor head.")
            return trunk, head
    elif "final_layer.weight" in kept and "conv1.weight" in kept:
        of_head = ("deconv_layers.", "final_layer.")
        head = {n: t for n, t in kept.items() if n.startswith(of_head)}
        return {n: t for n, t in kept.items() if not n.startswith(of_head)}, head
    some = ", ".join(list(state)[:3])
    raise CheckpointRejected(
        f"{path} is no ResNet or HRNet with heatmaps, of MMPose or its authors: 'final_layer.weight' beside "
        f"'conv1.weight' is expected, below 'keypoint_head.' and 'backbone.' or at the top. It starts with {some}."
    )


def _count(state: State, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def build_trunk(trunk: State, path: Path) -> nn.Module:
    """The trunk for these tensors, on the meta device.

    Raises:
        CheckpointRejected: neither ResNet nor HRNet.
    """
    if "stage4.0.branches.3.0.conv1.weight" in trunk:
        return hrnet_trunk(hrnet_sizes(trunk, path))
    blocks = tuple(_count(trunk, f"layer{i}.") for i in (1, 2, 3, 4))
    if "layer4.0.conv2.weight" not in trunk or not all(blocks):
        raise CheckpointRejected(f"{path}: its trunk is neither a ResNet nor an HRNet.")
    return resnet_trunk(blocks, "layer1.0.conv3.weight" in trunk)


def resnet_trunk(blocks: tuple[int, ...], bottleneck: bool = True) -> nn.Module:
    """torchvision's ResNet of so many blocks in each stage, on the meta device."""
    from torchvision.models import resnet

    with torch.device("meta"):
        return _ResNet(resnet.ResNet(resnet.Bottleneck if bottleneck else resnet.BasicBlock, list(blocks)))


def hrnet_sizes(trunk: State, path: Path) -> dict[str, Any]:
    """timm's description of an HRNet, read off its tensors.

    Raises:
        CheckpointRejected: a tensor that tells a size is missing.
    """
    try:
        first = int(trunk["layer1.0.conv1.weight"].shape[0])
        stem = int(trunk["conv1.weight"].shape[0])
        sizes: dict[str, Any] = {
            "stem_width": stem,
            "stage1": stage_sizes((first,), (_count(trunk, "layer1."),), 1, True),
        }
        for stage in (2, 3, 4):
            branches = [f"stage{stage}.0.branches.{i}." for i in range(stage)]
            widths = tuple(int(trunk[f"{b}0.conv1.weight"].shape[0]) for b in branches)
            depths = tuple(_count(trunk, b) for b in branches)
            sizes[f"stage{stage}"] = stage_sizes(widths, depths, _count(trunk, f"stage{stage}."), False)
    except KeyError as missing:
        raise CheckpointRejected(f"{path} is no HRNet: {missing} is missing.") from None
    return sizes


def stage_sizes(widths: tuple[int, ...], depths: tuple[int, ...], modules: int, bottleneck: bool) -> dict[str, Any]:
    """One stage of an HRNet as timm describes it; widths and depths by branch."""
    return {
        "num_modules": modules, "num_branches": len(widths), "block_type": "BOTTLENECK" if bottleneck else "BASIC",
        "num_blocks": depths, "num_channels": widths, "fuse_method": "SUM",
    }  # fmt: skip


def hrnet_trunk(sizes: Mapping[str, Any]) -> nn.Module:
    """timm's HRNet of these ``hrnet_sizes``, on the meta device."""
    from timm.models.hrnet import HighResolutionNet

    with torch.device("meta"):
        return _HRNet(HighResolutionNet(dict(sizes), head=""))


def deconvolutions(widths: list[tuple[int, int, int]]) -> nn.Module:
    """Deconvolutions by (channels in, channels out, kernel), each with batch norm and ReLU; none: the map as it is."""
    layers: list[nn.Module] = []
    for inner, outer, kernel in widths:
        padding, more = STRIDE_AND_PADDING[kernel]
        layers += [
            nn.ConvTranspose2d(inner, outer, kernel, 2, padding, more, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
        ]  # fmt: skip
    return nn.Sequential(*layers)


def load_heatmap_net(path: Path, trusted: bool = False) -> HeatmapNet:
    """The network of a file, float32, on the CPU.

    Raises:
        CheckpointRejected: another layout, or not every tensor has its place.
        UntrustedCheckpoint: the pickle asks for more than tensors.
    """
    trunk, head = split(open_state(path, trusted=trusted).state, path)
    found = sorted(
        (n for n in head if n.startswith("deconv_layers.") and head[n].ndim == 4), key=lambda n: int(n.split(".")[1])
    )
    shapes = [head[n].shape for n in found]
    if any(shape[2] not in STRIDE_AND_PADDING for shape in shapes) or head["final_layer.weight"].ndim != 4:
        raise CheckpointRejected(
            f"{path}: its head is not made of deconvolutions (kernel 2, 3 or 4) and a convolution."
        )
    out, inner, kernel = (int(side) for side in head["final_layer.weight"].shape[:3])
    with torch.device("meta"):
        deconvs = deconvolutions([(int(s[0]), int(s[1]), int(s[2])) for s in shapes])
        last = nn.Conv2d(inner, out, kernel, padding=kernel // 2)
    net = HeatmapNet(build_trunk(trunk, path), deconvs, last)
    state = {f"backbone.{n}": t for n, t in trunk.items()} | head
    # Old files have no counter of batches; nothing computes with it.
    state |= {n: torch.zeros((), dtype=torch.int64) for n in net.state_dict() if n.endswith("num_batches_tracked")}
    fill(net, state, path, what="a ResNet or HRNet with heatmaps")
    return net.eval()


def published_net(trunk: str, outputs: int) -> HeatmapNet:
    """A published size without its weights, on the meta device: to be counted, or timed with random ones."""
    sizes = PUBLISHED[trunk]
    if trunk.startswith("resnet"):
        with torch.device("meta"):
            deconvs, last = deconvolutions([(2048, 256, 4), (256, 256, 4), (256, 256, 4)]), nn.Conv2d(256, outputs, 1)
        return HeatmapNet(resnet_trunk(sizes), deconvs, last).eval()
    w, four = sizes[0], (4, 4, 4, 4)
    widths = tuple(w * 2**i for i in range(4))
    stages = {f"stage{n}": stage_sizes(widths[:n], four[:n], m, False) for n, m in ((2, 1), (3, 4), (4, 3))}
    net = hrnet_trunk({"stem_width": 64, "stage1": stage_sizes((64,), (4,), 1, True)} | stages)
    with torch.device("meta"):
        return HeatmapNet(net, nn.Sequential(), nn.Conv2d(w, outputs, 1)).eval()


def trunk_name(net: HeatmapNet) -> str:
    """The published trunk that a network has, or what it is otherwise."""
    if isinstance(net.backbone, _HRNet):
        stage: Any = net.backbone.get_submodule("stage4")
        width = int(stage[0].branches[0][0].conv1.weight.shape[0])
        return f"hrnet_w{width}"
    blocks = tuple(len(list(net.backbone.get_submodule(f"layer{i}").children())) for i in (1, 2, 3, 4))
    return next((name for name, sizes in PUBLISHED.items() if sizes == blocks), f"resnet of blocks {blocks}")
