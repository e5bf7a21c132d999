"""MAWS and its MAE encoders as trunks, from the files that their authors publish: four layers, evenly spaced.

A file is the plain state of timm's ``VisionTransformer`` without a classifier; one of the type ``maws_clip`` has it
below ``vision_encoder.``, beside a text encoder that is not read. Names and shapes must all be there.

Source: Singh et al., "The effectiveness of MAE pre-pretraining for billion-scale pretraining" (ICCV 2023);
facebookresearch/maws, ``maws/model_builder.py`` (``MODEL_CONFIGS``, ``build_model``, which loads strictly) and
``CLIP.get_image_transform`` in ``maws/model.py`` (normalisation). The weights are CC-BY-NC 4.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.errors import CheckpointRejected, UnknownName, WeightsMissing
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state
from sapiens_bench.models.parts.dense_head import Tap
from sapiens_bench.models.parts.trunk_sapiens import MEAN, STD, spaced
from sapiens_bench.models.parts.trunks import DRAWN, RANDOM, Trunk

SIZES: dict[str, tuple[int, int, int, int]] = {  # patch, width, blocks, attention heads
    "vit_b16": (16, 768, 12, 12),
    "vit_l16": (16, 1024, 24, 16),
    "vit_h14": (14, 1280, 32, 16),
    "vit_2b14": (14, 2560, 24, 32),
}
NATIVE = 224  # side of the pictures that they were trained on
# Of a ``maws_clip`` file, what is not the picture's encoder.
CLIP_VISION, CLIP_OTHER = "vision_encoder.", ("text_encoder.", "text_projection", "vision_projection", "logit_scale")


class MawsTrunk(Trunk):
    """The encoder of one file.

    Raises:
        UnknownName: no such size. WeightsMissing: no file. CheckpointRejected: a file of another layout or size.
    """

    mean: Tensor  # [1, 3, 1, 1]
    deviation: Tensor

    def __init__(self, name: str, weights: Path | None, input_hw: tuple[int, int]) -> None:
        super().__init__()
        if name not in SIZES:
            raise UnknownName("MAWS encoder", name, SIZES)
        drawn = str(weights) == RANDOM
        if weights is None or not (drawn or weights.is_file()):
            where = "no file was given" if weights is None else f"{weights} is not there"
            raise WeightsMissing(f"--backbone maws:{name} needs --backbone-weights FILE (or {RANDOM}): {where}.")
        self.multiple, width, depth, _ = SIZES[name]
        self.net = _drawn(name) if drawn else _loaded(name, weights)
        if all(side % self.multiple == 0 for side in input_hw):  # else ``open_trunk`` says what is wrong
            self.net.set_input_size(img_size=input_hw)
        self.identity = f"random maws:{name}, seed 0" if drawn else file_sha256(weights)
        self._layers = spaced(depth)
        self.taps = tuple(Tap(f"layer{i + 1}", self.multiple, width) for i in self._layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        grid = f"{input_hw[0] // self.multiple}x{input_hw[1] // self.multiple}"
        self.notes = (*((DRAWN,) if drawn else ()), f"Position table brought to {grid} patches.")

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (image.float() - self.mean) / self.deviation
        maps: list[Tensor] = self.net.forward_intermediates(x, indices=list(self._layers), intermediates_only=True)
        return maps

    def layer_name(self, name: str) -> str:
        """``net.blocks.<i>. ...`` are layers."""
        plain = name.removeprefix("net.")
        return f"backbone.{plain.replace('blocks.', 'layers.', 1) if plain.startswith('blocks.') else plain}"

    @property
    def n_layers(self) -> int:
        return len(self.net.blocks)


def _built(name: str, side: int) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    patch, width, depth, heads = SIZES[name]
    return VisionTransformer(
        img_size=side, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=0
    )


def _drawn(name: str) -> Any:
    torch.manual_seed(0)
    return _built(name, SIZES[name][0] * round(NATIVE / SIZES[name][0]))


def _loaded(name: str, weights: Path) -> Any:
    """The encoder with the file's tensors, its position table as it lies there."""
    state = _encoder_state(open_state(weights).state)
    table = state.get("pos_embed")
    if table is None or table.ndim != 3:
        raise CheckpointRejected(f"{weights} does not fit maws:{name}: it has no pos_embed [1, places, width].")
    places = math.isqrt(max(table.shape[1] - 1, 0))
    with torch.device("meta"):
        net = _built(name, max(places, 1) * SIZES[name][0])
    fill(net, state, weights, what=f"maws:{name}")
    return net


def _encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the text encoder of a ``maws_clip`` file; names that are neither stay, and are refused by name."""
    if not only_prefix(state, CLIP_VISION):
        return dict(state)
    return {n.removeprefix(CLIP_VISION): t for n, t in state.items() if not n.startswith(CLIP_OTHER)}
