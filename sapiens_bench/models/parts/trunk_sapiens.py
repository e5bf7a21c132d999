"""Sapiens v1 and Sapiens2 encoders as trunks: the map of four layers, evenly spaced, at stride 16."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.errors import UnknownName, WeightsMissing
from sapiens_bench.models.parts.checkpoints import only_prefix, open_state
from sapiens_bench.models.parts.dense_head import Tap
from sapiens_bench.models.parts.trunks import Trunk
from sapiens_bench.models.sapiens_load import encoder_as_it_was, load_encoder
from sapiens_bench.models.sapiens_net import PATCH

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
TAPPED = 4  # layers


class SapiensTrunk(Trunk):
    """A Sapiens v1 encoder in its task form: no class token, the position table brought to the input's grid.

    Args:
        own: the trunk's ``state_dict``, where ``weights`` is a head's file that holds it.
    """

    multiple = PATCH

    def __init__(
        self,
        weights: Path,
        input_hw: tuple[int, int],
        heads: int | None = None,
        own: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        grid = (input_hw[0] // PATCH, input_hw[1] // PATCH)
        if own is None:
            self.encoder = load_encoder(weights, heads=heads, task_grid_hw=grid)
        else:
            self.encoder = encoder_as_it_was(only_prefix(own, "encoder."), weights, input_hw, heads)
        self.encoder.float()
        self.identity = file_sha256(weights)
        depth, width = self.encoder.config.depth, self.encoder.config.width
        self._layers = spaced(depth)
        self.taps = tuple(Tap(f"layer{i + 1}", PATCH, width) for i in self._layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.notes = (f"Position table brought to {grid[0]}x{grid[1]} patches.",)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, (rows, columns) = self.encoder.patch_tokens((image.float() - self.mean) / self.deviation)  # type: ignore[operator]
        x = x + self.encoder.pos_embed
        found = []
        for number, layer in enumerate(self.encoder.layers):
            x = layer(x)
            if number in self._layers:
                last = self.encoder.ln1(x) if number == len(self.encoder.layers) - 1 else x
                found.append(last.transpose(1, 2).reshape(len(x), -1, rows, columns))
        return found

    def layer_name(self, name: str) -> str:
        return f"backbone.{name.removeprefix('encoder.')}"

    @property
    def n_layers(self) -> int:
        return len(self.encoder.layers)


class Sapiens2Trunk(Trunk):
    """The encoder of a Sapiens2 file, through transformers."""

    multiple = 16

    def __init__(self, weights: Path, input_hw: tuple[int, int]) -> None:
        super().__init__()
        from sapiens_bench.models.parts.hub_folder import load, transformers_class
        from sapiens_bench.models.sapiens2_load import config_arguments

        state = open_state(weights).state
        if not only_prefix(state, "backbone."):
            state = {f"backbone.{name}": tensor for name, tensor in state.items()}
        arguments = config_arguments(state, input_hw)
        arguments.pop("head_config")
        config = transformers_class("Sapiens2Config")(**arguments)
        kept = only_prefix(state, "backbone.")
        self.net: nn.Module = load(
            transformers_class("Sapiens2Model"), None, weights, (), {"config": config, "state_dict": kept}
        )
        self.net.float()
        self.identity = file_sha256(weights)
        self._layers, width = spaced(config.num_hidden_layers), config.hidden_size
        self._extra = 1 + config.num_register_tokens
        self.taps = tuple(Tap(f"layer{i + 1}", 16, width) for i in self._layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (image.float() - self.mean) / self.deviation  # type: ignore[operator]
        out: Any = self.net(x, output_hidden_states=True)
        rows, columns = image.shape[2] // 16, image.shape[3] // 16
        return [
            out.hidden_states[i + 1][:, self._extra :].transpose(1, 2).reshape(len(x), -1, rows, columns)
            for i in self._layers
        ]


def spaced(depth: int) -> tuple[int, ...]:
    """Numbers of the tapped layers, the last one among them."""
    return tuple(sorted({round(depth * (i + 1) / TAPPED) - 1 for i in range(TAPPED) if depth * (i + 1) >= TAPPED}))


def open_sapiens(
    name: str, weights: Path | None, input_hw: tuple[int, int], own: Mapping[str, Tensor] | None = None
) -> Trunk:
    """The encoder of ``sapiens-SIZE`` or ``sapiens2-SIZE``; the file's own size must be that one.

    Raises:
        UnknownName: no such size. WeightsMissing: no file. CheckpointRejected: another network's.
    """
    from sapiens_bench.errors import CheckpointRejected
    from sapiens_bench.models.sapiens2_load import SIZES as SIZES2
    from sapiens_bench.models.sapiens_net import SIZES

    family = name.partition("-")[0]
    known = {f"sapiens-{s}": v[:2] for s, v in SIZES.items()} | {f"sapiens2-{s}": v for s, v in SIZES2.items()}
    if name not in known:
        raise UnknownName("backbone", name, known)
    if weights is None or not weights.is_file():
        where = "no file was given" if weights is None else f"{weights} is not there"
        raise WeightsMissing(f"--backbone {name} needs --backbone-weights FILE: {where}.")
    trunk: Trunk = SapiensTrunk(weights, input_hw, own=own) if family == "sapiens" else Sapiens2Trunk(weights, input_hw)
    width = trunk.taps[-1].channels
    if width != known[name][0]:
        raise CheckpointRejected(f"{weights} has width {width}; {name} has {known[name][0]}.")
    return trunk
