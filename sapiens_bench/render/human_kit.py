"""The baked body model: reading ``embedded/human_kit.npz`` (made by tools/build_human_kit.py) with numpy alone.

Rest frame: x to the body's left, y backwards (the face looks along -y), z up, metres; the pelvis is near the origin and
the arms hang at about 45 degrees. "Template" means the mean body; fields of the template serve as texture coordinates.

Axes: V vertices, B bones, C shape components, Q quads, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

BODY, TIGHTS, SKIRT, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(9)
SIDES = ("L", "R")


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """Arrays of the kit, expanded to floats."""

    quads_Q4: Ints
    group_Q: Ints
    mean_V3: Doubles  # template vertices
    mean_heads_B3: Doubles
    basis_CP3: NDArray[np.float32]  # P = V + B
    identities_NC: Doubles
    attributes_N5: Doubles  # gender (0 male, 1 female), age, weight, height, muscle
    bones: dict[str, int]
    parents_B: Ints
    skin_VB: NDArray[np.float64]  # dense weights, rows sum to 1
    units: dict[str, tuple[Ints, Doubles]]  # face unit -> (vertex index, delta [n, 3])
    keypoint_KV: tuple[tuple[Ints, Doubles], ...]  # COCO-17 and six feet points: (vertex index, weight)
    fingertips: Ints  # [10] left thumb..little, right thumb..little
    masks: dict[str, Doubles]  # lips, ears ... 0..1 per vertex

    def head(self, bone: str) -> Doubles:
        """Template position of a bone's head."""
        return np.asarray(self.mean_heads_B3[self.bones[bone]])

    def quads(self, group: int) -> Ints:
        """Quads of one group."""
        return np.asarray(self.quads_Q4[self.group_Q == group])

    def weight_of(self, *prefixes: str) -> Doubles:
        """Summed skinning weight of the bones whose name starts with a prefix, [V]."""
        chosen = [i for name, i in self.bones.items() if name.startswith(prefixes)]
        return np.asarray(self.skin_VB[:, chosen].sum(1))


@lru_cache(maxsize=1)
def load_kit() -> Kit:
    """The kit shipped with the package; read once per process (about 0.1 s).

    Raises:
        DataMissing: the file is not there or not ours; a broken installation.
    """
    path = resources.files("sapiens_bench.embedded") / "human_kit.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            raw = {name: archive[name] for name in archive.files}
        return _expand(raw)
    except (OSError, ValueError, KeyError) as error:
        raise DataMissing(
            f"{path} cannot be read ({error}). It ships with the package: reinstall sapiens-vision-bench, or bake it "
            "with `pip install '.[kit]' && python tools/build_human_kit.py`."
        ) from None


def _expand(raw: dict[str, NDArray[Any]]) -> Kit:
    n = len(raw["skin_index"])
    mean = raw["mean"] * raw["mean_scale"].astype(np.float64)
    skin = np.zeros((n, len(raw["bone_names"])))
    weight = raw["skin_weight"].astype(np.float64)
    np.put_along_axis(skin, raw["skin_index"].astype(np.int64), weight / weight.sum(1, keepdims=True), 1)
    delta = raw["unit_delta"] * raw["unit_scale"].astype(np.float64)
    unit_ranges = zip(raw["unit_names"].tolist(), raw["unit_start"], raw["unit_start"][1:])
    keypoint_ranges = zip(raw["keypoint_start"], raw["keypoint_start"][1:])
    keypoint_index, keypoint_weight = raw["keypoint_index"].astype(np.int64), raw["keypoint_weight"].astype(np.float64)
    return Kit(
        quads_Q4=raw["quads"].astype(np.int64),
        group_Q=raw["quad_group"].astype(np.int64),
        mean_V3=mean[:n],
        mean_heads_B3=mean[n:],
        basis_CP3=raw["basis"] * raw["basis_scale"],
        identities_NC=raw["identities"].astype(np.float64),
        attributes_N5=raw["identity_attributes"].astype(np.float64),
        bones={name: i for i, name in enumerate(raw["bone_names"].tolist())},
        parents_B=raw["bone_parents"].astype(np.int64),
        skin_VB=skin,
        units={name: (raw["unit_index"][a:b].astype(np.int64), delta[a:b]) for name, a, b in unit_ranges},
        keypoint_KV=tuple((keypoint_index[a:b], keypoint_weight[a:b]) for a, b in keypoint_ranges),
        fingertips=raw["fingertips"].astype(np.int64),
        masks={name[5:]: raw[name] / 255.0 for name in raw if name.startswith("mask_")},
    )


def triangles(quads_Q4: Ints) -> Ints:
    """Both triangles of every quad, [2Q, 3]; rows q and q + Q belong to quad q."""
    return np.concatenate([quads_Q4[:, [0, 1, 2]], quads_Q4[:, [0, 2, 3]]])
