"""MediaPipe Holistic: BlazePose for the body, then a hand network on each hand and a face network on the face.

``prepare`` cuts BlazePose's two squares and a third, as wide as the first and finer. ``forward`` runs the body
(``blazepose.py``), derives a region for each hand and for the face from its landmarks, and looks twice at each: the
second region comes from the landmarks of the first look, as MediaPipe's own graph does from one video frame to the
next, and is dropped where the network is less sure that a hand or a face is there.

What differs from the published graph: it looks for the first region with two more networks (hand re-crop, face
detector), which are not among the shipped weights; here the body's landmarks give it, with the scales of
``parts/regions.py``. A hand whose wrist is not visible is given with score 0, where the graph gives nothing, because
every point of a set has a place in a prediction. Hand and face points have one score each: that of the hand or face.

Points: the 33 of the body, the 468 of the face, 21 of the left hand, 21 of the right (set ``holistic543``).

Axes: B people, L landmarks, S side of BlazePose's square, R side of the fine square in samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.models.blazepose import CONTEXT, CONTEXT_SAMPLES, BlazePosePose
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.graph import Graph, load_graph
from sapiens_bench.models.parts.person_crop import SquareCrops, cut_squares, landmark_poses
from sapiens_bench.models.parts.regions import (
    Region,
    face_from_landmarks,
    face_from_pose,
    hand_from_landmarks,
    hand_from_pose,
    look_at,
)
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

N_BODY, N_FACE, N_HAND = 33, 468, 21
N_POINTS = N_BODY + N_FACE + 2 * N_HAND
FURTHER = ("hand_landmark.safetensors", "face_landmark.safetensors")  # beside the card's first file
HANDS = ((15, 17, 19), (16, 18, 20))  # left, right: wrist, pinky, index of the body
FACE_OF_BODY = 11  # its first so many points
DETAIL_SAMPLES = 1024  # R: of a person 820 px tall, every pixel; then a hand or face still fills its network's square
HAND_SCALE = 2.7  # of the first region of a hand over twice the distance from wrist to middle knuckle, as in the graph
MAX_PRESENCE_LOSS = 0.1  # the second look is accepted if its presence is above the first's minus this
MIN_SIDE = 0.01  # ... and its square is at least this share of the first crop
MIN_WRIST_VISIBILITY = 0.1  # of MediaPipe's graph


class Part(NamedTuple):
    """A hand or a face."""

    xy: Tensor  # [B, L, 2 or 3], pixels of the first crop from its edge
    presence: Tensor  # [B], 0..1


class HolisticPose(nn.Module):
    """Squares in, landmarks out, on any device and batch size."""

    def __init__(self, body: Graph, hand: Graph, face: Graph, hand_scale: float = HAND_SCALE) -> None:
        super().__init__()
        self.body = BlazePosePose(body)
        self.hand, self.face = hand, face
        self.size, self.hand_scale = body.input_size, hand_scale

    def forward(self, first_crop: Tensor, context: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks and presence from the three squares of ``prepare``.

        Args:
            first_crop, context: as ``BlazePosePose.forward`` takes them.
            detail: [B, R, R, 3] in 0..255, the square of ``first_crop``.

        Returns:
            float32 [B, 543, 3]: x and y in pixels of the first crop (from its edge), score; and [B]: presence.
        """
        body, presence = self.body(first_crop, context)
        xy, visibility = body[..., :2], body[..., 2]
        face = self.twice(self.look_at_face, face_from_landmarks, face_from_pose(xy[:, :FACE_OF_BODY]), detail)
        parts = [body, scored(face.xy, face.presence)]
        for points in HANDS:
            wrist, pinky, knuckle = (xy[:, index] for index in points)
            region = hand_from_pose(wrist, pinky, knuckle, self.hand_scale)
            hand = self.twice(self.look_at_hand, hand_from_landmarks, region, detail)
            is_visible = visibility[:, points[0]] > MIN_WRIST_VISIBILITY
            parts.append(scored(hand.xy, hand.presence * is_visible))
        return torch.cat(parts, 1), presence

    def twice(
        self,
        look: Callable[[Tensor, Region], Part],
        next_region: Callable[[Tensor], Region],
        region: Region,
        detail: Tensor,
    ) -> Part:
        """See ``look_twice``."""
        return look_twice(look, next_region, region, detail, MIN_SIDE * self.size)

    def look_at_hand(self, detail: Tensor, region: Region) -> Part:
        """One look at a hand."""
        size = self.hand.input_size
        found = self.hand(look_at(detail, region, self.size, size), ("landmarks", "presence"))
        points = found["landmarks"].float().view(-1, N_HAND, 3)[..., :2]
        return Part(region.to_parent(points / size), found["presence"].float()[:, 0])

    def look_at_face(self, detail: Tensor, region: Region) -> Part:
        """One look at a face."""
        points, presence = face_surface(self.face, detail, region, self.size)
        return Part(points[..., :2], presence)


def look_twice(
    look: Callable[[Tensor, Region], Part],
    next_region: Callable[[Tensor], Region],
    region: Region,
    detail: Tensor,
    least_side: float,
) -> Part:
    """The first look, or the second where it is as sure. Points may have a depth beside x and y.

    Args:
        least_side: of the second region, pixels of the first crop.
    """
    first = look(detail, region)
    closer = next_region(first.xy[..., :2])
    second = look(detail, closer)
    good = (second.presence > first.presence - MAX_PRESENCE_LOSS) & (closer.side > least_side)
    xy = torch.where(good[:, None, None], second.xy, first.xy)
    return Part(xy, torch.where(good, second.presence, first.presence))


def face_surface(face: Graph, detail: Tensor, region: Region, parent_size: float) -> Part:
    """One look at a face: points [B, 468, 3] with z in pixels of the first crop too, smaller nearer.

    The network gives z in the unit of its x and y, from the middle of the head.
    """
    size = face.input_size
    found = face(look_at(detail, region, parent_size, size))
    points = found["landmarks"].float().reshape(-1, N_FACE, 3) / size
    depth = points[..., 2:] * region.side[:, None, None]
    presence = found["presence_logit"].float().flatten().sigmoid()
    return Part(torch.cat([region.to_parent(points[..., :2]), depth], 2), presence)


def scored(xy: Tensor, score: Tensor) -> Tensor:
    """[B, L, 2] and [B] -> [B, L, 3], one score for all points."""
    return torch.cat([xy, score[:, None, None].expand(-1, xy.shape[1], 1)], 2)


class Holistic:
    """The wrapper. The card names BlazePose's file first, then those of hand and face."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        chosen: PersonCropOptions = context.options
        self.padding = chosen.padding
        files = (weights_path(context), *(context.also[name] for name in FURTHER))
        body, hand, face = (load_graph(path, context.device, context.precision) for path in files)
        self.network = HolisticPose(body, hand, face).eval()
        self.size = self.network.size

    def prepare(self, x: ModelInput) -> Prepared:
        """``first``: uint8 [N, S, S, 3]; ``context``: [N, 3S, 3S, 3]; ``detail``: [N, R, R, 3]; zeros where they leave
        the image."""
        first = SquareCrops.around(x, self.padding, self.size)
        squares = {
            "first": first,
            "context": SquareCrops.around(x, self.padding * CONTEXT, self.size * CONTEXT_SAMPLES),
            "detail": SquareCrops.around(x, self.padding, DETAIL_SAMPLES),
        }
        return Prepared({name: cut_squares(x.image_HW3, square) for name, square in squares.items()}, first)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``landmarks``: float32 [N, 543, 3], x and y in pixels of the first crop, score; ``presence``: [N]."""
        first, context = (tensors[name].permute(0, 3, 1, 2) for name in ("first", "context"))
        landmarks, presence = self.network(first, context, tensors["detail"])
        return {"landmarks": landmarks, "presence": presence}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: SquareCrops) -> PosePrediction:
        return landmark_poses(outputs, geometry, N_POINTS)
