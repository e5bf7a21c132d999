"""What stands behind the people: rooms, studios and streets, intersected ray by ray, and seats under those who sit.

World: z up, the floor at z = 0, metres. Everything is evaluated at pixel centres in float32; only the depth of seats
can hide a person, and it comes from float64.

Axes: H, W image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.human_kit import Doubles

Image = NDArray[np.float32]
POINT_BLOCK = 1 << 14  # points at a time: their arrays stay in the cache
KINDS = ("room", "studio", "street")
WALL_TONES = ((228, 222, 210), (206, 214, 216), (190, 196, 182), (176, 150, 130), (146, 160, 176),
              (238, 236, 232), (120, 110, 104), (196, 178, 156), (94, 110, 122))  # fmt: skip
STREET_TONES = ((122, 122, 124), (150, 146, 140), (92, 110, 66), (112, 124, 78), (170, 164, 152))
CLEARANCE_M = 0.3  # from the camera to the walls beside it and the ceiling above it, from people who join to walls
FLOOR_TONES = ((150, 112, 78), (110, 82, 58), (176, 148, 116), (160, 160, 158), (104, 104, 108), (196, 186, 170))


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """A box standing in the room's frame."""

    low_3: Doubles
    high_3: Doubles
    colour: Doubles
    hides: bool  # tested against people (a seat)


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    kind: str
    turn_deg: float
    wall_y_m: float
    side_m: float
    ceiling_m: float
    wall: Doubles
    wall_second: Doubles
    wall_pattern: int
    floor: Doubles
    floor_second: Doubles
    floor_pattern: int
    scale: float
    slabs: tuple[Slab, ...]
    frames: tuple[tuple[float, float, float, float], ...]  # pictures and windows: x, z, half width, half height
    frame_colours: tuple[Doubles, ...]
    phase: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """The empty room as the camera sees it."""

    albedo_HW3: Image
    normal_HW3: Image  # world
    point_HW3: Image  # world
    depth_HW: Doubles  # along the optical axis; inf in the sky
    seat_depth_HW: Doubles  # of seats alone; inf elsewhere
    is_sky_HW: NDArray[np.bool_]
    surface_HW: NDArray[np.int64]  # which surface of the room each pixel sees
    in_room_HW3: Image  # the points in the room's own frame
    ray_HW3: Doubles  # in the room's frame
    uneven_HW: Image  # of every surface's colour, as a share


def _tone(rng: np.random.Generator, tones: tuple[tuple[int, int, int], ...]) -> Doubles:
    tone = np.array(tones[int(rng.integers(len(tones)))]) / 255
    return np.asarray((tone * rng.uniform(0.85, 1.05) * rng.uniform(0.97, 1.03, 3)) ** 2.2)


def draw_room(rng: np.random.Generator, wall_y_m: float, side_m: float, seats: tuple[Slab, ...]) -> Room:
    """A room whose back wall stands behind ``wall_y_m`` and whose side walls stand outside ``side_m``."""
    kind = str(rng.choice(KINDS, p=[0.56, 0.14, 0.3]))
    wall_y = wall_y_m + rng.uniform(0.3, 2.5) + (rng.uniform(6, 14) if kind == "street" else 0)
    turn_deg = rng.uniform(-18, 18)
    slabs = [_in_room(seat, turn_deg) for seat in seats]
    for _ in range(int(rng.integers(0, 5)) if kind != "studio" else 0):
        width, depth = rng.uniform(0.25, 0.9), rng.uniform(0.15, 0.35)
        height = rng.uniform(0.35, 2.0) if kind == "room" else rng.uniform(0.5, 3.5)
        x, y = rng.uniform(-side_m - 0.5, side_m + 0.5), wall_y - depth - rng.uniform(0, 0.1)
        colour = _tone(rng, WALL_TONES + FLOOR_TONES)
        slabs.append(Slab(np.array([x - width, y - depth, 0]), np.array([x + width, y + depth, height]), colour, False))
    n_frames = int(rng.integers(0, 4))
    frames = tuple(
        (rng.uniform(-2.2, 2.2), rng.uniform(1.3, 1.9), rng.uniform(0.2, 0.55), rng.uniform(0.2, 0.5))
        for _ in range(n_frames)
    )
    return Room(
        kind,
        turn_deg,
        wall_y,
        side_m + rng.uniform(0.4, 2.0),
        rng.uniform(2.5, 3.2),
        _tone(rng, WALL_TONES),
        _tone(rng, WALL_TONES),
        int(rng.integers(0, 5)),
        _tone(rng, STREET_TONES if kind == "street" else FLOOR_TONES),
        _tone(rng, FLOOR_TONES),
        int(rng.choice([1, 3, 3])) if kind == "street" else int(rng.integers(0, 4)),
        rng.uniform(0.7, 1.4),
        tuple(slabs),
        frames,
        tuple(_tone(rng, WALL_TONES + FLOOR_TONES) for _ in range(n_frames)),
        tuple(rng.uniform(0, 6.28, 6)),
    )


def repainted(room: Room, colour: Doubles) -> Room:
    """The room in one colour (linear albedo), without patterns and pictures; every surface and seat where it was."""
    slabs = tuple(s if s.hides else replace(s, colour=colour) for s in room.slabs)
    return replace(
        room, wall=colour, wall_second=colour, floor=colour, floor_second=colour, wall_pattern=0, slabs=slabs,
        frames=(), frame_colours=(),
    )  # fmt: skip


def roofed(room: Room, camera: Camera) -> Room:
    """The room with its ceiling above the camera: from above, a ceiling would hide all that is below it."""
    return replace(room, ceiling_m=max(room.ceiling_m, float(camera.centre[2]) + CLEARANCE_M))


def roomy(room: Room, people: Sequence[Doubles]) -> Room:
    """The room with its walls, and what stands along the back one, behind more people (points of each, [K, 3])."""
    if not people:
        return room
    x, y, _ = _to_room(room.turn_deg) @ np.concatenate(people).T
    fronts = [(room.wall_y_m, -np.inf, np.inf)]
    fronts += [(s.low_3[1], s.low_3[0], s.high_3[0]) for s in room.slabs if not s.hides]
    lacking = [
        float(y[near].max()) + CLEARANCE_M - front
        for front, left, right in fronts
        if (near := (x > left - CLEARANCE_M) & (x < right + CLEARANCE_M)).any()
    ]
    back = np.array([0.0, max(0.0, *lacking), 0.0])
    slabs = tuple(s if s.hides else replace(s, low_3=s.low_3 + back, high_3=s.high_3 + back) for s in room.slabs)
    side_m = max(room.side_m, float(np.abs(x).max()) + CLEARANCE_M)
    return replace(room, wall_y_m=room.wall_y_m + float(back[1]), side_m=side_m, slabs=slabs)


def _to_room(turn_deg: float) -> Doubles:
    turn = np.deg2rad(turn_deg)
    return np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])


def _in_room(slab: Slab, turn_deg: float) -> Slab:
    """A slab whose centre was given in world axes; its sides stay along the room's walls."""
    centre = (slab.low_3 + slab.high_3) / 2
    shift = _to_room(turn_deg) @ centre - centre
    return Slab(slab.low_3 + shift, slab.high_3 + shift, slab.colour, slab.hides)


def backdrop(room: Room, camera: Camera) -> Backdrop:
    """Nearest surface of the room along every pixel's ray."""
    height, width = camera.height, camera.width
    x_px, y_px = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    in_camera = np.stack(
        [(x_px - camera.K[0, 2]) / camera.K[0, 0], (y_px - camera.K[1, 2]) / camera.K[1, 1], np.ones_like(x_px)], -1
    )
    to_room = _to_room(room.turn_deg)
    ray = in_camera @ (to_room @ camera.R.T).T  # room frame; camera z component is 1, so the parameter is z-depth
    eye, along = to_room @ camera.centre, np.ascontiguousarray(np.moveaxis(ray, -1, 0))
    depth = np.full((height, width), np.inf)
    surface = np.zeros((height, width), np.int64)
    planes = [(2, 0.0), (1, room.wall_y_m)]
    if room.kind == "room":
        left, right = max(room.side_m, CLEARANCE_M - eye[0]), max(room.side_m, eye[0] + CLEARANCE_M)
        planes += [(0, -left), (0, right), (2, room.ceiling_m)]
    with np.errstate(divide="ignore", invalid="ignore"):
        for number, (axis, at) in enumerate(planes, 1):
            t = (at - eye[axis]) / along[axis]
            if room.kind == "street" and number == 2:
                t = np.where(_skyline(room, eye, ray, t), t, np.inf)
            nearer = (t > 0.05) & (t < depth)
            np.copyto(depth, t, where=nearer)
            np.copyto(surface, number, where=nearer)
        seat_depth = np.full((height, width), np.inf)
        for number, slab in enumerate(room.slabs, 10):
            enter, axis_hit = _slab_hit(slab, eye, along)
            nearer = enter < depth
            np.copyto(depth, enter, where=nearer)
            np.copyto(surface, number * 4 + axis_hit, where=nearer)
            if slab.hides:
                seat_depth = np.minimum(seat_depth, np.where(nearer, enter, np.inf))
    seat_depth = np.where(seat_depth <= depth, seat_depth, np.inf)
    sky = ~np.isfinite(depth)
    far, point = np.where(sky, 30.0, depth), np.empty((height, width, 3), np.float32)
    for axis in range(3):  # numpy is slow over an axis of three
        point[..., axis] = eye[axis] + along[axis] * far
    uneven = _grain(point, room, 2.0) * 0.05 + _grain(point, room, 23.0) * 0.03
    albedo, normal = _paint(room, surface, point, uneven)
    albedo[sky] = _sky(ray[sky])
    back = to_room.astype(np.float32)
    return Backdrop(albedo, normal @ back, point @ back, depth, seat_depth, sky, surface, point, ray, uneven)


def recoloured(seen: Backdrop, room: Room) -> Backdrop:
    """The backdrop of a room that differs in its colours alone."""
    albedo, _ = _paint(room, seen.surface_HW, seen.in_room_HW3, seen.uneven_HW)
    albedo[seen.is_sky_HW] = _sky(seen.ray_HW3[seen.is_sky_HW])
    return replace(seen, albedo_HW3=albedo)


def _slab_hit(slab: Slab, eye: Doubles, along_3HW: Doubles) -> tuple[Doubles, NDArray[np.int64]]:
    """Entry depth (inf: missed) and the axis of the face entered. Source: Kay and Kajiya 1986, slab method."""
    shape = along_3HW.shape[1:]
    enter, leave = np.full(shape, -np.inf), np.full(shape, np.inf)
    axis_hit = np.zeros(shape, np.int64)
    for axis in range(3):
        one, other = ((side[axis] - eye[axis]) / along_3HW[axis] for side in (slab.low_3, slab.high_3))
        near = np.minimum(one, other)
        np.copyto(axis_hit, axis, where=near > enter)
        enter = np.maximum(enter, near)
        leave = np.minimum(leave, np.maximum(one, other))
    return np.where((enter < leave) & (enter > 0.05), enter, np.inf), axis_hit


def _skyline(room: Room, eye: Doubles, ray: Doubles, t: Doubles) -> NDArray[np.bool_]:
    """True where the far wall of a street is built up (blocks of houses and trees)."""
    x, z = eye[0] + ray[..., 0] * t, eye[2] + ray[..., 2] * t
    p = room.phase
    blocks = 3.5 + 2.2 * np.sign(np.sin(0.55 * x + p[0])) + 1.4 * np.sign(np.sin(1.31 * x + p[1]))
    trees = 2.6 + 0.8 * np.sin(1.1 * x + p[2]) + 0.25 * np.sin(5.3 * x + p[3]) + 0.12 * np.sin(13 * x + p[4])
    return np.asarray((t > 0) & (z < np.maximum(blocks, trees)))


def _sky(ray_N3: Doubles) -> Image:
    up = np.clip(ray_N3[:, 2:] / np.sqrt((ray_N3**2).sum(1, keepdims=True)), 0, 1)
    return np.asarray(np.array([0.75, 0.82, 0.9]) * (1 - up) + np.array([0.25, 0.45, 0.8]) * up, np.float32)


def _grain(p: Image, room: Room, size: float) -> Image:
    """Slow unevenness of a surface, about -1..1."""
    a, b, c = room.phase[:3]
    points_N3 = p.reshape(-1, 3)
    out = np.empty(len(points_N3), np.float32)
    for start in range(0, len(out), POINT_BLOCK):
        part = slice(start, start + POINT_BLOCK)
        x, y, z = (points_N3[part, k] * np.float32(size) for k in range(3))
        one = np.sin(2.1 * x + 1.3 * y + a + 1.5 * np.sin(0.9 * z + 0.7 * x + b))
        two = np.sin(3.7 * z - 2.9 * y + c + 1.3 * np.sin(1.7 * x + a))
        three = np.sin(7.1 * x + 5.3 * z - 6.7 * y + b + 1.1 * np.sin(3.1 * y + c))
        out[part] = 0.45 * one + 0.35 * two + 0.2 * three
    return out.reshape(p.shape[:-1])


def _paint(room: Room, surface: NDArray[np.int64], point: Image, uneven: Image) -> tuple[Image, Image]:
    """Albedo and normal (room frame) of every pixel."""
    codes = np.zeros((40 + 4 * len(room.slabs), 6), np.float32)  # surface -> normal, and colour where it has one alone
    codes[1:6, :3] = (0, 0, 1), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, -1)
    codes[5, 3:] = 0.8
    for number, slab in enumerate(room.slabs, 10):
        for axis in range(3):
            codes[number * 4 + axis, :3] = np.eye(3)[axis] * (1 if axis == 2 else -1)
            codes[number * 4 + axis, 3:] = slab.colour
    normal, albedo = codes[:, :3][surface], codes[:, 3:][surface]
    floor, wall = surface == 1, (surface >= 2) & (surface <= 4)
    albedo[floor] = _floor(room, point[floor])
    albedo[wall] = _wall(room, point[wall], surface[wall] == 2)
    share = 1 + uneven
    for channel in range(3):  # numpy is slow over an axis of three
        albedo[..., channel] *= share
    return albedo, normal


def _mix(first: Doubles, second: Doubles, share: Image) -> Image:
    return np.asarray(first + (second - first) * share[:, None], np.float32)


def _floor(room: Room, p: Image) -> Image:
    x, y = p[:, 0] * room.scale, p[:, 1] * room.scale
    if room.kind == "studio":
        return np.broadcast_to(room.wall.astype(np.float32), p.shape)
    if room.floor_pattern == 0:  # boards
        row = np.floor(x / 0.16)
        shade = np.modf(np.sin(row * 12.9 + np.floor(y / 1.3 + row * 0.37) * 7.3) * 43.7)[0]
        gap = (np.abs(x / 0.16 - row - 0.5) > 0.47).astype(np.float32)
        return _mix(room.floor, room.floor * 0.45, 0.5 * np.abs(shade) + 0.4 * gap)
    if room.floor_pattern == 1:  # tiles
        gap = (np.abs(np.modf(np.abs(x) / 0.45)[0] - 0.5) > 0.485) | (
            np.abs(np.modf(np.abs(y) / 0.45)[0] - 0.5) > 0.485
        )
        return _mix(room.floor, room.floor_second, 0.6 * gap)
    if room.floor_pattern == 2:  # a rug on a plain floor
        rug = (np.abs(x) < 1.1) & (np.abs(y) < 0.9)
        edge = rug & ((np.abs(x) > 1.0) | (np.abs(y) > 0.8))
        return _mix(room.floor, room.wall_second, 0.9 * rug - 0.5 * edge)
    return _mix(room.floor, room.floor_second, 0.25 + 0.15 * _grain(p, room, 2.5) + 0.08 * _grain(p, room, 31.0))


def _wall(room: Room, p: Image, is_back: NDArray[np.bool_]) -> Image:
    along = np.where(is_back, p[:, 0], p[:, 1])
    z = p[:, 2]
    share = np.zeros(len(p), np.float32)
    if room.kind == "street":
        share = ((np.sin(along * 3.1) > 0.35) & (np.sin(z * 3.6 - 1) > 0.2)).astype(np.float32) * 0.75
        return _mix(room.wall, np.array([0.05, 0.07, 0.09]), share) * 0.8
    if room.kind == "room":
        if room.wall_pattern == 1:
            share = (np.sin(along * 22 * room.scale) > 0.2).astype(np.float32) * 0.35
        elif room.wall_pattern == 2:  # bricks
            row = np.floor(z / 0.11)
            column = along / 0.3 + 0.5 * np.mod(row, 2)
            joint = (np.abs(np.modf(np.abs(column))[0] - 0.5) > 0.46) | (np.abs(z / 0.11 - row - 0.5) > 0.4)
            share = joint.astype(np.float32) * 0.5 + 0.15 * np.abs(np.sin(row * 7.7 + np.floor(column) * 3.1))
        elif room.wall_pattern == 3:  # painted to half height
            share = (z < 1.05).astype(np.float32)
    colour = _mix(room.wall, room.wall_second, share)
    if room.kind == "room":
        colour[z < 0.11] = room.wall * 0.6 + 0.25
        for (x0, z0, half_w, half_h), tone in zip(room.frames, room.frame_colours):
            dx, dz = np.abs(p[:, 0] - x0), np.abs(z - z0)
            inside = is_back & (dx < half_w) & (dz < half_h)
            rim = inside & ((dx > half_w - 0.035) | (dz > half_h - 0.035))
            colour[inside] = tone * (0.75 + 0.35 * _grain(p[inside], room, 6.0))[:, None]
            colour[rim] = room.floor * 0.4
    return colour
