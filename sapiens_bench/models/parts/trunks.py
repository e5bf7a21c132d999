"""Trunks: networks whose feature maps a head is fitted on, by name, behind one interface.

    movenet-lightning, movenet-thunder, blazepose-lite, blazepose-full      shipped with the package
    sapiens-0.3b ... sapiens-2b, sapiens2-0.1b ... sapiens2-5b              an encoder's file, given
    maws:vit_b16 ... maws:vit_2b14                                          a file of its authors, given
    timm:NAME                                                               any network of timm with dense features

Pictures come in as 0..255; each trunk normalises as it was trained. Axes: B images, C channels, h, w input pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from torch import Tensor, nn

from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.errors import UnknownName, UsageError, WeightsMissing
from sapiens_bench.models.parts.dense_head import Tap
from sapiens_bench.models.parts.graph import load_graph


@dataclass(frozen=True, slots=True)
class ShippedTrunk:
    """A network of the package: its file, the values that are tapped, and what its input is divided by."""

    title: str
    file: str
    taps: tuple[Tap, ...]
    divisor: float  # MoveNet takes 0..255, MediaPipe's networks 0..1


def _taps(*taps: tuple[str, int, int]) -> tuple[Tap, ...]:
    return tuple(Tap(*tap) for tap in taps)


# The last value at each stride of the encoder; and the finest value that the network itself has joined from all of
# them (MoveNet v79, BlazePose v77 / v78), behind which its own heads begin. BlazePose's mask branch adds one at
# stride 2.
SHIPPED: dict[str, ShippedTrunk] = {
    "movenet-lightning": ShippedTrunk(
        "MoveNet Lightning",
        "movenet_lightning.safetensors",
        _taps(("v11", 4, 24), ("v79", 4, 24), ("v23", 8, 32), ("v51", 16, 96), ("v62", 32, 160)),
        1.0,
    ),
    "movenet-thunder": ShippedTrunk(
        "MoveNet Thunder",
        "movenet_thunder.safetensors",
        _taps(("v11", 4, 40), ("v79", 4, 24), ("v23", 8, 56), ("v51", 16, 168), ("v62", 32, 280)),
        1.0,
    ),
    "blazepose-lite": ShippedTrunk(
        "BlazePose Lite",
        "blazepose_lite.safetensors",
        _taps(("v88", 2, 8), ("v15", 4, 16), ("v78", 4, 32), ("v25", 8, 24), ("v50", 16, 56), ("v68", 32, 96)),
        255.0,
    ),
    "blazepose-full": ShippedTrunk(
        "BlazePose Full",
        "blazepose_full.safetensors",
        _taps(("v87", 2, 8), ("v14", 4, 24), ("v77", 4, 48), ("v24", 8, 32), ("v49", 16, 88), ("v67", 32, 144)),
        255.0,
    ),
}


RANDOM = "random"  # in the place of a weights file: drawn with seed 0
DRAWN = "Weights drawn at random."


class Trunk(nn.Module):
    """A network in evaluation mode that answers with feature maps.

    Attributes:
        taps: what ``forward`` gives, in order.
        multiple: sides of the input must be multiples of it.
        identity: sha256 of the weights, or a sentence that fixes them (random weights of a seed).
        notes: what a reader of the table should know.
    """

    taps: tuple[Tap, ...]
    multiple: int = 32
    identity: str
    notes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, h, w] in 0..255, any real dtype -> maps [B, C, h / stride, w / stride]."""

    def layer_name(self, name: str) -> str:
        """A parameter's name as ``probe.optim.layer_decay`` reads it: ``backbone.layers.<i>. ...``."""
        return f"backbone.{name}"

    @property
    def n_layers(self) -> int:
        """Blocks that layer-wise decay counts."""
        return 0


class GraphTrunk(Trunk):
    """A shipped network."""

    def __init__(self, shipped: ShippedTrunk, path: Path, device: str = "cpu", precision: str = "fp32") -> None:
        super().__init__()
        self.graph = load_graph(path, device, precision)
        self.taps, self.identity = shipped.taps, file_sha256(path)
        self._names = tuple(tap.name for tap in shipped.taps)
        self._divisor = shipped.divisor

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image.float()
        return self.graph.features(x if self._divisor == 1 else x / self._divisor, self._names)


def shipped_file(name: str) -> Path:
    """Weights of a shipped trunk.

    Raises:
        WeightsMissing: the package is incomplete.
    """
    path = Path(str(resources.files("sapiens_bench.embedded") / SHIPPED[name].file))
    if not path.is_file():
        raise WeightsMissing(f"{path.name} of {name} belongs to the package but is not there. Install it again.")
    return path


def open_trunk(
    name: str,
    weights: Path | None = None,
    *,
    input_hw: tuple[int, int],
    device: str = "cpu",
    precision: str = "fp32",
    own: Mapping[str, Tensor] | None = None,
) -> Trunk:
    """The trunk of a name.

    Args:
        weights: its file, for trunks that are not shipped; ``random`` (timm, maws) draws the weights.
        input_hw: sides of the pictures; position tables are brought to them.
        own: the tensors of a Sapiens v1 trunk, where ``weights`` is the file of a head that was trained with it.

    Raises:
        UnknownName: no such trunk. UsageError: the input does not fit, or the trunk has no dense features.
        WeightsMissing, CheckpointRejected: its file is not there, or is another network's.
    """
    if name in SHIPPED:
        if weights is not None:
            raise UsageError(f"--backbone {name} is shipped with the package; leave --backbone-weights out.")
        trunk: Trunk = GraphTrunk(SHIPPED[name], shipped_file(name), device, precision)
    elif name.startswith("timm:"):
        from sapiens_bench.models.parts.trunk_timm import TimmTrunk

        trunk = TimmTrunk(name.removeprefix("timm:"), weights, input_hw)
    elif name.startswith("maws:"):
        from sapiens_bench.models.parts.trunk_maws import MawsTrunk

        trunk = MawsTrunk(name.removeprefix("maws:"), weights, input_hw)
    elif name.startswith(("sapiens-", "sapiens2-")):
        from sapiens_bench.models.parts.trunk_sapiens import open_sapiens

        trunk = open_sapiens(name, weights, input_hw, own)
    else:
        raise UnknownName("backbone", name, SHIPPED, "Or sapiens-SIZE, sapiens2-SIZE, maws:SIZE, timm:NAME.")
    if any(side % trunk.multiple for side in input_hw):
        raise UsageError(
            f"--input {input_hw[0]}x{input_hw[1]}: both sides must be multiples of {trunk.multiple} for {name}."
        )
    return trunk.to(device).eval()
