"""What is known about a rendered picture, so that rows can be sliced: factors of the scene, what is seen of people.

Numbers are means over the people of the picture, words are those all share ("mixed" where they do not).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sapiens_bench.render.body_shape import age_years
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import Material
from sapiens_bench.render.person import Person
from sapiens_bench.render.picture import Seen, Truth
from sapiens_bench.render.room import Room
from sapiens_bench.render.shade import Light

N_COCO = 17
MOST_HEIGHTS = 10  # of the picture: what a person's rows are stated as at most
WORDS = ("view", "hair", "clothing", "background")  # attributes that are words; all others are numbers


def about(
    view: str, people: Sequence[Person], camera: Camera, room: Room, light: Light, seen: Seen, truth: Truth
) -> dict[str, float | str]:
    """Attributes of a picture by name; docs/study.md says what each means."""
    framed = [_framed(person, camera) for person in people]
    toward_camera = camera.centre[:2] - np.mean([p.keypoints_K3[[11, 12]].mean(0)[:2] for p in people], 0)
    return {
        "view": view,
        "people": float(len(people)),
        "skin_tone": _mean(p.looks.skin_tone + 1 for p in people),
        "age": _mean(age_years(p.traits.age) for p in people),
        "body_shape": _mean(p.traits.weight for p in people),
        "gender_shape": _mean(p.traits.gender for p in people),
        "height": _mean(p.height_m for p in people),
        "clothing": _shared(_clothing(p) for p in people),
        "clothing_lightness": _mean(_lightness(p) for p in people),
        "hair": _shared("hat" if p.hair.hat else p.hair.style for p in people),
        "background": room.kind,
        "light_direction": _light_turn(light, toward_camera),
        "light_level": float(np.log2((light.colour.mean() + light.sky.mean()) * light.exposure)),
        "camera_pitch": float(np.rad2deg(np.arcsin(-camera.R[2, 2]))),
        "focal_length": float(camera.K[1, 1] / camera.height),
        "distance": _mean(float(camera.project(p.keypoints_K3[[5, 6, 11, 12]])[1].mean()) for p in people),
        "truncation": _mean(outside for _, outside in framed),
        "occluder": seen.hidden_share,
        "pixel_height": bounded(_mean(rows for rows, _ in framed), camera.height),
        "visible_share": float((truth.visible[:, :N_COCO] == 2).mean()),
    }


def bounded(pixel_height: float, height: int) -> float:
    """Rows of a whole person: where a body reaches back to the camera's plane, its projection has no end."""
    return min(pixel_height, float(MOST_HEIGHTS * height))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _shared(words: Iterable[str]) -> str:
    found = set(words)
    return found.pop() if len(found) == 1 else "mixed"


def _clothing(person: Person) -> str:
    """Sleeves over what is below."""
    top, bottom = person.wear.top, person.wear.bottom
    sleeves = "bare" if top is None else "long" if top.sleeve_m > 0.45 else "short"
    return f"{sleeves}+{'skirt' if bottom.is_skirt else 'long' if bottom.leg_m > 0.55 else 'short'}"


def _lightness(person: Person) -> float:
    """Mean display value of what is worn above and below, 0 black to 1 white."""
    worn = [person.looks.cloth[material].first for material in (Material.TOP, Material.BOTTOM)]
    return float(np.mean(np.clip(worn, 0, 1) ** (1 / 2.2)))


def _light_turn(light: Light, toward_camera: Doubles) -> float:
    """Degrees from the camera's side, positive from the right of the picture."""
    lamp = np.arctan2(light.direction[0], -light.direction[1])
    camera = np.arctan2(toward_camera[0], -toward_camera[1])
    return float((np.rad2deg(lamp - camera) + 180) % 360 - 180)


def _framed(person: Person, camera: Camera) -> tuple[float, float]:
    """Rows that the whole person takes, inside the picture or not, and the share of its vertices outside."""
    uv, depth = camera.project(np.concatenate([part.vertices_V3 for part in person.parts]))
    front = depth > 0
    inside = front & (uv > -0.5).all(1) & (uv[:, 0] < camera.width - 0.5) & (uv[:, 1] < camera.height - 0.5)
    rows = float(np.ptp(uv[front, 1])) if front.any() else 0.0
    return rows, float(1 - inside.mean())
