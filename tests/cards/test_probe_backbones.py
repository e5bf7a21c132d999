"""The paper's backbones as cards: timm knows each by the name in the command, and gives maps at the card's size."""

from __future__ import annotations

import re

import pytest
import torch

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import ModelEntry

COMMAND = re.compile(r"--backbone timm:(\S+) --backbone-weights (\S+) .*--input (\d+)x(\d+)")


def backbones() -> dict[str, list[ModelEntry]]:
    """timm's name -> the cards that fit a head on it."""
    found: dict[str, list[ModelEntry]] = {}
    for entry in Catalog.load().models.values():
        how = entry.variant.weights.get.how if entry.variant.weights else ""
        if entry.card.id.startswith("probe-backbones") and (named := COMMAND.search(how)):
            found.setdefault(named[1], []).append(entry)
    return found


BACKBONES = backbones()


def test_every_family_of_the_paper_that_timm_has_is_there_for_three_tasks() -> None:
    for family in ("vit_large_patch16_224.mae", "dinov2", "aimv2", "hiera"):
        (name,) = [name for name in BACKBONES if family in name]
        assert {entry.card.task for entry in BACKBONES[name]} == {"seg", "depth", "normal"}


@pytest.mark.parametrize("name", BACKBONES)
def test_timm_gives_maps_at_the_size_that_card_and_command_name(name: str) -> None:
    import timm

    assert timm.is_model_pretrained(name)
    for entry in BACKBONES[name]:
        assert entry.variant.weights is not None
        assert entry.variant.input is not None
        named = COMMAND.search(entry.variant.weights.get.how)
        assert named is not None
        assert (int(named[3]), int(named[4])) == (entry.variant.input.height, entry.variant.input.width)
        assert named[2] in entry.variant.weights.also
    height, width = int(named[3]), int(named[4])
    size = {} if "hiera" in name else {"img_size": (height, width)}
    with torch.device("meta"):
        net = timm.create_model(name, features_only=True, **size)
    maps = net(torch.empty(1, 3, height, width, device="meta"))
    for found, stride, channels in zip(maps, net.feature_info.reduction(), net.feature_info.channels(), strict=True):
        assert (height % stride, width % stride) == (0, 0)
        assert tuple(found.shape) == (1, channels, height // stride, width // stride)
