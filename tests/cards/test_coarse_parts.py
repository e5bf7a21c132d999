"""The coarse label set: every part lands where its name says, mirrored parts stay mirrored."""

from __future__ import annotations

import pytest

from sapiens_bench.cards.catalog import Catalog


@pytest.mark.parametrize("source", ["body28", "body29"])
def test_parts_of_a_side_stay_on_their_side_and_mirror_with_the_set(source: str) -> None:
    catalog = Catalog.load()
    fine, coarse = catalog.space(source), catalog.space("coarse12")
    index = catalog.sources_of("coarse12")[source].map.index
    for part, name in enumerate(fine.names):
        if index[part] < 0:
            assert name == "Apparel"
            continue
        target = coarse.names[index[part]]
        for side in ("Left", "Right"):
            assert target.startswith(side) == name.startswith(side), (name, target)
        assert coarse.flip_index[index[part]] == index[fine.flip_index[part]], name
    assert set(index[index >= 0]) == set(range(12))


def test_feet_hold_shoes_and_socks_and_heads_hold_lips() -> None:
    catalog = Catalog.load()
    fine, coarse = catalog.space("body28"), catalog.space("coarse12")
    index = catalog.sources_of("coarse12")["body28"].map.index
    joined = {name: coarse.names[index[i]] for i, name in enumerate(fine.names) if index[i] >= 0}
    assert joined["Left_Shoe"] == joined["Left_Sock"] == "Left_Foot"
    assert joined["Lower_Lip"] == joined["Hair"] == joined["Tongue"] == "Head"
    assert joined["Right_Lower_Arm"] == joined["Right_Upper_Arm"] == "Right_Arm"
