"""Label sets of human parsing and the official maps into the 28 body parts, as card dictionaries.

Map tables: facebookresearch/sapiens, seg/mmseg/datasets/*2goliath.py, as index lists; 255 is ignored.
"""

from __future__ import annotations

import colorsys
from typing import Any

from reference_spaces import words

Json = dict[str, Any]

LIP = words(
    "Background Hat Hair Glove Sunglasses UpperClothes Dress Coat Socks Pants Jumpsuits Scarf Skirt Face Left-arm "
    "Right-arm Left-leg Right-leg Left-shoe Right-shoe"
)
LIP_TO_28 = (0, 255, 3, 255, 255, 22, 255, 22, 255, 12, 255, 255, 22, 2, 255, 255, 255, 255, 8, 17)
ATR = words(
    "Background Hat Hair Sunglasses UpperClothes Skirt Pants Dress Belt Left-shoe Right-shoe Face Left-leg Right-leg "
    "Left-arm Right-arm Bag Scarf"
)
ATR_TO_28 = (0, 255, 3, 255, 22, 12, 12, 255, 255, 8, 17, 2, 255, 255, 255, 255, 255, 255)
PASCAL_TO_28 = (0, 2, 2, 2, 2, 2, 2, 2, 2, 255, 3, 22, 2, 255, 255, 5, 255, 255, 14, 255, 255, 8, 255, 255, 17)
# The source gives groups ("eyes", "arms and hands"); the order inside a group is read off the map itself:
# hands go to 5 and 14, feet to 8 and 17, each after the two ignored parts of its limb.
PASCAL = words(
    "Background Head Left-eye Right-eye Left-ear Right-ear Left-brow Right-brow Nose Mouth Hair Torso Neck "
    "Left-lower-arm Left-upper-arm Left-hand Right-lower-arm Right-upper-arm Right-hand "
    "Left-lower-leg Left-upper-leg Left-foot Right-lower-leg Right-upper-leg Right-foot"
)
# microsoft/FaceSynthetics README, values 0-18; 255 is ignored.
FACE = words(
    "Background Skin Nose Right-eye Left-eye Right-brow Left-brow Right-ear Left-ear Mouth-interior Top-lip Bottom-lip "
    "Neck Hair Beard Clothing Glasses Headwear Facewear"
)
MAP_SOURCE = (
    "official training map: facebookresearch/sapiens, seg/mmseg/datasets/{}2goliath.py; many classes are ignored"
)


def distinct_colours(n: int) -> list[list[int]]:
    """Black for label 0, then n - 1 hues a golden angle apart with alternating brightness."""
    colours = [[0, 0, 0]]
    for i in range(n - 1):
        rgb = colorsys.hsv_to_rgb((i * 0.61803398875) % 1.0, (1.0, 0.55)[i % 2], (1.0, 0.8, 0.6)[i % 3])
        colours.append([round(255 * c) for c in rgb])
    return colours


def mirrored(names: list[str]) -> list[int]:
    """Index of each label's mirror image."""
    swap = {"Left": "Right", "Right": "Left"}
    partner = [swap[n.split("-")[0]] + n[n.index("-") :] if n.split("-")[0] in swap else n for n in names]
    return [names.index(p) for p in partner]


def label_space(identity: str, title: str, source: str, names: list[str], flip: list[int], colours: Any) -> Json:
    """A label set with 255 as ignored value."""
    return {"schema": "space/1", "id": identity, "title": title, "kind": "labels", "source": source, "names": names,
            "flip_index": flip, "colours": colours, "ignore_index": 255}  # fmt: skip


def label_map(source: str, target: str, pairs: dict[str, str], provenance: str, approximate: bool = False) -> Json:
    """A map card, source label -> target label."""
    return {"schema": "space-map/1", "id": f"{source}__{target}", "source": source, "target": target,
            "provenance": provenance, "approximate": approximate, "pairs": pairs}  # fmt: skip


def by_table(names: list[str], table: tuple[int, ...], targets: list[str]) -> dict[str, str]:
    """Index list to names."""
    return {name: "ignore" if t == 255 else targets[t] for name, t in zip(names, table, strict=True)}


def label_cards(seg: Json) -> tuple[list[Json], list[Json]]:
    """Every label set and every map between two of them."""
    names = [c["name"] for c in seg["classes"]]
    flip = list(range(len(names)))
    for a, b in seg["flip_label_swaps"]:
        flip[a], flip[b] = b, a
    colours = [c["rgb"] for c in seg["classes"]]
    wide = [*names[:2], "Eyeglass", *names[2:]]
    wide_flip = [i if i == 2 else (j := flip[i if i < 2 else i - 1]) + (j >= 2) for i in range(29)]
    spaces = [
        label_space("body28", "Sapiens, 28 body parts", seg["source"], names, flip, colours),
        label_space("body29", "Sapiens2, 29 body parts", "facebookresearch/sapiens2, sapiens/dense/src/datasets/seg/"
                    "seg_utils.py: Eyeglass inserted at index 2", wide, wide_flip,
                    [*colours[:2], [250, 250, 250], *colours[2:]]),
        label_space("goliath34", "Sapiens source labels, 34 classes", seg["source"], seg["original_34_names"],
                    mirrored([n.replace("_", "-") for n in seg["original_34_names"]]), distinct_colours(34)),
        label_space("lip20", "LIP and CIHP, 20 labels", "LIP and CIHP label lists", LIP, mirrored(LIP),
                    distinct_colours(20)),
        label_space("atr18", "ATR, 18 labels", "ATR label list", ATR, mirrored(ATR), distinct_colours(18)),
        label_space("pascal-parts25", "PASCAL-Person-Part, 25 labels", "order of the official Sapiens map",
                    PASCAL, mirrored(PASCAL), distinct_colours(25)),
        label_space("face19", "Face Synthetics, 19 labels", "microsoft/FaceSynthetics README", FACE, mirrored(FACE),
                    distinct_colours(19)),
    ]  # fmt: skip
    removed = {int(k): v for k, v in seg["original_34_to_28"].items()}
    table34 = tuple(removed[i] for i in range(34))
    maps = [
        label_map("lip20", "body28", by_table(LIP, LIP_TO_28, names), MAP_SOURCE.format("{cihp,lip}"), True),
        label_map("atr18", "body28", by_table(ATR, ATR_TO_28, names), MAP_SOURCE.format("atr"), True),
        label_map("pascal-parts25", "body28", by_table(PASCAL, PASCAL_TO_28, names), MAP_SOURCE.format("pascal"), True),
        label_map("goliath34", "body28", by_table(seg["original_34_names"], table34, names),
                  "facebookresearch/sapiens, seg/mmseg/datasets/goliath.py: six classes are ignored, not background"),
        label_map("body28", "body29", {n: n for n in names}, "by name; Eyeglass (index 2) is never predicted"),
        label_map("body29", "body28", {n: n if n != "Eyeglass" else "Face_Neck" for n in wide},
                  "by name; Eyeglass counts as Face_Neck because every pixel of a prediction needs a class (our "
                  "choice; ground truth of the 28 ignores these pixels)", True),
    ]  # fmt: skip
    return spaces, maps
