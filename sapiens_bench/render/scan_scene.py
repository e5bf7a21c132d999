"""Light, background and colour of rendered scans.

Only + - * / and square roots touch pixels, so two machines give the same bytes: with a gamma of 2, scaling light by s
scales a stored colour by sqrt(s), and no power function of the C library is needed.

Axes: H height, W width, N pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.render.attributes import average_down, shaded_normals
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.mesh import MeshData
from sapiens_bench.render.paint import Paint, seen_colours
from sapiens_bench.render.rasterise import rasterise

SCENE_VERSION = 2  # raised whenever colours of an unchanged input can change
UNTEXTURED = 128.0  # grey of faces without texture coordinates
_GRID = 2.0**40  # see render/camera.py


@dataclass(frozen=True, slots=True)
class Light:
    """Constant ambient light and one directional light; a surface with normal n gets ambient + direct * max(0, n.d)."""

    ambient: float  # of the stored colour's light
    direct: float
    direction_3: tuple[float, float, float]  # towards the light, viewer frame: x right, y up, z towards the viewer


@dataclass(frozen=True, slots=True)
class LightDraw:
    """Ranges of the light, uniform. The direct light is what is missing to ``total``."""

    ambient: tuple[float, float] = (0.45, 0.65)
    total: float = 1.05
    azimuth_deg: tuple[float, float] = (-60.0, 60.0)  # from the viewer towards the right
    elevation_deg: tuple[float, float] = (10.0, 60.0)


def draw_light(draw: LightDraw, generator: np.random.Generator) -> Light:
    """A light; draws in this order: ambient, azimuth, elevation."""
    ambient, azimuth, elevation = (
        low + (high - low) * float(generator.random())
        for low, high in (draw.ambient, draw.azimuth_deg, draw.elevation_deg)
    )
    a, e = math.radians(azimuth), math.radians(elevation)
    direction = (math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e))
    x, y, z = (round(c * _GRID) / _GRID for c in direction)
    return Light(ambient, draw.total - ambient, (x, y, z))


@dataclass(frozen=True, slots=True)
class Background:
    """What stands behind the scan."""

    rgb_HW3: NDArray[np.float32]  # stored values 0..255
    name: str  # "grey 127", or the file name of a picture
    sha256: str = ""  # of the picture


def grey_background(level: int, width: int, height: int) -> Background:
    """One grey everywhere."""
    return Background(np.full((height, width, 3), level, np.float32), f"grey {level}")


def picture_background(rgb_HW3: NDArray[np.uint8], name: str, sha256: str, width: int, height: int) -> Background:
    """A picture scaled to cover the image and cropped around its middle."""
    image = Image.fromarray(rgb_HW3)
    scale = max(width / image.width, height / image.height)
    size = max(width, math.ceil(image.width * scale)), max(height, math.ceil(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
    return Background(pixels, name, sha256)


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered photograph."""

    rgb_HW3: NDArray[np.uint8]
    untextured_share: float  # of covered samples: faces without texture coordinates, shown grey


def photograph(
    mesh: MeshData,
    normals_V3: NDArray[np.float64],
    paint: Paint,
    camera: Camera,
    light: Light,
    background: Background,
    supersampling: int = 2,
) -> Picture:
    """The coloured and lit scan in front of its background, uint8 RGB [H, W, 3].

    Stored values (sRGB) are lit as they are, and averaged so over the samples of a pixel.

    Args:
        normals_V3: unit vertex normals, world axes.
    """
    fine = camera.supersampled(supersampling)
    hits = rasterise(mesh.vertices_V3, mesh.faces_F3, fine)
    colour = seen_colours(mesh, paint, hits)
    bare = hits.mask_HW & np.isnan(colour[..., 0])
    colour[bare] = UNTEXTURED
    normal = shaded_normals(hits, mesh.vertices_V3, mesh.faces_F3, normals_V3, fine).normal_HW3
    colour *= np.sqrt(_received(normal, light))[..., None]
    large = np.repeat(np.repeat(background.rgb_HW3, supersampling, 0), supersampling, 1)
    colour = np.where(hits.mask_HW[..., None], np.minimum(colour, np.float32(255)), large)
    rgb = np.rint(average_down(colour, supersampling)).astype(np.uint8)
    covered = int(np.count_nonzero(hits.mask_HW))
    return Picture(rgb, float(np.count_nonzero(bare)) / covered if covered else math.nan)


def _received(normal_HW3: NDArray[np.float32], light: Light) -> NDArray[np.float32]:
    """Light that falls on each pixel; NaN where there is no surface."""
    x, y, z = (np.float32(c) for c in light.direction_3)
    along: NDArray[Any] = normal_HW3[..., 0] * x + normal_HW3[..., 1] * y + normal_HW3[..., 2] * z
    return np.asarray(
        np.float32(light.ambient) + np.float32(light.direct) * np.maximum(along, np.float32(0)), np.float32
    )
