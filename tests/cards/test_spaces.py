"""Maps between keypoint and label sets, against the reference tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import SpaceMapCard
from sapiens_bench.cards.spaces import build_map
from sapiens_bench.errors import CardError

LIP_TO_28 = [0, 255, 3, 255, 255, 22, 255, 22, 255, 12, 255, 255, 22, 2, 255, 255, 255, 255, 8, 17]
ATR_TO_28 = [0, 255, 3, 255, 22, 12, 12, 255, 255, 8, 17, 2, 255, 255, 255, 255, 255, 255]
PASCAL_TO_28 = [0, 2, 2, 2, 2, 2, 2, 2, 2, 255, 3, 22, 2, 255, 255, 5, 255, 255, 14, 255, 255, 8, 255, 255, 17]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "reference" / "keypoint_maps.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize(
    ("space", "block"),
    [("coco17", "coco17"), ("coco-wholebody133", "coco_wholebody133"), ("goliath308", "keypoints308")],
)
def test_keypoint_sets_equal_the_reference(catalog: Catalog, reference: dict[str, Any], space: str, block: str) -> None:
    card, facts = catalog.space(space), reference[block]
    assert list(card.names) == facts["names"]
    assert list(card.sigmas) == facts["sigmas"]
    assert list(card.flip_index) == facts["flip_index"]
    if "groups" in facts:
        assert {name: list(ids) for name, ids in card.groups.items()} == facts["groups"]


def test_308_to_17_equals_the_official_pairs_and_is_complete(catalog: Catalog, reference: dict[str, Any]) -> None:
    found = catalog.space_map("goliath308", "coco17")
    expected = dict(reference["coco17_from_308"]["pairs_target_source"])
    assert found.index.tolist() == [expected[t] for t in range(17)]
    assert found.complete
    assert not found.approximate
    # The two orders part after the ninth point: wrists are 62 and 41, not 9 and 10.
    assert found.index[9] == 62
    assert found.index[10] == 41


@pytest.mark.parametrize(
    ("space", "blocks", "size"),
    [
        ("wb53", ["official_53"], 53),
        ("wb63", ["official_53", "finger_base_10"], 63),
        ("wb83", ["official_53", "finger_base_10", "face_anchor_20"], 83),
    ],
)
def test_common_subsets_pick_the_same_bodily_point_from_both_sets(
    catalog: Catalog, reference: dict[str, Any], space: str, blocks: list[str], size: int
) -> None:
    parts = reference["wholebody133_from_308"]
    pairs = {t: s for block in blocks for t, s in parts[block]["pairs_target_source"]}
    from_133 = catalog.space_map("coco-wholebody133", space)
    from_308 = catalog.space_map("goliath308", space)
    assert from_133.complete
    assert from_308.complete
    assert len(from_133.index) == size
    assert {int(t): int(s) for t, s in zip(from_133.index, from_308.index)} == pairs


def test_subsets_keep_sigmas_and_mirror_images_of_the_whole(catalog: Catalog) -> None:
    whole = catalog.space("coco-wholebody133")
    for name in ("wb53", "wb63", "wb83", "common114"):
        part, index = catalog.space(name), catalog.space_map("coco-wholebody133", name).index
        assert part.sigmas == tuple(whole.sigmas[i] for i in index)
        for i, j in enumerate(part.flip_index):
            assert whole.flip_index[index[i]] == index[j]


def test_wholebody_body_points_are_those_of_coco(catalog: Catalog) -> None:
    assert catalog.space_map("coco-wholebody133", "coco17").index.tolist() == list(range(17))


def test_blazepose_gives_the_documented_17_points_and_is_marked_approximate(catalog: Catalog) -> None:
    found = catalog.space_map("blazepose33", "coco17")
    assert found.index.tolist() == [0, 2, 5, 7, 8, *range(11, 17), *range(23, 29)]
    assert found.approximate
    assert found.complete
    assert not found.index.flags.writeable


def test_a_set_maps_onto_itself_by_identity(catalog: Catalog) -> None:
    found = catalog.space_map("coco17", "coco17")
    assert found.identity
    assert found.index.tolist() == list(range(17))


@pytest.mark.parametrize(
    ("source", "table", "surviving"),
    [
        ("lip20", LIP_TO_28, (0, 2, 3, 8, 12, 17, 22)),
        ("atr18", ATR_TO_28, (0, 2, 3, 8, 12, 17, 22)),
        ("pascal-parts25", PASCAL_TO_28, (0, 2, 3, 5, 8, 14, 17, 22)),
    ],
)
def test_official_label_maps_equal_the_documented_index_lists(
    catalog: Catalog, source: str, table: list[int], surviving: tuple[int, ...]
) -> None:
    found = catalog.space_map(source, "body28")
    assert np.where(found.index < 0, 255, found.index).tolist() == table
    assert found.surviving == surviving


def test_34_source_labels_lose_six_classes_to_ignored_not_to_background(catalog: Catalog, shared: Path) -> None:
    facts = json.loads((shared / "reference" / "goliath_seg_classes.json").read_text("utf-8"))
    found = catalog.space_map("goliath34", "body28")
    expected = [facts["original_34_to_28"][str(i)] for i in range(34)]
    assert np.where(found.index < 0, 255, found.index).tolist() == expected
    assert int((found.index < 0).sum()) == 6
    body = catalog.space("body28")
    assert list(body.names) == [c["name"] for c in facts["classes"]]
    assert [list(rgb) for rgb in body.colours] == [c["rgb"] for c in facts["classes"]]


def test_29_classes_are_the_28_with_eyeglass_at_two(catalog: Catalog) -> None:
    wide = catalog.space("body29").names
    assert wide[2] == "Eyeglass"
    assert wide[:2] + wide[3:] == catalog.space("body28").names
    narrow = catalog.space_map("body29", "body28").index
    assert narrow[[0, 1, 3, 28]].tolist() == [0, 1, 2, 27]


def test_a_map_with_a_wrong_name_or_a_forgotten_label_is_refused(catalog: Catalog) -> None:
    lip, body = catalog.space("lip20"), catalog.space("body28")
    facts = {"id": "m", "source": "lip20", "target": "body28", "provenance": "a test", "schema": "space-map/1"}
    complete = dict.fromkeys(lip.names, "ignore")
    assert build_map(SpaceMapCard(**facts, pairs=complete), lip, body).index.tolist() == [-1] * 20
    with pytest.raises(CardError, match="no entry for Hat"):
        build_map(SpaceMapCard(**facts, pairs={k: v for k, v in complete.items() if k != "Hat"}), lip, body)
    with pytest.raises(CardError, match="'Hatt' is not a name of 'lip20'"):
        build_map(SpaceMapCard(**facts, pairs=complete | {"Hatt": "Hair"}), lip, body)
    with pytest.raises(CardError, match="'Hairs' is not a name of 'body28'"):
        build_map(SpaceMapCard(**facts, pairs=complete | {"Hair": "Hairs"}), lip, body)
    with pytest.raises(CardError, match="joins labels"):
        build_map(SpaceMapCard(**facts, pairs=complete), lip, catalog.space("coco17"))
