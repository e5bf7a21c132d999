"""Normals of a face from the shipped face network, on those of the inflated silhouette: a row that has seen no normals.

A picture comes without a box. BlazePose looks at all of it, its points give a region of the face, and the face network
looks twice, as in ``holistic.py``. Where it is sure of a face, the surface of its 468 points replaces the floor; where
it is not, the row is the floor. One face a picture.

Axes: B pictures, H, W picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.models.blazepose import CONTEXT, CONTEXT_SAMPLES, BlazePosePose
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.holistic import (
    DETAIL_SAMPLES,
    FACE_OF_BODY,
    MIN_SIDE,
    Part,
    face_surface,
    look_twice,
)
from sapiens_bench.models.parts.face_surface import surface_normals
from sapiens_bench.models.parts.graph import Graph, load_graph
from sapiens_bench.models.parts.person_crop import SquareCrops, cut_squares
from sapiens_bench.models.parts.regions import Region, face_from_landmarks, face_from_pose
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.selfie import SelfieSegmentation
from sapiens_bench.tasks.normal.floors import inflated
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.types import ModelInput, Prepared

BODY, MASK = "blazepose_full.safetensors", "selfie_segmentation.safetensors"  # beside the card's first file
PADDING = 1.25  # of the first square over the picture's longer side


class Geometry(NamedTuple):
    """How to get back to the picture."""

    first: SquareCrops
    size_hw: tuple[int, int]


class FacePoints(nn.Module):
    """Squares in, the points of a face out."""

    def __init__(self, body: Graph, face: Graph) -> None:
        super().__init__()
        self.body, self.face, self.size = BlazePosePose(body), face, body.input_size

    def forward(self, first_crop: Tensor, context: Tensor, detail: Tensor) -> Part:
        """Points [B, 468, 3] and presence; the squares are those of ``HolisticPose.forward``."""

        def look(picture: Tensor, region: Region) -> Part:
            return face_surface(self.face, picture, region, self.size)

        body, _ = self.body(first_crop, context)
        region = face_from_pose(body[:, :FACE_OF_BODY, :2])
        return look_twice(look, face_from_landmarks, region, detail, MIN_SIDE * self.size)


class FaceMesh:
    """The wrapper. The card names the face network's file first, then those of the body and of the silhouette."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        self.least_presence: float = context.options.presence
        self.silhouette = SelfieSegmentation(replace(context, weights=context.also[MASK]))
        body, face = (
            load_graph(path, context.device, context.precision) for path in (context.also[BODY], weights_path(context))
        )
        self.network = FacePoints(body, face).eval()

    def prepare(self, x: ModelInput) -> Prepared:
        """``crops`` of the silhouette; ``first``, ``context`` and ``detail`` of the whole picture as in Holistic."""
        height, width = x.image_HW3.shape[:2]
        whole = np.array([[-0.5, -0.5, width - 0.5, height - 0.5]], np.float32)
        framed = replace(x, boxes_xyxy_px=whole, box_scores=np.ones(1, np.float32))
        first = SquareCrops.around(framed, PADDING, self.network.size)
        squares = {
            "first": first,
            "context": SquareCrops.around(framed, PADDING * CONTEXT, self.network.size * CONTEXT_SAMPLES),
            "detail": SquareCrops.around(framed, PADDING, DETAIL_SAMPLES),
        }
        tensors = {name: cut_squares(x.image_HW3, square) for name, square in squares.items()}
        return Prepared(tensors | self.silhouette.prepare(x).tensors, Geometry(first, (height, width)))

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``mask`` [B, S, S]; ``points`` [B, 468, 3] in pixels of the first crop; ``presence`` [B]."""
        first, context = (tensors[name].permute(0, 3, 1, 2) for name in ("first", "context"))
        face = self.network(first, context, tensors["detail"])
        found = self.silhouette.forward({"crops": tensors["crops"]})
        return {**found, "points": face.xy, "presence": face.presence.to(torch.float32)}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Geometry) -> NormalPrediction:
        """The floor's normals, and the face's where there is one."""
        mask = self.silhouette.probability(outputs, geometry.size_hw) >= self.silhouette.threshold
        floor = inflated(mask)
        if outputs["presence"][0] < self.least_presence:
            return floor
        points = outputs["points"].astype(np.float64)
        scale = geometry.first.side_N_px[0] / geometry.first.size
        placed = np.concatenate([geometry.first.to_image(points[..., :2]), points[..., 2:] * scale], 2)[0]
        normals, seen = surface_normals(placed, geometry.size_hw)
        mixed = floor.normals_HW3
        mixed[seen] = normals[seen]
        return NormalPrediction(mixed)
