"""docs/systems.md against the cards."""

from __future__ import annotations

import re
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog

ROW = re.compile(r"^\| ([^|]+) \| (`[^|]+`) \| (`[^|]+`) \| (golden|shape|quoted) \|", re.M)


def test_every_system_of_the_page_has_cards_that_say_the_same(repository: Path) -> None:
    models = Catalog.load().models
    rows = ROW.findall((repository / "docs" / "systems.md").read_text())
    assert len(rows) >= 25
    for system, ids, wrappers, verified in rows:
        for name in re.findall(r"`([^`]+)`", ids):
            assert name in models, f"{system}: {name}"
            card = models[name].card
            assert card.verified == verified, name
            assert card.wrapper in re.findall(r"`([^`]+)`", wrappers), name


def test_every_family_of_networks_is_on_the_page(repository: Path) -> None:
    text = (repository / "docs" / "systems.md").read_text()
    named = set(re.findall(r"`([^`]+)`", text))
    own = {"saved_maps", "floors", "oracle", "noisy_oracle"}
    for entry in Catalog.load().models.values():
        card = entry.card
        if card.kind == "network" and card.wrapper not in own and card.id not in SHIPPED_HEADS:
            assert named & {v.id for v in card.variants}, card.id


def test_every_system_that_people_compare_with_is_named(repository: Path) -> None:
    text = (repository / "docs" / "systems.md").read_text()
    assert [name for name in SYSTEMS if name not in text] == []


SYSTEMS = (
    "ViTPose+-S/B/L/H, 17", "ViTPose+-S/B/L/H, 133", "DWPose t/s/m/l", "RTMPose", "RTMW", "RTMO", "HRNet",
    "SimpleBaseline", "MoveNet", "BlazePose", "Holistic", "Sapiens v1", "Sapiens2", "FCN", "DeepLabV3", "DeepLabV3+",
    "Mask2Former", "SegFormer", "BodyPix", "SAM", "Depth Anything, V2", "Depth Anything 3", "MiDaS-L", "MiDaS-SwinV2",
    "ZoeDepth", "Depth Pro", "DAViD", "MoGe-2", "PIFuHD", "DSINE", "HDNet", "ICON", "ECON", "MAE", "DINOv2", "AIM",
    "MAWS", "Hiera",
)  # fmt: skip
SHIPPED_HEADS = {"probe-heads-seg", "probe-heads-depth", "probe-heads-normal"}  # of this package, in docs/probe.md
