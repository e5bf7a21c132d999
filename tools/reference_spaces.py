"""Keypoint sets and the maps between them, as card dictionaries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Json = dict[str, Any]


def words(text: str) -> list[str]:
    """Names written with spaces between them."""
    return text.split()


# MediaPipe's published order of the 33 BlazePose landmarks.
BLAZEPOSE = words(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
)
BODY_SKELETON = [
    [15, 13], [13, 11], [16, 14], [14, 12], [11, 12], [5, 11], [6, 12], [5, 6], [5, 7], [6, 8], [7, 9], [8, 10],
    [1, 2], [0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6],
]  # fmt: skip
FEET_SKELETON = [[15, 17], [15, 18], [15, 19], [16, 20], [16, 21], [16, 22]]
LEFT, RIGHT, CENTRE = [0, 153, 255], [255, 128, 0], [51, 204, 51]


def mirrored(names: list[str]) -> list[int]:
    """Index of each name's mirror image, left_ against right_."""
    swap = {"left": "right", "right": "left"}
    partner = ["_".join(swap.get(part, part) for part in name.split("_")) for name in names]
    return [names.index(p) for p in partner]


def side_colours(names: list[str]) -> list[list[int]]:
    """Blue for the person's left, orange for the right, green for the middle."""
    left = ("left_", "l_")
    right = ("right_", "r_")
    is_left = [n.startswith(left) or "_l_" in n for n in names]
    is_right = [n.startswith(right) or "_r_" in n for n in names]
    return [LEFT if a else RIGHT if b else CENTRE for a, b in zip(is_left, is_right)]


def hand_skeleton(root: int, first: int) -> list[list[int]]:
    """Five chains of four points, each joined to the root."""
    chains = [[first + 4 * f + j for j in range(4)] for f in range(5)]
    return [pair for c in chains for pair in ([root, c[0]], [c[0], c[1]], [c[1], c[2]], [c[2], c[3]])]


def space(identity: str, title: str, source: str, names: list[str], sigmas: list[float], **more: Any) -> Json:
    """A keypoint set; ``more`` holds flip_index, groups, skeleton."""
    card = {"schema": "space/1", "id": identity, "title": title, "kind": "keypoints", "source": source,
            "names": names, "sigmas": sigmas, **more}  # fmt: skip
    return card | {"colours": side_colours(names)}


def space_map(source: str, target: str, pairs: dict[str, str], provenance: str, approximate: bool = False) -> Json:
    """A map card, target name -> source name."""
    return {"schema": "space-map/1", "id": f"{source}__{target}", "source": source, "target": target,
            "provenance": provenance, "approximate": approximate, "pairs": pairs}  # fmt: skip


def subset(whole: Json, chosen: list[int], identity: str, title: str, source: str) -> Json:
    """The chosen points of a set, in its order; groups, mirror images and skeleton follow."""
    new = {old: i for i, old in enumerate(chosen)}
    groups = {g: [new[i] for i in ids if i in new] for g, ids in whole["groups"].items()}
    return space(
        identity, title, source, [whole["names"][i] for i in chosen], [whole["sigmas"][i] for i in chosen],
        flip_index=[new[whole["flip_index"][i]] for i in chosen],
        groups={g: ids for g, ids in groups.items() if ids},
        skeleton=[[new[a], new[b]] for a, b in whole["skeleton"] if a in new and b in new],
    )  # fmt: skip


def keypoint_cards(maps: Json, goliath: Json) -> tuple[list[Json], list[Json]]:
    """Every keypoint set and every map between two of them."""
    coco, whole, dense = maps["coco17"], maps["coco_wholebody133"], maps["keypoints308"]
    if goliath["sigmas"] != dense["sigmas"] or [k["name"] for k in goliath["keypoints"]] != dense["names"]:
        raise SystemExit("the two reference files disagree on the 308 points")
    coco17 = space("coco17", "COCO, 17 body keypoints", coco["provenance"], coco["names"], coco["sigmas"],
                   flip_index=coco["flip_index"], groups={"body": list(range(17))}, skeleton=BODY_SKELETON)  # fmt: skip
    hands = hand_skeleton(91, 92) + hand_skeleton(112, 113)
    wholebody = space(
        "coco-wholebody133", "COCO-WholeBody, 133 keypoints", whole["provenance"], whole["names"], whole["sigmas"],
        flip_index=whole["flip_index"], groups=whole["groups"], skeleton=BODY_SKELETON + FEET_SKELETON + hands,
    )  # fmt: skip
    goliath308 = space(
        "goliath308", "Sapiens, 308 keypoints", dense["provenance"], dense["names"], dense["sigmas"],
        flip_index=dense["flip_index"], groups=dense["groups"], skeleton=goliath["skeleton_links"],
    )  # fmt: skip
    blaze_sigmas = blazepose_sigmas(coco17)
    blazepose = space("blazepose33", "BlazePose, 33 keypoints", "MediaPipe pose landmark model, published landmark "
                      "list; sigmas are those of the nearest COCO point, for drawing and never for a score",
                      BLAZEPOSE, blaze_sigmas, flip_index=mirrored(BLAZEPOSE),
                      groups={"body": [0, 2, 5, 7, 8, *range(11, 17), *range(23, 29)]},
                      skeleton=blazepose_skeleton())  # fmt: skip
    subsets, subset_maps = common_subsets(maps, wholebody, goliath308)
    same = {name: name for name in coco17["names"]}
    from_308 = {coco17["names"][t]: dense["names"][s] for t, s in maps["coco17_from_308"]["pairs_target_source"]}
    joined = [
        space_map("goliath308", "coco17", from_308, maps["coco17_from_308"]["provenance"]),
        space_map("coco-wholebody133", "coco17", same, "by name: the first 17 of COCO-WholeBody are COCO's"),
        space_map("blazepose33", "coco17", same, "by name; the two vocabularies were annotated by different rules "
                  "(hips and ankles above all), so scores carry an unknown bias", approximate=True),
    ]  # fmt: skip
    return [coco17, wholebody, goliath308, blazepose, *subsets], [*joined, *subset_maps]


def blazepose_sigmas(coco17: Json) -> list[float]:
    """COCO's sigma of the same or the nearest part."""
    known = dict(zip(coco17["names"], coco17["sigmas"]))
    near = {"eye": "eye", "ear": "ear", "mouth": "nose", "shoulder": "shoulder", "elbow": "elbow", "hip": "hip",
            "knee": "knee", "ankle": "ankle", "heel": "ankle", "foot": "ankle", "wrist": "wrist", "pinky": "wrist",
            "index": "wrist", "thumb": "wrist", "nose": "nose"}  # fmt: skip
    sigmas = []
    for name in BLAZEPOSE:
        parts = name.split("_")
        part = "foot" if "foot" in parts else next(p for p in parts if p in near)
        sigmas.append(known["nose"] if near[part] == "nose" else known[f"left_{near[part]}"])
    return sigmas


def blazepose_skeleton() -> list[list[int]]:
    """MediaPipe's published connections."""
    at = {name: i for i, name in enumerate(BLAZEPOSE)}
    chains = [
        "nose {0}_eye_inner {0}_eye {0}_eye_outer {0}_ear",
        "{0}_shoulder {0}_elbow {0}_wrist {0}_pinky {0}_index {0}_wrist {0}_thumb",
        "{0}_shoulder {0}_hip {0}_knee {0}_ankle {0}_heel {0}_foot_index {0}_ankle",
    ]
    pairs = [[at["mouth_left"], at["mouth_right"]], [at["left_shoulder"], at["right_shoulder"]],
             [at["left_hip"], at["right_hip"]]]  # fmt: skip
    for side in ("left", "right"):
        for chain in chains:
            names = chain.format(side).split()
            pairs += [[at[a], at[b]] for a, b in pairwise(names)]
    return pairs


def common_subsets(maps: Json, wholebody: Json, goliath308: Json) -> tuple[list[Json], list[Json]]:
    """Points that the 133 and the 308 set share: by name, with finger bases, with face points derived from names.

    The 114 points of the paper have no map from the 308: their 51 face points have no published table.
    """
    parts = maps["wholebody133_from_308"]
    official, bases, face = parts["official_53"], parts["finger_base_10"], parts["face_anchor_20"]
    levels = [
        ("wb53", "WholeBody points of equal name in the 308 set", [official], False),
        ("wb63", "WholeBody points in the 308 set, finger bases included", [official, bases], False),
        ("wb83", "WholeBody points in the 308 set, finger bases and 20 face points", [official, bases, face], True),
    ]
    spaces, joined = [paper_subset(wholebody)], []
    joined.append(space_map("coco-wholebody133", "common114", {n: n for n in spaces[0]["names"]}, "a subset, by name"))
    equal = {wholebody["names"][t]: goliath308["names"][s] for t, s in official["pairs_target_source"]}
    joined.append(space_map("goliath308", "coco-wholebody133", equal, official["provenance"] + "; 80 points have none"))
    for identity, title, blocks, approximate in levels:
        source_of = {t: s for b in blocks for t, s in b["pairs_target_source"]}
        chosen = sorted(source_of)
        provenance = "; ".join(b["provenance"] for b in blocks)
        spaces.append(subset(wholebody, chosen, identity, title, provenance))
        names = [wholebody["names"][i] for i in chosen]
        dense = {wholebody["names"][i]: goliath308["names"][source_of[i]] for i in chosen}
        joined.append(space_map("goliath308", identity, dense, provenance, approximate))
        joined.append(space_map("coco-wholebody133", identity, {n: n for n in names}, "a subset, by name"))
    return spaces, joined


def paper_subset(wholebody: Json) -> Json:
    """The likely reading of the paper's 114 common points: WholeBody without the 17 jaw points and the 2 hand roots."""
    jaw = set(wholebody["groups"]["face"][:17])
    roots = {i for i, name in enumerate(wholebody["names"]) if name.endswith("hand_root")}
    chosen = [i for i in range(len(wholebody["names"])) if i not in jaw | roots]
    if len(chosen) != 114:
        raise SystemExit(f"the paper's subset has {len(chosen)} points, not 114")
    source = (
        "assumed: 17 + 6 + 51 + 40 = 114 is COCO-WholeBody without the jaw line and the hand roots; the paper gives "
        "the number only, and its table of 51 face points among the 308 is not public"
    )
    return subset(wholebody, chosen, "common114", "114 points, likely those of the Sapiens paper", source)
