"""Layer-wise learning-rate decay as the released Sapiens v1 configurations apply it.

timm's ``param_groups_layer_decay`` is not used, because it is not exact: of a ViT it counts the norm behind the last
block to that block (the released configurations: to the head, at the full rate), and with the network's own list it
spares the class token from weight decay as well. All else is equal (tested).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

from torch.nn import Parameter

LAYER = re.compile(r"^backbone\.layers\.(\d+)\.")


class ParameterSetting(TypedDict):
    lr_scale: float
    lr: float
    weight_decay: float


def layer_id(name: str, num_layers: int) -> int:
    """0 for patch embedding and position table, i + 1 for block i, num_layers + 1 for everything else."""
    if name.startswith(("backbone.patch_embed", "backbone.pos_embed", "backbone.cls_token")):
        return 0
    found = LAYER.match(name)
    return int(found.group(1)) + 1 if found else num_layers + 1


def layer_decay(
    parameters: Iterable[tuple[str, Parameter]], *, num_layers: int, rate: float, lr: float, weight_decay: float
) -> dict[str, ParameterSetting]:
    """Learning rate and weight decay of every named parameter.

    lr scale = rate^(num_layers + 1 - layer id); no weight decay for 1-D tensors, biases and ``pos_embed``.

    Source: facebookresearch/sapiens pretrain and seg configurations, ``LayerDecayOptimizerConstructor`` (it was run;
    its ``custom_keys`` have no effect).
    """
    out: dict[str, ParameterSetting] = {}
    for name, parameter in parameters:
        scale = rate ** (num_layers + 1 - layer_id(name, num_layers))
        plain = parameter.ndim == 1 or name.endswith((".bias", "pos_embed"))
        out[name] = {"lr_scale": scale, "lr": lr * scale, "weight_decay": 0.0 if plain else weight_decay}
    return out
