"""The 543 points of MediaPipe Holistic and their maps to COCO's and COCO-WholeBody's sets."""

from __future__ import annotations

from typing import Any

from reference_spaces import BLAZEPOSE, Json, blazepose_skeleton, hand_skeleton, mirrored, space, space_map

N_MESH = 468
MESH_SIGMA = 0.02  # about that of a face point of COCO-WholeBody

# Vertices of MediaPipe's face mesh at the 68 points of the iBUG markup that COCO-WholeBody's faces follow: jaw from the
# person's right ear to the left one, right and left brow, bridge and base of the nose, right and left eye, outer and
# inner lips. Numbering of the mesh: MediaPipe, modules/face_geometry/data/canonical_face_model.
MESH_OF_FACE68 = [
    127, 234, 93, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,
    78, 82, 13, 312, 308, 317, 14, 87,
]  # fmt: skip
# Vertices on the middle of the face. The other 220 below 248 are the person's right half; their mirror images are 248
# to 467, in the same order. Measured: of all assignments of the network's points in three faces to those in mirrored
# pictures this one has the least total distance.
MESH_MIDDLE = (
    0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 94, 151, 152, 164, 168, 175, 195, 197, 199, 200,
)  # fmt: skip
SUBSETS = ("common114", "wb53", "wb63", "wb83")  # of the 133
PROVENANCE = (
    "body by name as in blazepose33__coco17; feet: heel by name, both toes are the foot's tip (foot_index), since "
    "BlazePose has no small toe; hands: the same 21 joints in the same order; face: 68 of the mesh's 468 vertices, "
    "those that lie at the points of the iBUG markup. The vocabularies were annotated by different rules"
)


def holistic_cards(spaces: dict[str, Json]) -> tuple[list[Json], list[Json]]:
    """The set, and its maps to COCO's 17, the 133 and the subsets of the 133; ``spaces`` holds those by id."""
    blazepose, wholebody = spaces["blazepose33"], spaces["coco-wholebody133"]
    joints = wholebody["names"][91:]  # left hand, right hand
    names = [*BLAZEPOSE, *(f"mesh-{i}" for i in range(N_MESH)), *joints]
    source_of = whole_pairs(wholebody["names"], set(names))
    known = {source: wholebody["sigmas"][i] for i, source in enumerate(source_of.values())}
    n_body = len(BLAZEPOSE)
    sigmas = [*blazepose["sigmas"], *(known.get(name, MESH_SIGMA) for name in names[n_body:])]
    left = n_body + N_MESH
    card = space(
        "holistic543", "MediaPipe Holistic, 543 points", "MediaPipe holistic_landmark: 33 pose, 468 face mesh and 21 "
        "points a hand; sigmas are those of the nearest COCO-WholeBody point, for drawing and never for a score",
        names, sigmas, flip_index=mirror_images(names), groups=blazepose["groups"],
        skeleton=blazepose_skeleton() + hand_skeleton(left, left + 1) + hand_skeleton(left + 21, left + 22),
    )  # fmt: skip
    same = {name: name for name in wholebody["names"][:17]}
    coco = space_map("holistic543", "coco17", same, "as blazepose33__coco17", approximate=True)
    maps = [space_map("holistic543", "coco-wholebody133", source_of, PROVENANCE, approximate=True)]
    for part in (spaces[name] for name in SUBSETS):
        pairs = {name: source_of[name] for name in part["names"]}
        maps.append(space_map("holistic543", part["id"], pairs, "as holistic543__coco-wholebody133", approximate=True))
    return [card], [coco, *maps]


def mirror_images(names: list[str]) -> list[int]:
    """Index of each point's mirror image: by name, and for the mesh by its table."""
    partner = {f"mesh-{i}": f"mesh-{i}" for i in MESH_MIDDLE}
    right = [i for i in range(248) if i not in MESH_MIDDLE]
    for a, b in zip(right, range(248, N_MESH), strict=True):
        partner |= {f"mesh-{a}": f"mesh-{b}", f"mesh-{b}": f"mesh-{a}"}
    others = [name for name in names if name not in partner]
    partner |= {name: others[j] for name, j in zip(others, mirrored(others), strict=True)}
    return [names.index(partner[name]) for name in names]


def whole_pairs(names: list[str], known: set[str]) -> dict[str, str]:
    """COCO-WholeBody name -> name here."""
    pairs: dict[str, Any] = {}
    for name in names:
        if name.startswith("face-"):
            pairs[name] = f"mesh-{MESH_OF_FACE68[int(name[5:])]}"
        elif name.endswith("_toe"):
            pairs[name] = name.split("_")[0] + "_foot_index"
        else:
            pairs[name] = name
    if not known.issuperset(pairs.values()):
        raise SystemExit(f"no source for {set(pairs.values()) - known}")
    return pairs
