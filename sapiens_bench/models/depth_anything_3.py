"""Depth Anything 3, the two networks for one picture (mono and metric): transformers' parts under the authors' names.

Both are DINOv2 with the head of Depth Anything 2, but that depth is the exponential of the last layer and a second last
layer tells the sky; sky is put at the 99th percentile of the rest. Depth is read as the card says: of the metric
network it is metres only times focal length / 300, which no picture tells, so up to one factor. The networks for many
views attend across pictures; their files are refused.

The longer side is brought to the card's size (area averaging or cubic), then both sides to the nearest multiple of 14.
The authors take the percentile of 100,000 pixels drawn at random, we that of all. The position table is resized as
DINOv2's authors do it, by a factor with an offset of 0.1, not as the library does it.
Source: depth-anything-3 0.1.1 (ByteDance-Seed/Depth-Anything-3): ``model/dpt.py``, ``model/da3.py``,
``model/dinov2/vision_transformer.py``, ``utils/io/input_processor.py``.

Axes: B images, h x w network pixels, H x W original pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state
from sapiens_bench.models.parts.dense_frame import cv2_stretch, normalised
from sapiens_bench.models.parts.hub_folder import transformers_class
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

PATCH, TABLE = 14, 518  # pixels of a patch, and of the side for which the position table was trained
HEAD_WIDTH = 64  # of one head of attention, in every published size
TAKEN = {24: (4, 11, 17, 23), 12: (5, 7, 9, 11)}  # number of layers -> those whose features are used
OFFSET = 0.1  # of the grid, when the position table is resized
SKY, FAR = 0.3, 0.99  # from which answer a pixel is sky; the quantile of depth at which it is put
FEWEST = 10  # pixels; with no more sky, or no more of the rest, nothing is moved
_BACKBONE = (
    ("blocks.", "encoder.layer."),
    (".attn.proj.", ".attention.o_proj."),
    (".ls1.gamma", ".layer_scale1.lambda1"),
    (".ls2.gamma", ".layer_scale2.lambda1"),
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
)
_UNIT = {f"resConfUnit{i}.conv{j}": f"residual_layer{i}.convolution{j}" for i in (1, 2) for j in (1, 2)}


class Net(nn.Module):
    """Pictures [B, 3, h, w] -> depth [B, h, w]; sides are multiples of 14."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = net.backbone, net.neck, net.head
        inner, features = self.head.conv2.in_channels, self.head.conv2.out_channels
        self.sky = nn.Sequential(nn.Conv2d(inner, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, 1, 1))
        self.neck.fusion_stage.layers[0].residual_layer1 = nn.Identity()  # the deepest stage has nothing to add to
        self.backbone.layernorm.eps = 1e-5  # of the last norm alone
        self.backbone.embeddings.interpolate_pos_encoding = self._positions

    def _positions(self, tokens: Tensor, height: int, width: int) -> Tensor:
        table: Tensor = self.backbone.embeddings.position_embeddings.float()
        side = round((table.shape[1] - 1) ** 0.5)
        rows, columns = height // PATCH, width // PATCH
        if rows == columns == side:
            return table.to(tokens.dtype)
        grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        factor = ((rows + OFFSET) / side, (columns + OFFSET) / side)
        resized = functional.interpolate(grid, scale_factor=factor, mode="bicubic")
        return torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1).to(tokens.dtype)

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        features = list(self.backbone(image).feature_maps)
        x: Tensor = self.head.conv1(self.neck(features, rows, columns)[-1])
        size = (rows * PATCH, columns * PATCH)
        x = functional.interpolate(x.float(), size, mode="bilinear", align_corners=True).to(x.dtype)
        depth: Tensor = self.head.conv3(self.head.conv2(x).relu())[:, 0].float().exp()
        sky: Tensor = self.sky(x)[:, 0].float().relu()
        return torch.stack([sky_put_far(d, s) for d, s in zip(depth, sky, strict=True)])


def sky_put_far(depth_hw: Tensor, sky_hw: Tensor) -> Tensor:
    """Depth [h, w] with the pixels that are sky at the 99th percentile of the others."""
    if depth_hw.is_meta:  # operations are being counted
        return depth_hw
    rest = sky_hw < SKY
    if min(int(rest.sum()), int((~rest).sum())) <= FEWEST:
        return depth_hw
    return torch.where(rest, depth_hw, torch.quantile(depth_hw[rest], FAR))


def convert(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The authors' state under the names of ``Net``.

    Raises:
        CheckpointRejected: not their layout, or of a network for many views.
    """
    below = only_prefix(state, "model.") or dict(state)
    trunk, head = only_prefix(below, "backbone.pretrained."), only_prefix(below, "head.")
    if "pos_embed" not in trunk or "projects.0.weight" not in head:
        some = ", ".join(list(state)[:3])
        raise CheckpointRejected(f"{path} is no Depth Anything 3 file: 'backbone.pretrained.pos_embed' and "
                                 f"'head.projects.0.weight' are expected, it starts with {some}.")  # fmt: skip
    if "camera_token" in trunk or "scratch.sky_output_conv2.0.weight" not in head:
        raise CheckpointRejected(f"{path} is a Depth Anything 3 network for many views; only mono and metric are run.")
    if others := [n for n in below if not n.startswith(("backbone.pretrained.", "head."))]:
        raise CheckpointRejected(f"{path}: {others[0]} belongs to neither backbone nor head.")
    found: dict[str, Tensor] = {}
    for name, tensor in trunk.items():
        new = f"backbone.{'layernorm.' + name.removeprefix('norm.') if name.startswith('norm.') else name}"
        for old, ours in _BACKBONE:
            new = new.replace(old, ours)
        if ".attn.qkv." in new:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[new.replace(".attn.qkv.", f".attention.{part}_proj.")] = rows
        else:
            found[new] = tensor
    return found | {_head_name(name): tensor for name, tensor in head.items()}


def _head_name(name: str) -> str:
    if found := re.fullmatch(r"(projects|resize_layers)\.(\d)\.(.*)", name):
        kind = "projection" if found[1] == "projects" else "resize"
        return f"neck.reassemble_stage.layers.{found[2]}.{kind}.{found[3]}"
    if found := re.fullmatch(r"scratch\.layer(\d)_rn\.(.*)", name):
        return f"neck.convs.{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"scratch\.refinenet(\d)\.(?:(resConfUnit\d\.conv\d)|out_conv)\.(.*)", name):
        part = _UNIT.get(found[2] or "", "projection")
        return f"neck.fusion_stage.layers.{4 - int(found[1])}.{part}.{found[3]}"
    last = {"scratch.output_conv1.": "head.conv1.", "scratch.output_conv2.0.": "head.conv2.",
            "scratch.output_conv2.2.": "head.conv3.", "scratch.sky_output_conv2.": "sky."}  # fmt: skip
    return next((ours + name.removeprefix(old) for old, ours in last.items() if name.startswith(old)), name)


def build_net(state: Mapping[str, Tensor], path: Path) -> Net:
    """The network of an authors' file, float32, on the CPU; strictly.

    Raises:
        CheckpointRejected
    """
    converted = convert(state, path)
    layers = 1 + max(int(found[1]) for n in converted if (found := re.match(r"backbone\.encoder\.layer\.(\d+)\.", n)))
    width = int(converted["backbone.embeddings.cls_token"].shape[-1])
    channels = [int(converted[f"neck.reassemble_stage.layers.{i}.projection.weight"].shape[0]) for i in range(4)]
    taken = TAKEN.get(layers, tuple(range(layers - 4, layers)))
    backbone = transformers_class("Dinov2Config")(
        image_size=TABLE, patch_size=PATCH, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=max(1, width // HEAD_WIDTH), layer_norm_eps=1e-6, use_mask_token=False,
        out_features=[f"stage{i + 1}" for i in taken], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers_class("DepthAnythingConfig")(
        backbone_config=backbone, patch_size=PATCH, reassemble_hidden_size=width, neck_hidden_sizes=channels,
        fusion_hidden_size=int(converted["neck.convs.0.weight"].shape[0]),
        head_hidden_size=int(converted["head.conv2.weight"].shape[0]),
    )  # fmt: skip
    with torch.device("meta"):
        net = Net(transformers_class("DepthAnythingForDepthEstimation")(config))
    fill(net, converted, path, what="Depth Anything 3 for one picture")
    return net.eval()


class DepthAnything3(WholeImage):
    """Depth of the whole picture. Pictures of different aspect give inputs of different size."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        path = weights_path(context)
        if path.is_dir():
            raise CheckpointRejected(f"{path} is a folder; give the authors' model.safetensors.")
        net = build_net(open_state(path, trusted=context.trusted).state, path)
        self.net = net.to(device=context.device, dtype=self.dtype)

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        longest = max(self.spec.height, self.spec.width)
        size = bounded(image_HW3.shape[0], image_HW3.shape[1], longest)
        small = stretched(image_HW3, size, enlarged=longest > max(image_HW3.shape[:2]))
        whole = (_nearest(size[0]), _nearest(size[1]))
        fitted = stretched(small, whole, enlarged=whole[0] > size[0] or whole[1] > size[1])
        return Fitted(normalised(fitted, self.spec), (0, 0, *whole))

    def raw(self, image: Tensor) -> Tensor:
        return self.checked(self.net(image), self.name)


def bounded(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width with the longer side at ``longest``, rounded half to even."""
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _nearest(side: int) -> int:
    """The nearest multiple of the patch, the larger of two, at least one."""
    return max(PATCH, (side + PATCH // 2) // PATCH * PATCH)


def stretched(image_HW3: NDArray[np.uint8], size_hw: tuple[int, int], enlarged: bool) -> NDArray[np.uint8]:
    """cv2 resize, cubic where a side grows and by area where none does; as it is where nothing changes."""
    if image_HW3.shape[:2] == size_hw:
        return image_HW3
    return cv2_stretch(image_HW3, size_hw, cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA)
