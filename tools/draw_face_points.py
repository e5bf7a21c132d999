"""Draw the committed points of face and body on the template, each with its name.

python tools/draw_face_points.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from place_face_points import BODY_F, FACE_F, V, camera

from sapiens_bench.render.attributes import vertex_normals
from sapiens_bench.render.rasterise import rasterise
from sapiens_bench.render.surface_points import load_points


def sheets(folder: Path) -> None:
    """The points on the template with their names: face, eye, mouth, nose, ear, arm."""
    points = load_points()
    folder.mkdir(parents=True, exist_ok=True)
    views: list[tuple[str, tuple[float, ...], tuple[float, ...], float, Callable[[str], bool]]] = [
        ("face68", (0, -1, 0), (0, -0.13, 0.85), 0.2, lambda n: n.startswith("face-")),
        ("face68_side", (1, -0.6, 0), (0.02, -0.1, 0.85), 0.2, lambda n: n.startswith("face-")),
        ("face_308", (0, -1, 0), (0, -0.13, 0.85), 0.2, lambda n: not n.startswith("face-")),
        ("eye", (0, -1, 0), (0.031, -0.14, 0.888), 0.07, lambda n: not n.startswith("face-")),
        ("mouth", (0, -1, 0), (0.0, -0.16, 0.81), 0.065, lambda n: not n.startswith("face-")),
        ("nose", (0, -1, 0), (0.0, -0.17, 0.85), 0.06, lambda n: not n.startswith("face-")),
        ("ear", (1, -0.15, 0), (0.09, -0.05, 0.862), 0.085, lambda n: n.startswith("l_")),
        ("body", (0.5, -1, 0.3), (0.1, -0.1, 0.4), 1.3, lambda n: n in BODY_NAMES),
        ("body_back", (0.5, 1, 0.3), (0.1, -0.1, 0.4), 1.3, lambda n: n in BODY_NAMES),
    ]
    normals = vertex_normals(V, FACE_F)
    for name, toward, centre, size, wanted in views:
        view = camera(np.array(toward, float), np.array(centre), size, 1600)
        hits = rasterise(V, FACE_F, view)
        seen = hits.face_HW >= 0
        corners, weight = FACE_F[hits.face_HW[seen]], hits.barycentric_HW3[seen]
        normal = (normals[corners] * weight[..., None]).sum(1)
        picture = np.full((*seen.shape, 3), 255.0)
        picture[seen] = (60 + 150 * np.clip(normal @ (view.R.T @ np.array([0.4, -0.5, -0.8])), 0, 1))[:, None]
        picture[seen & (hits.face_HW >= len(BODY_F))] *= 0.8
        image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        for label, place in zip(points.names, points.on(V)):
            if wanted(label):
                (u, v), _ = (part[0] for part in view.project(place[None]))
                pen.ellipse((u - 4, v - 4, u + 4, v + 4), fill=(220, 30, 30))
                pen.text((u + 5, v - 5), _short(label), fill=(0, 0, 200))
        image.save(folder / f"{name}.png")


BODY_NAMES = ("neck", "left_olecranon", "left_cubital_fossa", "left_acromion", "right_olecranon")


def _short(name: str) -> str:
    for long, short in (("midpoint_", "m"), ("centerpoint_of", "c"), ("_of_", " "), ("face-", ""), ("eyebrow", "brow")):
        name = name.replace(long, short)
    return name.removesuffix("_line")


if __name__ == "__main__":
    sheets(Path(sys.argv[1]))
