"""A ball in front of a camera, exact at every pixel, and a folder of such balls in the format of dense_folder.

Tests get this module from the fixture ``sphere`` of tests/conftest.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Ball:
    image_HW3: NDArray[np.uint8]
    depth_HW: NDArray[np.float32]  # metres along z, NaN beside the ball
    normals_HW3: NDArray[np.float32]  # x right, y up, z to the viewer; NaN beside the ball
    mask_HW: NDArray[np.bool_]
    labels_HW: NDArray[np.uint8]  # body28: Hair (3) on the ball
    K: NDArray[np.float64]


def perspective(
    height: int = 120, width: int = 160, focal: float = 110.0, x: float = 0.35, y: float = -0.2, radius: float = 0.55
) -> Ball:
    """A ball at (x, y, 2) metres, well off the axis so that ray length and z differ visibly."""
    K = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])
    v, u = np.mgrid[:height, :width].astype(float)
    rays = np.stack([(u - K[0, 2]) / focal, (v - K[1, 2]) / focal, np.ones_like(u)], -1)
    centre = np.array([x, y, 2.0])
    a, b = (rays**2).sum(-1), rays @ centre
    inside = b**2 - a * (centre @ centre - radius**2)
    mask = inside > 0
    z = (b - np.sqrt(np.where(mask, inside, 0))) / a  # the parameter of a ray with z = 1 is the depth
    normals = (rays * z[..., None] - centre) / radius * [1, -1, -1]
    return _ball(z, normals, mask, K)


def orthographic(size: int = 201, radius_px: float = 80.0, metres_per_px: float = 0.005, distance: float = 2.5) -> Ball:
    """A ball seen from infinity: a disc with sin(angle) = r / R, depth = distance - R cos(angle)."""
    v, u = np.mgrid[:size, :size].astype(float) - (size - 1) / 2
    r2 = (u**2 + v**2) / radius_px**2
    mask = r2 < 1
    cos = np.sqrt(np.where(mask, 1 - r2, 0))
    normals = np.stack([u / radius_px, -v / radius_px, cos], -1)
    far = 1e6  # a camera so far away that rays are parallel
    K = np.array([[far, 0, (size - 1) / 2], [0, far, (size - 1) / 2], [0, 0, 1]])
    return _ball(distance - radius_px * metres_per_px * cos, normals, mask, K)


def _ball(
    z: NDArray[np.float64], normals: NDArray[np.float64], mask: NDArray[np.bool_], K: NDArray[np.float64]
) -> Ball:
    shade = np.where(mask, 60 + 180 * np.clip(normals[..., 2], 0, 1), 20).astype(np.uint8)
    return Ball(
        np.repeat(shade[..., None], 3, axis=2),
        np.where(mask, z, np.nan).astype(np.float32),
        np.where(mask[..., None], normals, np.nan).astype(np.float32),
        mask,
        np.where(mask, 3, 0).astype(np.uint8),
        K,
    )


def write_folder(root: Path, balls: dict[str, Ball], frame: dict[str, object] | None = None) -> Path:
    """The balls as a v1 folder with everything in our own frame, or with another declaration."""
    for stem, ball in balls.items():
        put(root / f"images/{stem}.png", ball.image_HW3)
        put(root / f"masks/{stem}.png", ball.mask_HW.astype(np.uint8) * 255)
        put(root / f"labels/{stem}.png", ball.labels_HW)
        put(root / f"depths/{stem}.npy", ball.depth_HW)
        put(root / f"normals/{stem}.npy", ball.normals_HW3)
        (root / "camera_intrinsics").mkdir(exist_ok=True)
        np.savetxt(root / f"camera_intrinsics/{stem}.txt", ball.K)
    declare(root, **(frame or {}))
    return root


def declare(root: Path, **parts: object) -> None:
    """Write frame.json; what is not given is ours."""
    ours = {
        "schema": "frame/1",
        "normals": {"frame": "viewer", "order": "xyz"},
        "depth": {"unit": "m", "along": "z"},
        "labels": {"space": "body28"},
    }
    (root / "frame.json").write_text(json.dumps({**ours, **parts}))


def put(path: Path, array: NDArray[np.generic]) -> None:
    """One file, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **{{"normals": "normal", "normal": "normal"}.get(path.parent.name, path.parent.name): array})
    else:
        buffer = BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
