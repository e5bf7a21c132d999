"""Where the camera stands, and what of it and before it a factor of geometry sets.

Axes: V vertices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import Redraw
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.person import Person
from sapiens_bench.render.pose_library import X, Y, Z, rotation
from sapiens_bench.render.room import Slab

_GRID = 2.0**30  # camera matrices are rounded, so that machines agree on them (see render.camera)
LOWEST_EYE_M = 0.15
BOARD_M = 0.1  # in front of the first person


def aim(
    view: str, people: tuple[Person, ...], rng: np.random.Generator, height: int, width: int, redraw: Redraw
) -> Camera:
    """A camera that frames the people: whole bodies, upper bodies or a face, a little off centre and off level.

    Distance and focal length are those of the scene as drawn, times what ``redraw`` says; a pitch that is set turns the
    camera about what it frames.
    """
    points, margin = _framed(view, people, rng)
    centre = (points.min(0) + points.max(0)) / 2
    focal = rng.uniform(1.15, 2.0) * height
    pitch = float(np.clip({"full": rng.normal(5, 7), "two": rng.normal(5, 6)}.get(view, rng.normal(2, 6)), -12, 24))
    roll = float(rng.normal(0, 2))
    R, looking = _turned(pitch, roll)
    x, y, z = R @ (points - centre).T
    half_w, half_h = width / 2 * (1 - margin), height / 2 * (1 - margin)
    distance = max(float((focal * np.abs(x) / half_w - z).max()), float((focal * np.abs(y) / half_h - z).max()))
    if redraw.pitch_deg is not None:
        R, looking = _turned(redraw.pitch_deg, roll)
    if redraw.focal is not None:
        distance, focal = distance * redraw.focal * height / focal, redraw.focal * height
    if redraw.distance is not None:
        distance *= redraw.distance
    eye = centre - looking * distance
    eye = (
        eye
        + R[0] * rng.normal(0, 0.03) * distance * width / focal
        + R[1] * rng.normal(0, 0.02) * distance * height / focal
    )
    eye[2] = max(eye[2], LOWEST_EYE_M)
    t = np.round(-(R @ eye) * _GRID) / _GRID
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(K, R, t, width, height)


def _turned(pitch_deg: float, roll_deg: float) -> tuple[Doubles, Doubles]:
    """World to camera, and where the camera looks."""
    looking = rotation(X, -pitch_deg) @ Y
    right = np.cross(looking, Z)
    right /= np.sqrt((right**2).sum())
    R = rotation(Z, 0.0) @ np.stack([right, np.cross(looking, right), looking])
    return np.round(rotation(Z, roll_deg) @ R * _GRID) / _GRID, looking


def _framed(view: str, people: tuple[Person, ...], rng: np.random.Generator) -> tuple[Doubles, float]:
    """Points that must lie in the image, and the share of the image left empty around them."""
    if view in ("full", "two"):
        return np.concatenate([part.vertices_V3 for p in people for part in p.parts]), float(rng.uniform(0.03, 0.45))
    points = people[0].keypoints_K3
    head = points[:5].mean(0)
    around = np.array([[dx, dy, dz] for dx in (-1, 1) for dy in (-1, 1) for dz in (-1, 1)], np.float64)
    if view == "face":
        size = np.array([0.13, 0.1, 0.17]) * rng.uniform(0.95, 1.5)
        return head + np.array([0, 0.05, -0.01]) + around * size, 0.05
    trunk = points[[5, 6, 11, 12]].mean(0) * 0.55 + head * 0.45
    return trunk + around * np.array([0.3, 0.1, 0.42]) * rng.uniform(0.9, 1.2), 0.05


def _middle_m(view: str, people: tuple[Person, ...]) -> float:
    """Height of the middle of what is framed."""
    if view in ("full", "two"):
        z = np.concatenate([part.vertices_V3[:, 2] for p in people for part in p.parts])
        return float(z.min() + z.max()) / 2
    points = people[0].keypoints_K3
    head = points[:5].mean(0)
    return float(head[2] if view == "face" else (points[[5, 6, 11, 12]].mean(0) * 0.55 + head * 0.45)[2])


# what a factor sets --------------------------------------------------------------------------------------------------


def followed(camera: Camera, view: str, drawn: tuple[Person, ...], people: tuple[Person, ...]) -> Camera:
    """The camera raised or lowered with the people: their middle is seen where the middle of those drawn was."""
    rise = _middle_m(view, people) - _middle_m(view, drawn)
    return replace(camera, t=np.round((camera.t - camera.R @ np.array([0.0, 0.0, rise])) * _GRID) / _GRID)


def moved(camera: Camera, people: tuple[Person, ...], redraw: Redraw) -> Camera:
    """The camera with its picture moved so that the lower edge cuts off a share of the first person's rows."""
    if redraw.cut_off is None:
        return camera
    top, bottom, _, _ = _rows_and_columns(camera, people[0])
    K = camera.K.copy()
    K[1, 2] += camera.height - 1 - bottom + redraw.cut_off * (bottom - top)
    return replace(camera, K=np.round(K * _GRID) / _GRID)


def board(camera: Camera, people: tuple[Person, ...], redraw: Redraw, seed: tuple[str | int, ...]) -> tuple[Slab, ...]:
    """What hides a share of the first person's rows from below: a board on the floor, as high as its middle needs."""
    if not redraw.hidden:
        return ()
    top, bottom, left, right = _rows_and_columns(camera, people[0])
    y = min(float(part.vertices_V3[:, 1].min()) for part in people[0].parts if len(part.vertices_V3)) - BOARD_M
    row = bottom - redraw.hidden * (bottom - top)
    eye = camera.centre

    def on_board(column: float, at_row: float) -> Doubles:
        in_camera = np.array([
            (column - camera.K[0, 2]) / camera.K[0, 0], (at_row - camera.K[1, 2]) / camera.K[1, 1], 1.0,
        ])  # fmt: skip
        ray = in_camera @ camera.R
        return np.asarray(eye + ray * ((y - eye[1]) / ray[1]))

    middle = on_board((left + right) / 2, row)
    ends = (on_board(left, row)[0] - 0.06, on_board(right, row)[0] + 0.06)
    colour = np.asarray(stream(*seed, "board").uniform(0.03, 0.5, 3))
    low, high = np.array([ends[0], y - 0.03, 0.0]), np.array([ends[1], y + 0.03, max(float(middle[2]), 0.01)])
    return (Slab(low, high, colour, True),)


def _rows_and_columns(camera: Camera, person: Person) -> tuple[float, float, float, float]:
    """First and last row, first and last column of a person that lie in the picture."""
    uv, depth = camera.project(np.concatenate([part.vertices_V3 for part in person.parts]))
    uv = uv[depth > 0]
    low, high = uv.min(0).clip(0, None), np.minimum(uv.max(0), [camera.width - 1, camera.height - 1])
    return float(low[1]), float(high[1]), float(low[0]), float(high[0])
