"""A head's file and the trunk that it was fitted on, opened for a card."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.head_file import Head, load_head
from sapiens_bench.models.parts.trunks import RANDOM, SHIPPED, Trunk, open_trunk
from sapiens_bench.models.parts.weight_file import weights_path


class FittedHead(NamedTuple):
    """Both on the card's device."""

    trunk: Trunk
    head: Head
    input_hw: tuple[int, int]


def open_fitted(context: ModelContext, spec: InputSpec, channels: int) -> FittedHead:
    """The head of the card's task and its trunk.

    Args:
        channels: that the card's task needs.

    Raises:
        CheckpointRejected: the file is no head, or of another task, input size or trunk than card and package say.
    """
    path, name, task = weights_path(context), context.variant.id, context.card.task
    about, head, own_trunk = load_head(path)
    if about.plan.outputs.get(task) != channels:
        raise CheckpointRejected(
            f"{path} holds {dict(about.plan.outputs)}; the card of {name} needs {task} with {channels} channels."
        )
    if (spec.height, spec.width) != about.input_hw:
        raise CheckpointRejected(
            f"{path} was fitted at {about.input_hw[0]}x{about.input_hw[1]}, the card of {name} says "
            f"{spec.height}x{spec.width}."
        )
    weights = None if about.backbone in SHIPPED else next(iter(context.also.values()), None)
    if own_trunk and about.backbone not in SHIPPED:
        weights = Path(RANDOM)  # the file's own tensors take their place below
    trunk = open_trunk(
        about.backbone, weights, input_hw=about.input_hw, device=context.device, precision=context.precision
    )
    if own_trunk:
        trunk.load_state_dict(own_trunk)
        trunk.float().to(context.device)
    elif trunk.identity != about.trunk:
        raise CheckpointRejected(f"{path} was fitted on another {about.backbone} than the one found.")
    placed = head.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return FittedHead(trunk, placed, about.input_hw)
