"""People who join a scene: put where its camera sees them, beside or behind those who were drawn.

Whoever joins takes at least ``SEEN_SHARE`` of the picture, the head in it, and hides at most ``HIDDEN_SHARE`` of anyone
who stands there already; camera, room and everyone else stay as they are. Places are tried in an order of the scene's
seed, from beside those who were drawn to farther behind, so three people are the two and one more. Where none will do,
it is the one that shows most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.draws import stream
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import join
from sapiens_bench.render.person import Person, turned
from sapiens_bench.render.picture import visible
from sapiens_bench.render.rasterise import rasterise
from sapiens_bench.render.room import Room, backdrop

SEEN_SHARE = 0.02  # of the picture's pixels
HEAD_POINTS = 3  # of nose, eyes and ears, in the picture
HIDDEN_SHARE = 0.15  # of what is seen of someone
APART_M = 0.6  # between the hips of two people
TRIES = 60
_STEP_M = 0.1  # farther behind with each try
_ROWS, _COLUMNS = 64, 48  # of the picture in which it is looked who is seen
_ENOUGH = 1.1 * SEEN_SHARE  # there: it is coarse


def joined_by(
    drawn: Sequence[Person], n: int, seed: tuple[str | int, ...], camera: Camera, room: Room,
    make: Callable[[int], Person],
) -> tuple[Person, ...]:  # fmt: skip
    """The first ``n`` of those who were drawn and those who join them.

    Args:
        make: number of someone who joins -> whoever it is, at the origin.
    """
    people = list(drawn[:n])
    for i in range(n - len(people)):
        people.append(_placed(make(i), people, len(drawn), (*seed, "crowd", i), _coarse(camera), room))
    return tuple(people)


def _placed(
    person: Person, others: Sequence[Person], n_drawn: int, seed: tuple[str | int, ...], camera: Camera, room: Room
) -> Person:
    """The person at the first place where it is seen and hides nobody; else where least is hidden and most is seen."""
    before, best, most = _shares(others, camera, room), person, (False, -1.0)
    for shift in _places(person, others, n_drawn, seed, camera):
        there = turned(person, np.eye(3), shift)
        if _head_points(there, camera) < HEAD_POINTS:
            continue
        after = _shares([*others, there], camera, room)
        hides = (after[:-1] < (1 - HIDDEN_SHARE) * before).any() or (after[n_drawn:-1] < _ENOUGH).any()
        if not hides and after[-1] >= _ENOUGH:
            return there
        if (rank := (not hides, float(after[-1]))) > most:
            best, most = there, rank
    return best


def _places(
    person: Person, others: Sequence[Person], n_drawn: int, seed: tuple[str | int, ...], camera: Camera
) -> Iterator[Doubles]:
    """Shifts on the floor that bring the person's hips into one half of the picture and the other in turn."""
    rng, eye, hips = stream(*seed), camera.centre, _hips(person)
    taken = np.stack([_hips(other)[:2] for other in others])
    row = taken[:n_drawn, 1].mean()
    first = int(rng.integers(2))
    for k in range(TRIES):
        y = row + rng.uniform(-0.2, 0.4) + k * _STEP_M
        inward = rng.uniform(0.04, 0.46) * camera.width
        column = inward if (k + first) % 2 else camera.width - 1 - inward
        x = eye[0] + (column - camera.K[0, 2]) / camera.K[0, 0] * (y - eye[1])  # the camera looks along +y
        if np.sqrt(((taken - [x, y]) ** 2).sum(1)).min() >= APART_M:
            yield np.array([x - hips[0], y - hips[1], 0.0])


def _hips(person: Person) -> Doubles:
    return np.asarray(person.keypoints_K3[[11, 12]].mean(0))


def _head_points(person: Person, camera: Camera) -> int:
    uv, depth = camera.project(person.keypoints_K3[:5])
    inside = (uv > -0.5).all(1) & (uv[:, 0] < camera.width - 0.5) & (uv[:, 1] < camera.height - 0.5)
    return int((inside & (depth > 0)).sum())


def _coarse(camera: Camera) -> Camera:
    """The same view in few pixels, the same for pictures of every size; see ``Camera.supersampled``."""
    scale = np.array([_COLUMNS / camera.width, _ROWS / camera.height])
    K = camera.K.copy()
    K[:2] *= scale[:, None]
    K[:2, 2] += (scale - 1) / 2
    return replace(camera, K=K, width=_COLUMNS, height=_ROWS)


def _shares(people: Sequence[Person], camera: Camera, room: Room) -> NDArray[np.float64]:
    """Share of the picture that shows each, behind nothing and nobody."""
    surface = join([person.parts for person in people])
    seen = visible(rasterise(surface.vertices_V3, surface.faces_F3, camera.supersampled(2)), backdrop(room, camera))
    counts = np.bincount(surface.owner_F[seen.face_P], minlength=len(people))
    return np.asarray(counts / (seen.shape[0] * seen.shape[1]))
