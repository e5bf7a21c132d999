"""Colour of a scene, again and again: what no colour changes is worked out once.

Between two renderings that differ in colours or in the strength of light, the visible surface, its normals and the
shadows are the same. A ``Canvas`` keeps them, so that the second picture costs a fraction of the first, with the bits
it would have had alone.

Axes: P visible samples of people, H, W image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import Redraw
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import BORDER, Surface
from sapiens_bench.render.person import Person
from sapiens_bench.render.picture import Seen, mixed
from sapiens_bench.render.room import Backdrop, Room, recoloured
from sapiens_bench.render.shade import (
    Light,
    Samples,
    Shadows,
    base_colour,
    draw_light,
    light_people,
    light_room,
    set_light,
    shadow_map,
    shadows_on_people,
    shadows_on_room,
    softened,
    tent,
    tone,
)

Image = NDArray[np.float32]


class Geometry(NamedTuple):
    """Of the visible samples, float32 [P, 3]: world normals towards the camera, directions to it, world points."""

    normal: Image
    view: Image
    point: Image


class Noise(NamedTuple):
    """What the light's stream holds after the light."""

    light: Light
    strength: float
    grain_HW3: Image


class Canvas:
    """Everything of one scene that is the same in every colour.

    Args:
        noise_seed: of the sensor; empty: it goes on where the light's draws end.
        close: the view is a close one: shadow maps cover what is seen and a little around it, for finer texels.
    """

    def __init__(
        self,
        seed: tuple[str | int, ...],
        noise_seed: tuple[str | int, ...],
        surface: Surface,
        seen: Seen,
        room: Backdrop,
        geometry: Geometry,
        close: bool,
    ) -> None:
        self.seed, self.noise_seed = seed, noise_seed
        self.surface, self.seen, self.room, self.geometry = surface, seen, room, geometry
        self.bounds = _lit_bounds(close, surface, geometry.point)
        columns = np.concatenate([surface.template_V3, surface.fields_VK[:, BORDER : BORDER + 1]], 1, dtype=np.float32)
        self.mixed_P4 = np.asarray(mixed(seen, surface, columns), np.float32)
        self.noise: Noise | None = None
        self.shadows: dict[bytes, tuple[Shadows, Shadows]] = {}

    def paint(
        self, people: tuple[Person, ...], surface: Surface, room: Room, redraw: Redraw, same_room: bool
    ) -> NDArray[np.uint8]:
        """The picture with people, room and light in the colours given.

        Args:
            surface: of the people; differs from the one of the canvas in its colours at most.
            same_room: the room has the colours of the canvas's backdrop.
        """
        backdrop = self.room if same_room else recoloured(self.room, room)
        noise = self._noise(room)
        light = set_light(noise.light, redraw)
        on_people, on_room = self._shadows(light)
        painted = light_people(self._samples(surface), tuple(p.looks for p in people), light, on_people)
        height, width = backdrop.depth_HW.shape
        flat = light_room(
            backdrop.albedo_HW3.reshape(-1, 3), backdrop.normal_HW3.reshape(-1, 3), backdrop.point_HW3.reshape(-1, 3),
            light, on_room,
        ).reshape(height, width, 3)  # fmt: skip
        flat[backdrop.is_sky_HW] = backdrop.albedo_HW3[backdrop.is_sky_HW] * 1.4
        plate = tone(softened(flat), light.exposure)
        fine = np.repeat(np.repeat(plate, 2, 0), 2, 1)
        fine.reshape(-1, 3)[self.seen.pixel_P] = tone(painted, light.exposure)
        image = tent(fine)
        image += noise.grain_HW3 * np.float32(noise.strength)
        return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)

    def surface_of(self, people: tuple[Person, ...], surface: Surface) -> tuple[Image, Image]:
        """Share of people in every pixel, float32 [H, W], and their mean base colour in it, linear [H, W, 3].

        Both have the weights of ``tent``, as the picture has: pixel = alpha x people + (1 - alpha) x room, before the
        grain. Base colours are cut to 0..1; NaN where nobody is.
        """
        size = (*self.seen.shape, 1)
        covered = np.zeros(size, np.float32)
        covered.reshape(-1)[self.seen.pixel_P] = 1
        colour = np.zeros((*self.seen.shape, 3), np.float32)
        albedo = np.clip(base_colour(self._samples(surface), tuple(p.looks for p in people)), 0, 1)
        colour.reshape(-1, 3)[self.seen.pixel_P] = albedo
        alpha = tent(covered)
        with np.errstate(invalid="ignore"):
            mean = tent(colour) / np.where(alpha > 0, alpha, np.float32(np.nan))
        return alpha[..., 0], np.clip(mean, 0, 1)

    def light(self, room: Room, redraw: Redraw) -> Light:
        """The light as it falls."""
        return set_light(self._noise(room).light, redraw)

    def _noise(self, room: Room) -> Noise:
        if self.noise is None:
            rng = stream(*self.seed, "light")
            light = draw_light(rng, room.kind == "street")
            strength = rng.uniform(0.003, 0.012)
            if self.noise_seed:
                rng = stream(*self.noise_seed)
            grain = rng.standard_normal((*self.room.depth_HW.shape, 3), np.float32)
            self.noise = Noise(light, strength, grain)
        return self.noise

    def _samples(self, surface: Surface) -> Samples:
        colours = mixed(self.seen, surface, surface.colour_V3.astype(np.float32))
        return Samples(
            surface.material_F[self.seen.face_P],
            surface.owner_F[self.seen.face_P],
            self.mixed_P4[:, :3],
            self.mixed_P4[:, 3],
            np.asarray(colours, np.float32),
            self.geometry.point,
            self.geometry.normal,
            self.geometry.view,
        )

    def _shadows(self, light: Light) -> tuple[Shadows, Shadows]:
        key = light.direction.tobytes()
        if key not in self.shadows:
            surface = self.surface
            lamp = shadow_map(surface.vertices_V3, surface.faces_F3, self.bounds, light.direction, 448, 1.0)
            overhead = np.array([0.02, 0.03, 0.9993])
            above = shadow_map(surface.vertices_V3, surface.faces_F3, self.bounds, overhead, 128, 2.2)
            room = self.room.point_HW3.reshape(-1, 3)
            on_people = shadows_on_people(self.geometry.point, self.geometry.normal, lamp, above)
            self.shadows[key] = (on_people, shadows_on_room(room, lamp, above))
        return self.shadows[key]


def _lit_bounds(close: bool, surface: Surface, point_P3: Image) -> tuple[Doubles, Doubles]:
    """What the shadow maps cover: everyone; in close views what is seen and a little around it, for finer texels."""
    if not close or not len(point_P3):
        return surface.vertices_V3.min(0), surface.vertices_V3.max(0)
    return point_P3.min(0) - 0.12, point_P3.max(0) + 0.12
