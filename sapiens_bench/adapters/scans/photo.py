"""A real picture with a calibrated camera: reading, undistorting, and the person mask that came with it.

Axes: H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, ShapeError
from sapiens_bench.pixels.codecs import read_mask, read_rgb
from sapiens_bench.render.camera import Camera

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class RealPhoto:
    """Where the picture lies, and its camera (OpenCV axes and distortion coefficients)."""

    image: str  # path
    mask: str  # path of the person mask, "" when there is none
    K: Matrix  # [3][3] pixels
    R: Matrix  # [3][3] world to camera
    t: tuple[float, ...]  # [3] metres
    width: int
    height: int
    distortion: tuple[float, ...] = ()  # k1 k2 p1 p2 k3; all 0 or empty: none

    def camera(self) -> Camera:
        """The pinhole camera of the undistorted picture.

        Raises:
            SampleFault: scan.camera.
        """
        try:
            return Camera(np.array(self.K), np.array(self.R), np.array(self.t), self.width, self.height)
        except (ShapeError, ValueError) as error:
            raise SampleFault("scan.camera", f"{self.image}: {error}") from None

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> RealPhoto:
        """Lists back to tuples."""
        return cls(
            **{
                **record,
                **{name: tuple(tuple(row) for row in record[name]) for name in ("K", "R")},
                **{name: tuple(record[name]) for name in ("t", "distortion")},
            }
        )


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A picture as a pinhole camera would have taken it."""

    rgb_HW3: NDArray[np.uint8]
    person_mask_HW: NDArray[np.bool_] | None
    valid_HW: NDArray[np.bool_]  # False where undistorting asks for pixels beyond the picture
    is_undistorted: bool  # the picture was changed
    image_sha256: str  # of the file


def read_photo(photo: RealPhoto) -> SeenPhoto:
    """Read picture and mask; undo lens distortion where the calibration has any.

    Raises:
        SampleFault: image.*; image.size when picture, mask and camera disagree.
    """
    size = (photo.width, photo.height)
    rgb = read_rgb(photo.image, expected_size=size)
    sha256 = hashlib.sha256(Path(photo.image).read_bytes()).hexdigest()
    mask = read_mask(photo.mask) if photo.mask else None
    if mask is not None and mask.shape != rgb.shape[:2]:
        raise SampleFault("image.size", f"{photo.mask} is {mask.shape[::-1]}, its picture {rgb.shape[1::-1]} (W, H)")
    valid = np.ones(rgb.shape[:2], np.bool_)
    if not any(photo.distortion):
        return SeenPhoto(rgb, mask, valid, False, sha256)
    K, distortion = np.array(photo.K, np.float64), np.array(photo.distortion, np.float64)
    x, y = cv2.initUndistortRectifyMap(K, distortion, None, K, size, cv2.CV_32FC1)  # type: ignore[call-overload,unused-ignore]
    valid = (x >= -0.5) & (x <= photo.width - 0.5) & (y >= -0.5) & (y <= photo.height - 0.5)
    rgb = np.asarray(cv2.remap(rgb, x, y, cv2.INTER_LINEAR), np.uint8)
    if mask is not None:
        mask = cv2.remap(mask.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
    return SeenPhoto(rgb, mask, valid, True, sha256)
