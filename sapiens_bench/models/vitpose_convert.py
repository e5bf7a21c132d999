"""ViTPose and ViTPose+ weights -> one plain network of transformers' ``VitPoseForPoseEstimation``.

ViTPose+ was trained on six data sets at once: the last ``part`` features of every MLP come from the data set's own
expert, and every data set has its own head. One data set uses one expert and one head, so its network is an ordinary
ViT: the rows of the shared layer and of the expert, one below the other. That is what is built here, from either form:

- the authors' file: ``backbone.*``, ``keypoint_head.*`` (data set 0), ``associate_keypoint_heads.<k - 1>.*`` (data
  set k); also the files of a single data set that the authors' split tool writes (no experts, one head);
- a hub folder: experts in the same places under transformers' names, and the head of data set 0 alone.

Source: ViTPose++ (Xu et al., 2023), section 3.5; layouts read off ViTAE-Transformer/ViTPose and transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state

DATASETS = ("COCO", "AI Challenger", "MPII", "AP-10K", "APT-36K", "COCO-WholeBody")  # by dataset_index
KEYPOINTS = (17, 14, 16, 17, 17, 133)
SIZES = {"small": (384, 12, 12), "base": (768, 12, 12), "large": (1024, 24, 16), "huge": (1280, 32, 16)}
PATCH = 16
DECONV_WIDTHS = (256, 256)  # of every published head
NORM_EPSILON = 1e-6  # of the authors' code; published hub configurations leave 1e-12, which moves heatmaps by 3e-7
EXPERT = re.compile(r"(?P<mlp>.*\.mlp)\.experts\.(?P<index>\d+)\.(?P<kind>weight|bias)")
_BACKBONE = (  # the authors' name -> transformers'
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    ("pos_embed", "embeddings.position_embeddings"),
    ("last_norm.", "layernorm."),
    ("blocks.", "encoder.layer."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.proj.", ".attention.output.dense."),
)
_HEAD = (
    ("deconv_layers.0.", "deconv1."),
    ("deconv_layers.1.", "batchnorm1."),
    ("deconv_layers.3.", "deconv2."),
    ("deconv_layers.4.", "batchnorm2."),
    ("final_layer.", "conv."),
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a merged network."""

    width: int
    depth: int
    heads: int
    outputs: int  # keypoints
    input_hw: tuple[int, int]
    deconv_widths: tuple[int, ...] = DECONV_WIDTHS  # empty: upsampling by 4 and one convolution


def published(size: str, outputs: int, input_hw: tuple[int, int]) -> Architecture:
    """A published size.

    Raises:
        CardError: no such size.
    """
    if size not in SIZES:
        raise CardError(f"ViTPose has no size {size!r}; known: {', '.join(SIZES)}.")
    return Architecture(*SIZES[size], outputs, input_hw)


class Features(nn.Module):
    """transformers' backbone with tensors in and out: image [B, 3, H, W] -> features [B, C, H / 16, W / 16]."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.vit(image).feature_maps[-1]
        grid = (image.shape[-2] // PATCH, image.shape[-1] // PATCH)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


class PoseNet(nn.Module):
    """A merged network: image [B, 3, H, W] -> heatmaps [B, K, H / 4, W / 4]."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.backbone = Features(net.backbone)
        self.head = net.head

    def forward(self, image: Tensor) -> Tensor:
        heatmaps: Tensor = self.head(self.backbone(image))
        return heatmaps


def on_meta(architecture: Architecture) -> nn.Module:
    """transformers' network without experts and without memory behind its weights."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    a = architecture
    backbone_class, config_class = cast("Any", VitPoseBackboneConfig), cast("Any", VitPoseConfig)
    backbone = backbone_class(
        image_size=list(a.input_hw),
        patch_size=[PATCH, PATCH],
        hidden_size=a.width,
        num_hidden_layers=a.depth,
        num_attention_heads=a.heads,
        num_experts=1,
        part_features=0,
        layer_norm_eps=NORM_EPSILON,
        out_indices=[a.depth],
    )
    config = config_class(backbone_config=backbone, num_labels=a.outputs, use_simple_decoder=not a.deconv_widths)
    with torch.device("meta"):
        net: Any = VitPoseForPoseEstimation(config)
        if a.deconv_widths not in ((), DECONV_WIDTHS):  # the class knows no other width
            first, second = a.deconv_widths
            net.head.deconv1 = nn.ConvTranspose2d(a.width, first, 4, 2, 1, bias=False)
            net.head.batchnorm1 = nn.BatchNorm2d(first)
            net.head.deconv2 = nn.ConvTranspose2d(first, second, 4, 2, 1, bias=False)
            net.head.batchnorm2 = nn.BatchNorm2d(second)
            net.head.conv = nn.Conv2d(second, a.outputs, 1)
    return cast("nn.Module", net.eval())


def merge_experts(state: Mapping[str, Tensor], index: int, path: Path) -> dict[str, Tensor]:
    """Put the rows of one expert below those of the shared layer and drop the other experts.

    Args:
        state: names to tensors, the authors' or transformers' naming; without experts it is returned as it is.
        index: the expert's position, the ``dataset_index``.

    Raises:
        CheckpointRejected: the expert, or the layer it belongs to, is missing.
    """
    merged = {name: tensor for name, tensor in state.items() if not EXPERT.fullmatch(name)}
    for name, tensor in state.items():
        found = EXPERT.fullmatch(name)
        if found and int(found["index"]) == index:
            shared = f"{found['mlp']}.fc2.{found['kind']}"
            if shared not in merged or merged[shared].shape[1:] != tensor.shape[1:]:
                raise CheckpointRejected(f"{path}: {name} has no {shared} of its width to go below.")
            merged[shared] = torch.cat([merged[shared], tensor])
    layers = {found["mlp"] for name in state if (found := EXPERT.fullmatch(name))}
    whole = {found["mlp"] for name in state if (found := EXPERT.fullmatch(name)) and int(found["index"]) == index}
    if layers != whole:
        raise CheckpointRejected(f"{path}: {min(layers - whole)} has no expert {index} ({DATASETS[index]}).")
    return merged


def convert(state: Mapping[str, Tensor], index: int, path: Path) -> dict[str, Tensor]:
    """The authors' state for one data set, under transformers' names. Names that are not known stay as they are.

    Raises:
        CheckpointRejected: not the authors' layout, or without the data set's expert or head.
    """
    if "backbone.pos_embed" not in state or not any(name.startswith("keypoint_head.") for name in state):
        some = ", ".join(list(state)[:3])
        raise CheckpointRejected(
            f"{path} is no ViTPose file: 'backbone.pos_embed' and 'keypoint_head.' are expected, it starts with {some}."
        )
    multi = any(name.startswith("associate_keypoint_heads.") for name in state)
    chosen = f"associate_keypoint_heads.{index - 1}." if multi and index else "keypoint_head."
    heads = re.compile(r"keypoint_head\.|associate_keypoint_heads\.\d+\.")
    merged = merge_experts({n: t for n, t in state.items() if not heads.match(n)}, index, path)
    converted: dict[str, Tensor] = {}
    for name, tensor in merged.items():
        if not name.startswith("backbone."):
            converted[name] = tensor
            continue
        new = _renamed(name, _BACKBONE)
        if ".attn.qkv." in new:
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                converted[new.replace(".attn.qkv.", f".attention.attention.{part}.")] = rows
        else:
            converted[new] = tensor
    head = only_prefix(state, chosen)
    if "final_layer.weight" not in head:
        raise CheckpointRejected(f"{path} has no head {chosen[:-1]!r} for {DATASETS[index]}.")
    rows_found, rows_wanted = len(head["final_layer.weight"]), KEYPOINTS[index]
    if rows_found < rows_wanted:
        raise CheckpointRejected(
            f"{path}: the head {chosen[:-1]!r} has {rows_found} keypoints, {DATASETS[index]} has {rows_wanted}."
        )
    for name, tensor in head.items():
        # Every head of a multi-data-set file may be padded to the longest; the surplus rows mean nothing.
        cut = tensor[:rows_wanted] if name.startswith("final_layer.") else tensor
        converted[f"head.{_renamed(name, _HEAD)}"] = cut
    return converted


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        name = name.replace(old, new)
    return name


def measure(state: Mapping[str, Tensor], input_hw: tuple[int, int], heads: int | None, path: Path) -> Architecture:
    """Sizes of a converted state; the number of attention heads follows from the width, or is given.

    Raises:
        CheckpointRejected: a tensor that tells a size is missing, or the network is for another input size.
        CardError: heads can be told neither way.
    """
    try:
        table = state["backbone.embeddings.position_embeddings"]
        outputs = len(state["head.conv.weight"])
        deconv = tuple(
            int(state[f"head.deconv{i}.weight"].shape[1]) for i in (1, 2) if f"head.deconv{i}.weight" in state
        )
    except (KeyError, IndexError) as missing:
        raise CheckpointRejected(f"{path} is no ViTPose network: {missing} is missing.") from None
    if len(deconv) == 1:
        raise CheckpointRejected(f"{path}: its head has one deconvolution; ViTPose heads have two, or none.")
    height, width = input_hw
    tokens = (height // PATCH) * (width // PATCH) + 1
    if table.ndim != 3 or table.shape[1] != tokens:
        raise CheckpointRejected(
            f"{path}: its position table has {table.shape[1]} entries, an input of {height} x {width} needs {tokens}. "
            "The card's input size is not that of this file."
        )
    channels = int(table.shape[2])
    known = {size[0]: size[2] for size in SIZES.values()}
    if heads is None and channels not in known:
        raise CardError(f"{path} is {channels} wide, no published size: give the option 'heads'.")
    depth = len({n.split(".")[3] for n in state if n.startswith("backbone.encoder.layer.")})
    return Architecture(channels, depth, heads or known[channels], outputs, input_hw, deconv)


def load_official(
    path: Path,
    index: int,
    input_hw: tuple[int, int],
    heads: int | None = None,
    ignore: tuple[str, ...] = (),
    trusted: bool = False,
) -> PoseNet:
    """The merged network of one data set from the authors' file (safetensors or ``.pth``), float32, on the CPU.

    Raises:
        CheckpointRejected, UntrustedCheckpoint: see ``checkpoints.open_state``, ``convert`` and ``checkpoints.fill``.
    """
    state = convert(open_state(path, trusted).state, index, path)
    net = on_meta(measure({n: t for n, t in state.items() if n not in ignore}, input_hw, heads, path))
    fill(net, state, path, ignore, what=f"ViTPose for {DATASETS[index]}")
    return PoseNet(net)


def merge_folder(net: Any, folder: Path, index: int, input_hw: tuple[int, int]) -> PoseNet:
    """A network that transformers read from a hub folder, with one expert merged; as it is when it has no experts.

    Args:
        net: a ``VitPoseForPoseEstimation``.
        folder: where it came from, for messages.

    Raises:
        CheckpointRejected: for another input size.
    """
    size = net.config.backbone_config.image_size
    found = (int(size[0]), int(size[1])) if isinstance(size, list | tuple) else (int(size), int(size))
    if found != input_hw:
        raise CheckpointRejected(
            f"{folder} takes {found[0]} x {found[1]} (height x width), the card says {input_hw[0]} x {input_hw[1]}."
        )
    heads = int(net.config.backbone_config.num_attention_heads)
    if net.config.backbone_config.num_experts == 1:
        return PoseNet(net)
    state = merge_experts(net.state_dict(), index, folder)
    merged = on_meta(measure(state, input_hw, heads, folder))
    fill(merged, state, folder, what="the merged ViTPose network")
    return PoseNet(merged)
