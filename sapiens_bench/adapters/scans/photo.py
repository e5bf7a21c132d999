"""A real picture with a calibrated camera: reading, undistorting, and the person mask that came with it.

Axes: H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    masks: tuple[str, ...]  # paths of person masks that together show everybody; empty when there is none
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
                **{name: tuple(record[name]) for name in ("masks", "t", "distortion")},
            }
        )


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A picture as a pinhole camera would have taken it."""

    rgb_HW3: NDArray[np.uint8]
    valid_HW: NDArray[np.bool_]  # False where undistorting asks for pixels beyond the picture
    is_undistorted: bool  # the picture was changed
    image_sha256: str  # of the file
    iou: float | None = None  # of silhouette and person mask
    other_iou: float | None = None  # had the picture been taken the other way; None where there is one way only


def fit_photo(photo: RealPhoto, silhouette_HW: NDArray[np.bool_]) -> SeenPhoto:
    """The picture that belongs to a silhouette.

    Where the calibration has lens distortion, the released picture may be undistorted already. Both are tried, and the
    one whose person mask agrees better with the silhouette of the scan is taken (as it is when they agree alike);
    without a mask the calibration is believed.

    Args:
        silhouette_HW: pixels the scan covers, seen by the pinhole camera.

    Raises:
        SampleFault: image.*; image.size when picture, mask and camera disagree.
    """
    import cv2  # `list` does without

    size = (photo.width, photo.height)
    rgb = read_rgb(photo.image, expected_size=size)
    sha256 = hashlib.sha256(Path(photo.image).read_bytes()).hexdigest()
    mask = _person_mask(photo, rgb.shape[:2])
    everywhere = np.ones(rgb.shape[:2], np.bool_)
    as_it_is = None if mask is None else _iou(silhouette_HW, mask)
    if not any(photo.distortion):
        return SeenPhoto(rgb, everywhere, False, sha256, as_it_is)
    K, distortion = np.array(photo.K, np.float64), np.array(photo.distortion, np.float64)
    x, y = cv2.initUndistortRectifyMap(K, distortion, None, K, size, cv2.CV_32FC1)  # type: ignore[call-overload,unused-ignore]
    valid = (x >= -0.5) & (x <= photo.width - 0.5) & (y >= -0.5) & (y <= photo.height - 0.5)
    straightened = None
    if mask is not None and as_it_is is not None:
        moved = cv2.remap(mask.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
        straightened = _iou(silhouette_HW & valid, moved & valid)
        if as_it_is >= straightened:
            return SeenPhoto(rgb, everywhere, False, sha256, as_it_is, straightened)
    rgb = np.asarray(cv2.remap(rgb, x, y, cv2.INTER_LINEAR), np.uint8)
    return SeenPhoto(rgb, valid, True, sha256, straightened, as_it_is)


def _person_mask(photo: RealPhoto, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Everybody's pixels: the union of the masks."""
    found: NDArray[np.bool_] | None = None
    for path in photo.masks:
        mask = read_mask(path)
        if mask.shape != shape:
            raise SampleFault("image.size", f"{path} is {mask.shape[::-1]}, its picture {shape[::-1]} (W, H)")
        found = mask if found is None else found | mask
    return found


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0
