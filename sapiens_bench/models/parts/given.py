"""Networks that lie in the memory of this process: ``evaluate(models=[net])`` from a training loop."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.models.parts.program import Called

_GIVEN: dict[str, Callable[[Tensor], Any]] = {}


@contextmanager
def lent(networks: Sequence[Callable[[Tensor], Any]]) -> Iterator[list[str]]:
    """Lend networks to the runs inside the block, modules in evaluation mode; gives the content of each.

    Modules stay on their device and are in their former mode afterwards.
    """
    modules = [network for network in networks if isinstance(network, nn.Module)]
    modes = [{part: part.training for part in module.modules()} for module in modules]
    contents = [content(network) for network in networks]
    _GIVEN.update(zip(contents, networks))
    try:
        for module in modules:
            module.eval()
        yield contents
    finally:
        for parts in modes:
            for part, was_training in parts.items():
                part.training = was_training
        for name in contents:
            _GIVEN.pop(name, None)


def content(network: Callable[[Tensor], Any]) -> str:
    """sha256 over the class and all tensors of a module; for other functions a number that never comes again, so that
    rows of one are never taken for rows of another."""
    if not isinstance(network, nn.Module):
        return uuid.uuid4().hex
    digest = hashlib.sha256(f"{type(network).__module__}.{type(network).__qualname__}\n{network!r}\n".encode())
    for name, tensor in network.state_dict(keep_vars=True).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def given_network(context: ModelContext, input_hw: tuple[int, int]) -> Called:
    """The network that a card was made for.

    Raises:
        CheckpointRejected: it is not in the memory of this process (any more).
    """
    network = _GIVEN.get(context.options.given)
    if network is None:
        raise CheckpointRejected(
            f"{context.variant.title} lies in the memory of another process, or of an earlier call."
        )
    device, dtype = context.device, DTYPES[context.precision]
    if isinstance(network, nn.Module) and (first := next(network.parameters(), None)) is not None:
        device, dtype = str(first.device), first.dtype

    def on_its_device(image: Tensor) -> Any:
        return network(image.to(device=device, dtype=dtype))

    return Called(on_its_device, Path(context.variant.title), input_hw, device, dtype)
