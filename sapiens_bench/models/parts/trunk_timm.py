"""Any network of timm that offers feature maps, as a trunk.

Weights come from a file (``--backbone-weights``), or are drawn at random when that is asked for by name; nothing is
downloaded. Position tables of transformers are brought to the input's grid by timm's own filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.errors import CheckpointRejected, UnknownName, UsageError, WeightsMissing
from sapiens_bench.models.parts.checkpoints import open_state
from sapiens_bench.models.parts.dense_head import Tap
from sapiens_bench.models.parts.trunks import DRAWN, RANDOM, Trunk


class TimmTrunk(Trunk):
    """Feature maps of a timm network, coarse ones included; normalised as its configuration says.

    Raises:
        UnknownName: timm has no such network. UsageError: it gives no feature maps, or timm is not installed.
        WeightsMissing: no file given. CheckpointRejected: a file of another network.
    """

    mean: Tensor  # [1, 3, 1, 1]
    deviation: Tensor

    def __init__(self, name: str, weights: Path | None, input_hw: tuple[int, int]) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise UsageError(f"timm:{name} needs timm: pip install 'sapiens-vision-bench[probe]'.") from None

        check_name(name)
        if weights is None:
            raise WeightsMissing(
                f"timm:{name} needs --backbone-weights FILE (nothing is downloaded), or --backbone-weights {RANDOM} "
                "for weights drawn at random."
            )
        drawn = str(weights) == RANDOM
        self.net, config = _network(name, None if drawn else weights, input_hw)
        self.identity = f"random {name}, timm {timm.__version__}, seed 0" if drawn else file_sha256(weights)
        self._channels_last = getattr(self.net, "output_fmt", None) == "NHWC"  # sizes alone do not always tell
        info: Any = self.net.feature_info
        found = list(zip(info.module_name(), info.reduction(), info.channels(), strict=True))
        self.taps = tuple(
            Tap(f"{number}_{where}".replace(".", "_"), int(s), int(c)) for number, (where, s, c) in enumerate(found)
        )
        self.multiple = math.lcm(*(tap.stride for tap in self.taps))
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        native = tuple(config["input_size"][1:])
        notes = [DRAWN] if drawn else []
        if native != input_hw:
            notes.append(f"Input {input_hw[0]}x{input_hw[1]}; its weights were made for {native[0]}x{native[1]}.")
        self.notes = tuple(notes)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (image.float() / 255 - self.mean) / self.deviation
        maps: list[Tensor] = list(self.net(x))
        return [each.permute(0, 3, 1, 2) for each in maps] if self._channels_last else maps

    def layer_name(self, name: str) -> str:
        """``net.model.blocks.<i>. ...`` and ``net.stages_<i>. ...`` are layers; embeddings come before them."""
        plain = name.removeprefix("net.").removeprefix("model.")
        for prefix in ("blocks.", "blocks_", "stages.", "stages_", "layers.", "layers_"):
            if plain.startswith(prefix):
                return f"backbone.layers.{plain.removeprefix(prefix)}"
        return f"backbone.{plain}"

    @property
    def n_layers(self) -> int:
        names = (self.layer_name(name) for name, _ in self.named_parameters())
        numbers = {int(name.split(".")[2]) for name in names if name.startswith("backbone.layers.")}
        return max(numbers, default=-1) + 1


def check_name(name: str) -> None:
    """Raises UnknownName: timm has no such network."""
    import timm

    if not timm.is_model(name):
        raise UnknownName("timm network", name, timm.list_models())


def _network(name: str, weights: Path | None, input_hw: tuple[int, int]) -> tuple[nn.Module, dict[str, Any]]:
    """The network in its form that gives feature maps, and its configuration."""
    import timm

    state = None if weights is None else open_state(weights).state
    overlay: dict[str, Any] = (
        {} if state is None else {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    )
    reason: Exception | None = None
    sizes: tuple[dict[str, Any], ...] = ({"img_size": input_hw}, {})
    for size in sizes:  # transformers are told the size, others take any
        torch.manual_seed(0)
        try:
            net = timm.create_model(name, features_only=True, **overlay, **size)
        except TypeError as error:
            reason = error
            continue
        except (RuntimeError, KeyError) as error:
            said = str(error).replace("\n", " ")[:200]
            if state is not None and "state_dict" in said:
                raise CheckpointRejected(f"{weights} is not of timm:{name}: {said}") from None
            reason = error
            continue
        except (AttributeError, AssertionError, ValueError, NotImplementedError) as error:
            reason = error
            continue
        if state is not None:
            _refuse_foreign(net, state, f"{weights} is not of timm:{name}")
        found: Any = timm.get_pretrained_cfg(name)
        return net, dict(found.to_dict())
    raise UsageError(f"timm:{name} gives no feature maps ({str(reason)[:150]}). Take a network with dense features.")


def _refuse_foreign(net: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """timm leaves out what does not fit without a word; most matrices of the network must be those of the file.

    Not all of them need be: position tables are resized, and some networks' filters split or join tensors.

    Raises:
        CheckpointRejected: fewer than three quarters are.
    """
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for tensor in state.values():
        by_shape.setdefault(tuple(tensor.shape), []).append(tensor)
    matrices = [p.detach() for name, p in net.named_parameters() if p.ndim >= 2 and "pos_embed" not in name]
    found = sum(any(torch.equal(m, t.to(m.dtype)) for t in by_shape.get(tuple(m.shape), ())) for m in matrices)
    if found < 0.75 * len(matrices):
        raise CheckpointRejected(f"{what}: {found} of the network's {len(matrices)} matrices are in it.")
