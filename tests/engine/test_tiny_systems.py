"""Systems of the package, from card to score: their networks at toy size in the published file form, run on
synthetic-humans by the card itself (only input size and weights are others)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_nets
import yaml

import sapiens_bench
from sapiens_bench.cards.catalog import Catalog

SYSTEMS: dict[str, tuple[Callable[[], Any], str, tuple[int, int] | None]] = {  # id -> network, protocol, input
    "depth-anything-s": (tiny_nets.depth_anything, "depth", (28, 28)),
    "depth-anything-v2-l": (tiny_nets.depth_anything, "depth", (28, 28)),
    "midas-l": (tiny_nets.dpt, "depth", (64, 64)),
    "midas-swin2": (tiny_nets.dpt_swin2, "depth", (64, 64)),
    "zoedepth-nyu": (tiny_nets.zoedepth, "depth", (64, 96)),
    "depth-pro": (tiny_nets.depth_pro, "depth", (32, 32)),
    "fcn-r50-voc": (tiny_nets.torchvision("fcn_resnet50"), "person", (64, 64)),
    "deeplabv3-r50-voc": (tiny_nets.torchvision("deeplabv3_resnet50"), "person", (64, 64)),
    "mask2former-swin-t-coco": (tiny_nets.mask2former, "person", (64, 64)),
    "segformer-b2-clothes": (tiny_nets.segformer, "coarse", (64, 64)),
    "vitpose-plus-s": (tiny_nets.vitpose, "gt-box", None),
}


def tiny_card(name: str, input_hw: tuple[int, int] | None, folder: Path) -> tuple[str, str]:
    """The package's card with one variant, another id and another input size; (task, name of the weight file)."""
    entry = Catalog.load().models[name]
    card = entry.card.model_dump(mode="json", by_alias=True, exclude_none=True)
    variant = entry.variant.model_dump(mode="json", by_alias=True, exclude_none=True)
    variant |= {"id": f"tiny-{name}", "options": {k: v for k, v in variant["options"].items() if k != "size"}}
    variant["weights"] |= {"sha256": None, "get": {"how": "made by the test"}}
    if name.startswith("vitpose"):
        variant["options"]["heads"] = 2
    if input_hw is not None:
        size = {"height": input_hw[0], "width": input_hw[1]}
        card["input"] = {**card["input"], **size}
    card |= {"id": f"tiny-{entry.card.id}", "variants": [variant]}
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return entry.card.task, variant["weights"]["file"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_card_of_a_system_takes_its_network_to_a_score(name: str, tmp_path: Path) -> None:
    make, protocol, input_hw = SYSTEMS[name]
    task, file = tiny_card(name, input_hw, tmp_path / "cards")
    (tmp_path / "weights").mkdir()
    tiny_nets.save(make(), tmp_path / "weights" / file)
    record = sapiens_bench.evaluate(
        task=task, model=f"tiny-{name}", datasets="synthetic-humans", protocol=protocol, split="tiny", limit=1,
        cards=tmp_path / "cards", weights_root=tmp_path / "weights", n_boot=0, out=tmp_path / "run", max_errors=1.0,
    )  # fmt: skip
    cell = record.cells[0]
    assert cell.status == "done", cell.how
    assert (cell.counts.ok, cell.counts.input_errors) == (1, 0) or {e.code for e in cell.errors} <= {"pred.direction"}
    assert math.isfinite(cell.scores[cell.headline].value) or cell.errors
