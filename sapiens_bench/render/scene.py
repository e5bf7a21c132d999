"""One synthetic image with its complete ground truth, from nothing but (version, split, index).

The whole image is rasterised once, on a grid twice as fine whose every second sample is a pixel centre. Ground truth is
read at those samples alone, so it is what a rasterisation at image size gives, and nothing is ever blended. Colour is
the mean of the 3 x 3 samples around the pixel centre with weights 1 2 1 (a tent two pixels wide).

World: z up, floor at z = 0, metres; people look along -y and the camera looks roughly along +y.

Axes: N people, K keypoints, H, W image, P visible samples of people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from sapiens_bench.render.about import about
from sapiens_bench.render.attributes import vertex_normals
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.clips import FRAMES, frame
from sapiens_bench.render.colour import Canvas, Geometry
from sapiens_bench.render.crowd import joined_by
from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import AS_DRAWN, Redraw
from sapiens_bench.render.framing import aim, board, followed, moved
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import Material, join
from sapiens_bench.render.person import Person, linear, make_person, restyled, turned
from sapiens_bench.render.picture import Picture, normals, truth_of, visible
from sapiens_bench.render.pose_library import Z, rotation
from sapiens_bench.render.rasterise import rasterise
from sapiens_bench.render.room import Room, Slab, backdrop, draw_room, repainted, roofed, roomy

VERSION = 1  # raised whenever a pixel or a number of the set can change
HEIGHT, WIDTH = 512, 384
VIEWS = {"full": 0.5, "upper": 0.2, "face": 0.13, "two": 0.17}
MOST_PEOPLE = 4
CLIPS = "clips"  # the split whose pictures are frames
# Splits whose pictures as drawn are published, so that no bit of them may move. The camera of a few (of default 51 and
# 66, of train 14 of 2000) stands above the ceiling and sees its upper side in place of wall, floor and seats; truth
# and picture agree.
SHIPPED = ("default", "tiny", "train", CLIPS)
EDITION = 3  # of all other scenes: raised whenever a pixel or a number of them can change


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where someone stands."""

    seed: tuple[str | int, ...]
    family: str  # of the pose; drawn when empty
    yaw_deg: float
    shift_3: Doubles

    def person(self, redraw: Redraw, drawn: Person | None = None) -> Person:
        """Whoever it is, made and put there.

        Args:
            drawn: the same in the outfit that was drawn, on whose floor this one stands.
        """
        ground_m = None if drawn is None else drawn.ground_m
        made = _made(self.seed, self.family, redraw.of_people, ground_m, self.seed[1] not in SHIPPED)
        return turned(made, rotation(Z, self.yaw_deg), self.shift_3)


@lru_cache(maxsize=MOST_PEOPLE + 1)
def _made(seed: tuple[str | int, ...], family: str, redraw: Redraw, ground_m: float | None, is_mended: bool) -> Person:
    """Kept for the next level of a factor, which has the same people before another camera. Nobody writes into one."""
    return make_person(*seed, family=family, redraw=redraw, ground_m=ground_m, is_mended=is_mended)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What is to be rendered."""

    view: str
    people: tuple[Person, ...]
    camera: Camera
    room: Room
    seed: tuple[str | int, ...]
    redraw: Redraw = AS_DRAWN  # what of the light is set instead of drawn
    noise_seed: tuple[str | int, ...] = ()  # of the sensor; with that of the light when empty


def seed_of(split: str, index: int) -> tuple[str | int, ...]:
    """Parts of the key of every draw of one image."""
    return (f"synthetic-humans/{VERSION}", split, index)


def as_shipped(split: str, redraw: Redraw) -> bool:
    """Whether the scene is one of ``VERSION`` alone: its geometry is that of a published picture."""
    return split in SHIPPED and redraw.is_appearance


def render(
    split: str,
    index: int,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    redraw: Redraw = AS_DRAWN,
    surface: bool = False,
) -> Picture:
    """The picture of a split and index. The same content at any size; ``height`` : ``width`` should stay 4 : 3.

    Args:
        redraw: one factor set to a level; everything else keeps its bits.
        surface: alpha and albedo as well.
    """
    return render_setting(draw_setting(split, index, height, width, redraw), surface=surface)


def render_all(
    split: str,
    index: int,
    redraws: Sequence[Redraw],
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    surface: bool = False,
) -> list[Picture]:
    """One picture for each redraw of appearance, all from one rasterisation; bit-equal to ``render`` of each."""
    scene = Scene(draw_setting(split, index, height, width))
    return [scene.picture(redraw, surface=surface) for redraw in redraws]


# what stands where ---------------------------------------------------------------------------------------------------


def draw_setting(
    split: str, index: int, height: int = HEIGHT, width: int = WIDTH, redraw: Redraw = AS_DRAWN
) -> Setting:
    """The scene of a split and index. Camera and room are those of the scene as drawn whatever its people become."""
    seed = seed_of(split, index)
    if split == CLIPS:
        return _clip_setting(index, height, width)
    rng = stream(*seed, "layout")
    view = str(rng.choice(list(VIEWS), p=list(VIEWS.values())))
    n = 2 if view == "two" else 1
    places = [_place(seed, i, n, view, rng) for i in range(n)]
    colours = replace(redraw, body=AS_DRAWN.body, hairstyle=None, garment=None)
    drawn = tuple(place.person(colours) for place in places)
    camera = aim(view, drawn, rng, height, width, redraw)
    people = drawn
    if redraw.body != AS_DRAWN.body:
        people = tuple(place.person(redraw) for place in places)
        camera = followed(camera, view, drawn, people)
    elif redraw.is_outfit:
        people = tuple(place.person(redraw, was) for place, was in zip(places, drawn, strict=True))
    camera = moved(camera, people, redraw)
    counter = _counter(drawn if redraw.people is not None else people, seed)
    if redraw.people is not None:
        empty = _room(drawn, (*_seats(drawn, seed), *counter), seed)
        people = joined_by(drawn, redraw.people, seed, camera, empty, lambda i: _joining(seed, i).person(colours))
    seats = (*_seats(people, seed), *counter, *board(camera, people, redraw, seed))
    room = roomy(_room(drawn, seats, seed), [person.keypoints_K3 for person in people[len(drawn) :]])
    if not as_shipped(split, redraw):
        room = roofed(room, camera)
    return Setting(view, people, camera, _coloured(room, redraw), seed, redraw)


def _room(drawn: Sequence[Person], seats: tuple[Slab, ...], seed: tuple[str | int, ...]) -> Room:
    points = np.concatenate([person.keypoints_K3 for person in drawn])
    side = max(float(np.abs(points[:, 0]).max()), 1.0)
    return draw_room(stream(*seed, "room"), float(points[:, 1].max()) + 0.3, side, seats)


def _clip_setting(index: int, height: int, width: int) -> Setting:
    """One frame of a clip; frames of all clips are counted through."""
    number, at = divmod(index, FRAMES)
    seed = seed_of(CLIPS, number)
    person, camera, room = frame(seed, number, at, height, width)
    return Setting("full", (person,), camera, room, seed, noise_seed=(*seed, "sensor", at))


def _place(seed: tuple[str | int, ...], i: int, n: int, view: str, rng: np.random.Generator) -> Place:
    family = "stand" if view == "face" and rng.random() < 0.7 else ""
    if view == "face":
        yaw = rng.normal(0, 25)
    else:
        yaw = rng.normal(0, 40) if rng.random() < 0.75 else rng.uniform(-180, 180)
    shift = np.zeros(3)
    if n > 1:
        shift = np.array([(i - (n - 1) / 2) * rng.uniform(0.75, 1.05), rng.uniform(-0.35, 0.35), 0.0])
    return Place((*seed, "person", i), family, float(yaw), shift)


def _joining(seed: tuple[str | int, ...], i: int) -> Place:
    """Someone who was not drawn, where ``render.crowd`` has yet to put them."""
    whose = (*seed, "crowd", i)
    return Place(whose, "", float(stream(*whose, "yaw").normal(0, 40)), np.zeros(3))


def _coloured(room: Room, redraw: Redraw) -> Room:
    return room if redraw.background is None else repainted(room, linear(redraw.background))


def _seats(people: tuple[Person, ...], seed: tuple[str | int, ...]) -> tuple[Slab, ...]:
    """A stool under everyone who sits: behind the knees, as high as the lowest point of the seat."""
    slabs = []
    for i, person in enumerate(people):
        if person.pose.family != "sit":
            continue
        rng = stream(*seed, "seat", i)
        vertices = np.concatenate(
            [p.vertices_V3 for p in person.parts if p.material in (Material.BOTTOM, Material.SKIN)]
        )
        hips = person.keypoints_K3[[11, 12]].mean(0)
        near = vertices[(np.abs(vertices[:, :2] - hips[:2]) < 0.13).all(1) & (vertices[:, 2] > hips[2] - 0.35)]
        top = float(near[:, 2].min()) + 0.015
        half = rng.uniform(0.17, 0.21)
        colour = np.asarray(rng.uniform(0.03, 0.4, 3))
        slabs.append(
            Slab(
                np.array([hips[0] - half, hips[1] - half, 0]),
                np.array([hips[0] + half, hips[1] + half, top]),
                colour,
                True,
            )
        )
    return tuple(slabs)


def _counter(people: Sequence[Person], seed: tuple[str | int, ...]) -> tuple[Slab, ...]:
    """Something low that stands in front, in one of six scenes."""
    rng = stream(*seed, "counter")
    if people and rng.random() < 0.16:
        x, y = rng.uniform(-0.6, 0.6), min(float(p.keypoints_K3[:, 1].min()) for p in people) - rng.uniform(0.25, 0.6)
        size = rng.uniform((0.2, 0.12, 0.3), (0.55, 0.2, 0.85))
        low, high = np.array([x - size[0], y - size[1], 0]), np.array([x + size[0], y + size[1], size[2]])
        return (Slab(low, high, np.asarray(rng.uniform(0.03, 0.5, 3)), True),)
    return ()


# rendering -----------------------------------------------------------------------------------------------------------


def render_setting(setting: Setting, *, surface: bool = False) -> Picture:
    """The picture of a scene."""
    return Scene(setting).picture(setting.redraw, surface=surface)


class Scene:
    """A scene that was rasterised: pictures of it in any colours."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        surface = join([person.parts for person in setting.people])
        camera = setting.camera
        fine = Camera(np.diag([2.0, 2.0, 1.0]) @ camera.K, camera.R, camera.t, 2 * camera.width, 2 * camera.height)
        room = backdrop(setting.room, camera)
        seen = visible(rasterise(surface.vertices_V3, surface.faces_F3, fine), room)
        geometry = normals(seen, surface, vertex_normals(surface.vertices_V3, surface.faces_F3), fine)
        self.truth = truth_of(seen, surface, geometry[0], setting.people, camera)
        small = Geometry(*(part.astype(np.float32) for part in geometry))
        close = setting.view not in ("full", "two")
        self.canvas = Canvas(setting.seed, setting.noise_seed, surface, seen, room, small, close)

    def picture(self, redraw: Redraw, *, surface: bool = False) -> Picture:
        """The scene in other colours or light; as it is where ``redraw`` is that of its setting.

        Args:
            surface: alpha and albedo as well.
        """
        setting, truth = self.setting, self.truth
        people, room, painted = setting.people, setting.room, self.canvas.surface
        if redraw != setting.redraw:
            people = tuple(restyled(person, redraw) for person in people)
            room, painted = _coloured(room, redraw), join([person.parts for person in people])
        rgb = self.canvas.paint(people, painted, room, redraw, room is setting.room)
        alpha, albedo = self.canvas.surface_of(people, painted) if surface else (None, None)
        told = about(
            setting.view, people, setting.camera, room, self.canvas.light(room, redraw), self.canvas.seen, truth
        )
        return Picture(
            setting.view, rgb, truth.labels, truth.instance, truth.depth, truth.normal, truth.keypoints,
            truth.visible, setting.camera, told, alpha, albedo,
        )  # fmt: skip
