"""Turned squares in a picture, where they come from, and what is seen in them: the regions of MediaPipe's graphs.

Frame: pixels of a parent square of side S, measured from its left and top EDGE. Axes: B squares, P points, R samples
along the side of the picture that shows the parent, s side of the network's input.

Sources (repository google-ai-edge/mediapipe): modules/holistic_landmark for the scales and shifts
(hand_landmarks_to_roi, face_landmarks_to_roi, face_detection_front_detections_to_roi, hand_landmarks_from_pose_to_
recrop_roi), HandLandmarksToRectCalculator and HandDetectionsFromPoseToRectsCalculator for hands,
RectTransformationCalculator: a shift is a share of the rectangle before it is made square and scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # of the 21 hand points: wrist, thumb, base and second joints
EYE_CORNERS = (33, 263)  # of the 468 face points: outer corners, the person's right and left


class Region(NamedTuple):
    """A square per person."""

    center: Tensor  # [B, 2]
    side: Tensor  # [B]
    rotation: Tensor  # [B, 2, 2], region -> parent; its columns are the region's right and down

    def to_parent(self, shares: Tensor) -> Tensor:
        """[B, P, 2], shares of the region's side from its edge -> pixels of the parent."""
        turned = (shares - 0.5) * self.side[:, None, None] @ self.rotation.transpose(1, 2)
        return turned + self.center[:, None]


def upright(up: Tensor) -> Tensor:
    """[B, 2], where a region's top lies -> its rotation [B, 2, 2]; no turn where the direction is undefined."""
    length = up.norm(dim=1, keepdim=True)
    unit = torch.where(length > 1e-6, up / length.clamp_min(1e-6), up.new_tensor([0.0, -1.0]))
    return torch.stack([torch.stack([-unit[:, 1], unit[:, 0]], 1), -unit], 2)


def around(points: Tensor, rotation: Tensor, scale: float, shift_down: float, *, turned: bool) -> Region:
    """The square around points: the longer side of their rectangle, scaled, moved along the region's own down.

    Args:
        points: [B, P, 2].
        shift_down: share of the rectangle's height.
        turned: the rectangle is parallel to the region; else to the parent's axes, as boxes of detections are.
    """
    seen = points @ rotation if turned else points
    low, high = seen.amin(1), seen.amax(1)
    size, middle = high - low, (low + high) / 2
    center = (rotation @ middle[..., None])[..., 0] if turned else middle
    center = center + rotation[:, :, 1] * (shift_down * size[:, 1:])
    return Region(center, scale * size.amax(1), rotation)


def hand_from_pose(wrist: Tensor, pinky: Tensor, index: Tensor, scale: float) -> Region:
    """A hand, from three points [B, 2] of the body: centred on the middle knuckle, fingers up."""
    middle = (2 * index + pinky) / 3
    up = middle - wrist
    rotation = upright(up)
    side = 2 * up.norm(dim=1)
    center = middle - rotation[:, :, 1] * (0.1 * side[:, None])
    return Region(center, scale * side, rotation)


def hand_from_landmarks(points: Tensor) -> Region:
    """The same from the hand's own points [B, 21, 2]."""
    knuckles = ((points[:, 5] + points[:, 13]) / 2 + points[:, 9]) / 2
    rotation = upright(knuckles - points[:, 0])
    return around(points[:, PALM], rotation, 2.0, -0.1, turned=True)


def face_from_pose(points: Tensor) -> Region:
    """A face, from the first 11 points of the body [B, 11, 2]: the six that a face detector would give."""
    mouth = (points[:, 9:10] + points[:, 10:11]) / 2
    six = torch.cat([points[:, [5, 2, 0, 8, 7]], mouth], 1)
    return around(six, _level(points[:, 5], points[:, 2]), 2.0, -0.1, turned=False)


def face_from_landmarks(points: Tensor) -> Region:
    """The same from the face's own points [B, 468, 2]."""
    return around(points, _level(points[:, EYE_CORNERS[0]], points[:, EYE_CORNERS[1]]), 1.5, 0.0, turned=False)


def _level(right_eye: Tensor, left_eye: Tensor) -> Tensor:
    across = left_eye - right_eye  # towards the right of the picture in an upright face
    return upright(torch.stack([across[:, 1], -across[:, 0]], 1))


def look_at(picture: Tensor, region: Region, parent_size: float, size: int) -> Tensor:
    """What a region shows, bilinear, zeros outside the picture.

    Only the samples that are needed are read, so the picture may stay uint8.

    Args:
        picture: [B, R, R, 3] in 0..255, the whole parent.
        parent_size: S, the unit of the region.
        size: s.

    Returns: float32 [B, 3, s, s] in 0..1.
    """
    n, samples = len(picture), picture.shape[1]
    steps = (torch.arange(size, device=picture.device, dtype=torch.float32) + 0.5) / size
    shares = torch.stack([steps.repeat(size), steps.repeat_interleave(size)], 1)  # x, y; [s * s, 2]
    at = region.to_parent(shares.expand(n, -1, -1)) * (samples / parent_size) - 0.5
    # Far outside, a float does not fit an index; two pixels away is as black as any.
    at = at.clamp(-2, samples + 1)
    first = at.floor()
    part = at - first
    pixels = picture.reshape(n, samples * samples, 3)
    total = picture.new_zeros((n, size * size, 3), dtype=torch.float32)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = first[..., 0] + dx, first[..., 1] + dy
        inside = (x >= 0) & (x < samples) & (y >= 0) & (y < samples)
        weight = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1]) * inside
        cell = (y.clamp(0, samples - 1) * samples + x.clamp(0, samples - 1)).long()
        total += pixels.gather(1, cell[..., None].expand(-1, -1, 3)).float() * weight[..., None]
    return (total / 255).transpose(1, 2).reshape(n, 3, size, size)
