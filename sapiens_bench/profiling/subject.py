"""What is profiled: a model with an input, in the shape that the stages need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.errors import UsageError
from sapiens_bench.profiling.counts import ENCODER_NAMES, core_of
from sapiens_bench.types import Model, ModelInput, Prepared

IMAGE_HW = (960, 1280)  # of the synthetic photograph: what a phone's video gives


@dataclass(slots=True)
class Subject:
    """A model on its device, the modules that carry its weights, and an image with one person box."""

    model: Model
    network: nn.Module | None  # None: no torch network inside (ONNX, predictions)
    weights: str  # "card" or "random"


def sample_input(seed: int = 0) -> ModelInput:
    """Smooth noise with one person-shaped box in the middle; the same on every machine."""
    rng = np.random.Generator(np.random.Philox(seed))
    height, width = IMAGE_HW
    coarse = rng.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    image = np.ascontiguousarray(coarse.repeat(32, axis=0).repeat(32, axis=1))
    box = np.array([[0.375 * width, 0.1 * height, 0.625 * width, 0.9 * height]], np.float32)
    return ModelInput("profile", image, box, np.ones(1, np.float32))


def whole_image(x: ModelInput) -> ModelInput:
    """The same with one box around everything, as dense tasks get it."""
    height, width = x.image_HW3.shape[:2]
    return ModelInput(x.key, x.image_HW3, np.array([[0, 0, width, height]], np.float32), x.box_scores)


def network_of(model: Model) -> nn.Module | None:
    """The torch modules a wrapper holds: its own, or those among its attributes; None when there is none."""
    if isinstance(model, nn.Module):
        return model
    slots = [getattr(model, name, None) for name in getattr(type(model), "__slots__", ())]
    found = [value for value in [*vars(model).values(), *slots] if isinstance(value, nn.Module)]
    if len(found) <= 1:
        return found[0] if found else None
    return nn.ModuleList(found)


def tune(model: Model, *, compiled: bool, channels_last: bool) -> bool:
    """Compile the networks of a model, and lay the weights of their convolutions out channels-last, in place.

    Returns:
        Whether there is a network in it.
    """
    network = network_of(model)
    if network is None:
        return False
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if compiled:
        for each in network if isinstance(network, nn.ModuleList) else (network,):
            each.compile()
    return True


class EncoderOnly:
    """A model cut off behind its encoder, one pass per crop, whatever the wrapper does around it.

    The encoder's input is caught on its way through the wrapper's own ``forward``, once per batch of tensors.

    Raises:
        UsageError: the network has no module that is known as an encoder.
    """

    def __init__(self, model: Model, name: str) -> None:
        network = network_of(model)
        core = None if network is None else core_of(network)
        children = [] if core is None else [child for n, child in core.named_children() if n in ENCODER_NAMES]
        if not children:
            raise UsageError(f"{name} has no separate encoder; profile the whole model.")
        self.whole, self.encoder = model, children[0]
        self.on_host = getattr(model, "on_host", ())
        self._tensors: dict[str, Tensor] | None = None
        self._input = torch.empty(0)

    def prepare(self, x: ModelInput) -> Prepared:
        return self.whole.prepare(x)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._tensors is not tensors:
            self._input, self._tensors = self._caught(tensors), tensors
        return {"features": self.encoder(self._input)}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> NDArray[Any]:
        return outputs["features"]

    def _caught(self, tensors: dict[str, Tensor]) -> Tensor:
        def stop(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            raise _Reached(args[0])

        handle = self.encoder.register_forward_pre_hook(stop)
        try:
            self.whole.forward(tensors)
        except _Reached as reached:
            return reached.x[: len(next(iter(tensors.values())))]
        finally:
            handle.remove()
        raise UsageError("the encoder is not used by the model's forward pass")


class _Reached(Exception):
    def __init__(self, x: Tensor) -> None:
        self.x = x


def randomise(network: nn.Module, device: str, seed: int = 0) -> None:
    """Give memory and plausible values to a network on the meta device, in place.

    Layers initialise themselves; other parameters become small normal numbers. Timing does not depend on values as long
    as they are normal floating-point numbers.
    """
    torch.manual_seed(seed)
    network.to_empty(device=device)
    with torch.no_grad():
        reset: set[int] = set()
        for module in network.modules():
            if callable(getattr(module, "reset_parameters", None)):
                module.reset_parameters()  # type: ignore[operator]
                reset.update(id(p) for p in module.parameters(recurse=False))
        for parameter in network.parameters():
            if id(parameter) not in reset:
                parameter.normal_(0, 0.02)
        for buffer in network.buffers():
            buffer.zero_()
    network.eval()


def tiled(arrays: dict[str, NDArray[Any]], batch: int) -> dict[str, NDArray[Any]]:
    """``batch`` crops out of one."""
    return {name: np.concatenate([array[:1]] * batch) for name, array in arrays.items()}
