"""Pinhole cameras: projection, placement, framings of a body, and seeded draws that never depend on global state.

Frame: OpenCV. x right, y down, z forward; ``X_cam = R X_world + t``; pixel centres lie at integer coordinates, so an
image spans [-0.5, width - 0.5]. Bodies stand along +y of the world (y up), in metres.

Axes: V points.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sapiens_bench.errors import ShapeError, UsageError

Framing = Literal["full", "upper", "face"]
FRAMINGS: tuple[Framing, ...] = ("full", "upper", "face")

MARGIN = 0.10  # of the framed extent, split over both sides
FACE_SHARE = 0.13  # of the height, counted from the highest point
ORTHOGRAPHIC_DISTANCE_M = 10.0  # of the camera from the middle of what it sees
FILM_WIDTH_MM, FILM_HEIGHT_MM = 36.0, 24.0  # "35 mm equivalent": the long image side sees 36 mm
# Angles are drawn in radians through sin and cos, whose last bit differs between C libraries. Rounding rotation and
# translation to 2^-40 makes two machines agree on every bit of the camera (but for one draw in thousands), and the
# rasteriser itself uses only + - * /, which IEEE 754 fixes. 2^-40 m is 1e-12 m.
_GRID = 2.0**40


class Projection(NamedTuple):
    """Points as a camera sees them."""

    uv_V2_px: NDArray[np.float64]  # pixel centres at integers; undefined (inf or NaN) where depth is 0
    depth_V_m: NDArray[np.float64]  # along the optical axis; <= 0 is behind the camera


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera without distortion, or one with parallel rays.

    An orthographic camera has pixels per metre where a pinhole has its focal length in pixels; depth is measured from
    its plane all the same.

    Raises:
        ShapeError: an array has another shape, holds NaN or infinity, or a focal length or size is not positive.
    """

    K: NDArray[np.float64]  # [3, 3] pixels; last row 0 0 1
    R: NDArray[np.float64]  # [3, 3] world to camera
    t: NDArray[np.float64]  # [3] metres
    width: int
    height: int
    is_orthographic: bool = False

    def __post_init__(self) -> None:
        for name, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,))):
            array = np.array(getattr(self, name), np.float64)
            if array.size != math.prod(shape) or not np.isfinite(array).all():
                raise ShapeError(f"camera {name} must be {shape} finite numbers, got shape {array.shape}")
            array = array.reshape(shape)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or self.width < 1 or self.height < 1:
            raise ShapeError(
                f"camera needs positive focal lengths and size, got fx={self.K[0, 0]:g} fy={self.K[1, 1]:g} "
                f"{self.width}x{self.height}"
            )

    @property
    def centre(self) -> NDArray[np.float64]:
        """Where the camera stands, float64 [3], world metres."""
        centre: NDArray[np.float64] = -(self.R.T @ self.t)
        return centre

    def to_camera(self, points_V3: NDArray[np.float64]) -> NDArray[np.float64]:
        """World points in the camera frame, float64 [3, V]: three contiguous rows x, y, z.

        Written as sums of products, not as a matrix product: BLAS libraries differ in the last bit, this cannot.
        """
        x, y, z = (np.ascontiguousarray(points_V3[:, k], np.float64) for k in range(3))
        out = np.empty((3, len(points_V3)))
        for k in range(3):
            row = out[k]
            np.multiply(x, self.R[k, 0], out=row)
            row += y * self.R[k, 1]
            row += z * self.R[k, 2]
            row += self.t[k]
        return out

    def project(self, points_V3: ArrayLike) -> Projection:
        """Pixel positions and z-depths of world points [V, 3] (metres)."""
        points = np.asarray(points_V3, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ShapeError(f"points to project must be [V, 3], got {points.shape}")
        x, y, z = self.to_camera(points)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            u, v = self.to_pixels(x, y, z)
        return Projection(np.stack([u, v], 1), z)

    def to_pixels(
        self, x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Camera-frame coordinates (metres) to pixels."""
        u = x * self.K[0, 0]
        if self.K[0, 1]:
            u += y * self.K[0, 1]
        v = y * self.K[1, 1]
        if not self.is_orthographic:
            u /= z
            v /= z
        u += self.K[0, 2]
        v += self.K[1, 2]
        return u, v

    def rays(
        self, u_px: NDArray[np.float64], v_px: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y of the camera-frame viewing direction with z = 1 through pixel positions."""
        if self.is_orthographic:
            return np.zeros_like(u_px), np.zeros_like(v_px)
        return self._scaled(u_px, v_px)

    def origins(
        self, u_px: NDArray[np.float64], v_px: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y in the camera frame at which the rays through pixel positions start, all at z = 0."""
        if not self.is_orthographic:
            return np.zeros_like(u_px), np.zeros_like(v_px)
        return self._scaled(u_px, v_px)

    def _scaled(
        self, u_px: NDArray[np.float64], v_px: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        y = (v_px - self.K[1, 2]) / self.K[1, 1]
        x = u_px - self.K[0, 2]
        if self.K[0, 1]:
            x = x - self.K[0, 1] * y
        return x / self.K[0, 0], y

    def supersampled(self, factor: int) -> Camera:
        """The same view with ``factor`` x ``factor`` samples per pixel, spread evenly over it.

        Source: pixel centres at integers, so u' = f u + (f - 1) / 2.
        """
        K = self.K.copy()
        K[:2] *= factor
        K[:2, 2] += (factor - 1) / 2
        return replace(self, K=K, width=self.width * factor, height=self.height * factor)


def intrinsics(focal_px: float, width: int, height: int) -> NDArray[np.float64]:
    """K [3, 3] with square pixels and the principal point in the middle of the image."""
    return np.array([[focal_px, 0.0, (width - 1) / 2], [0.0, focal_px, (height - 1) / 2], [0.0, 0.0, 1.0]])


def focal_from_film(focal_mm: float, width: int, height: int) -> float:
    """Pixels for a "35 mm equivalent" focal length: the long side of the image sees 36 mm."""
    return focal_mm / FILM_WIDTH_MM * max(width, height)


def look_at(
    eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 1.0, 0.0)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R [3, 3] and t [3] of a camera at ``eye`` that looks at ``target``, the image's up side towards ``up``.

    Raises:
        UsageError: eye and target coincide, or the view direction is parallel to ``up``.
    """
    eye_, target_, up_ = (np.asarray(a, np.float64) for a in (eye, target, up))
    forward = target_ - eye_
    distance = math.sqrt(float((forward * forward).sum()))
    right = np.cross(forward, up_)
    length = math.sqrt(float((right * right).sum()))
    if distance == 0 or length <= 1e-12 * distance:
        raise UsageError("look_at: eye and target coincide, or the view direction is parallel to the up direction")
    forward /= distance
    right /= length
    R = np.stack([right, np.cross(forward, right), forward])
    return R, np.array([-float((row * eye_).sum()) for row in R])


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on ``parts`` alone: Philox keyed by the SHA-256 of the parts joined with ``|``.

    Adding a scan never changes another scan's draws, and no global state is read. Doubles should be passed as text.
    """
    digest = hashlib.sha256("|".join(str(p) for p in parts).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True, slots=True)
class Box3:
    """What a camera has to frame: an upright box in world coordinates, metres."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    rule: str  # how it was found, kept in the manifest

    @property
    def centre(self) -> NDArray[np.float64]:
        centre: NDArray[np.float64] = (np.array(self.lower) + np.array(self.upper)) / 2
        return centre


@dataclass(frozen=True, slots=True)
class CameraDraw:
    """Ranges of the virtual camera for scans, and the name that seeds its draws."""

    protocol: str
    width: int = 768
    height: int = 1024
    focal_mm: tuple[float, float] = (35.0, 85.0)  # 35 mm equivalent, uniform
    yaw_deg: tuple[float, float] = (0.0, 360.0)
    pitch_deg: tuple[float, float] = (-10.0, 10.0)  # positive looks down from above
    margin: float = MARGIN
    seed: int = 0


def framing_box(vertices_V3: NDArray[np.float64], framing: Framing) -> Box3:
    """The part of an upright body (y up) that a framing shows, from its bounding box alone.

    ``full``: the whole box. ``upper``: its top half. ``face``: the box around the vertices within the highest 13 % of
    the height; a raised arm or a lying pose breaks this rule, hence the rule is recorded.

    Raises:
        UsageError: unknown framing.
    """
    if framing not in FRAMINGS:
        raise UsageError(f"Unknown framing {framing!r}. Known: {', '.join(FRAMINGS)}.")
    lower, upper = vertices_V3.min(0), vertices_V3.max(0)
    height = upper[1] - lower[1]
    rule = "bounding box"
    if framing == "upper":
        lower[1] = upper[1] - height / 2
        rule = "top half of the bounding box"
    elif framing == "face":
        top = vertices_V3[vertices_V3[:, 1] >= upper[1] - FACE_SHARE * height]
        lower, upper = top.min(0), top.max(0)
        rule = "box around the highest 13 % of the height"
    return Box3(_triple(lower), _triple(upper), rule)


def place(box: Box3, focal_px: float, yaw_deg: float, pitch_deg: float, draw: CameraDraw) -> Camera:
    """A camera that looks at the middle of ``box`` from a distance at which all its corners fit.

    ``margin`` of the image is left free, half on each side. Yaw 0 looks along -z (at the front of a body that faces
    +z), yaw 90 stands at +x; positive pitch looks down.
    """
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    away = np.array([math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    R, _ = look_at(away, np.zeros(3))
    corners = np.array([[(box.lower, box.upper)[i >> k & 1][k] for k in range(3)] for i in range(8)]) - box.centre
    x, y, z = (sum(corners[:, k] * R[row, k] for k in range(3)) for row in range(3))
    half_w, half_h = draw.width / 2 * (1 - draw.margin), draw.height / 2 * (1 - draw.margin)
    # a corner at depth z + d projects to f x / (z + d): it fits when d >= f |x| / half - z
    distance = max(float((focal_px * np.abs(x) / half_w - z).max()), float((focal_px * np.abs(y) / half_h - z).max()))
    R = np.round(R * _GRID) / _GRID
    eye = box.centre + distance * away
    t = np.round(np.array([-float((row * eye).sum()) for row in R]) * _GRID) / _GRID
    return Camera(intrinsics(focal_px, draw.width, draw.height), R, t, draw.width, draw.height)


def place_orthographic(box: Box3, span_m: float, yaw_deg: float, pitch_deg: float, draw: CameraDraw) -> Camera:
    """A camera with parallel rays that looks at the middle of ``box``; the image is ``span_m`` metres high.

    Angles as in ``place``. It stands ``ORTHOGRAPHIC_DISTANCE_M`` away, which changes depth by a constant and nothing
    else.
    """
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    away = np.array([math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    R, _ = look_at(away, np.zeros(3))
    R = np.round(R * _GRID) / _GRID
    eye = box.centre + ORTHOGRAPHIC_DISTANCE_M * away
    t = np.round(np.array([-float((row * eye).sum()) for row in R]) * _GRID) / _GRID
    return Camera(intrinsics(draw.height / span_m, draw.width, draw.height), R, t, draw.width, draw.height, True)


def draw_camera(
    draw: CameraDraw,
    scan: str,
    framing: Framing,
    view: int,
    box: Box3,
    *,
    yaw_deg: float | None = None,
    span_m: float | None = None,
) -> Camera:
    """The seeded virtual camera of one scan, framing and view.

    The generator is keyed by ``protocol | seed | scan | framing | view``; draws in this order: focal, yaw, pitch.

    Args:
        yaw_deg: takes the place of the drawn yaw.
        span_m: makes the camera orthographic, with an image of this height.
    """
    generator = seeded(draw.protocol, draw.seed, scan, framing, view)
    focal_mm, drawn_yaw_deg, pitch_deg = (
        low + (high - low) * float(generator.random()) for low, high in (draw.focal_mm, draw.yaw_deg, draw.pitch_deg)
    )
    yaw = drawn_yaw_deg if yaw_deg is None else yaw_deg
    if span_m is not None:
        return place_orthographic(box, span_m, yaw, pitch_deg, draw)
    return place(box, focal_from_film(focal_mm, draw.width, draw.height), yaw, pitch_deg, draw)


def _triple(a: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(a[0]), float(a[1]), float(a[2])
