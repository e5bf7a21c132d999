"""A head's file and the trunk that it was fitted on, opened for a card."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.head_file import Head, HeadFile, load_head
from sapiens_bench.models.parts.trunks import DRAWN, RANDOM, SHIPPED, Trunk, open_trunk
from sapiens_bench.models.parts.weight_file import weights_path


class FittedHead(NamedTuple):
    """Both on the card's device."""

    trunk: Trunk
    head: Head
    input_hw: tuple[int, int]


def _notes(trunk: Trunk, about: HeadFile) -> tuple[str, ...]:
    """Of a trunk whose tensors are the head file's own: what it began with, and whether it was trained."""
    drawn = about.trunk.startswith(RANDOM)
    said = tuple(note for note in trunk.notes if note != DRAWN or drawn)
    return (*said, "The trunk was trained with the head.") if about.made.get("finetune") else said


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
    if own_trunk and about.backbone not in SHIPPED:  # the file's own tensors take the place of any below
        weights = path if about.backbone.startswith("sapiens-") else Path(RANDOM)
    trunk = open_trunk(
        about.backbone,
        weights,
        input_hw=about.input_hw,
        device=context.device,
        precision=context.precision,
        own=own_trunk or None,
    )
    if own_trunk:
        try:
            trunk.load_state_dict(own_trunk)
        except RuntimeError as error:  # names and shapes, by the dozen
            said = " ".join(str(error).split())[:200]
            raise CheckpointRejected(f"{path} holds no {about.backbone} as it is built here: {said}") from None
        trunk.notes = _notes(trunk, about)
        trunk.float().to(context.device)
    elif trunk.identity != about.trunk:
        raise CheckpointRejected(f"{path} was fitted on another {about.backbone} than the one found.")
    placed = head.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return FittedHead(trunk, placed, about.input_hw)
