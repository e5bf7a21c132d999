"""Pose networks that need no boxes: one call for the whole picture answers with any number of people.

The file gives ``dets`` [1, N, 5] (x1, y1, x2, y2, score) and ``keypoints`` [1, N, K, 3] (x, y, score), in pixels of the
network's input; N is what it finds in that picture, or a fixed number with low scores for nobody. RTMO's exported files
are of this form (open-mmlab/mmpose, projects/rtmo; their suppression of double people is inside the file). The picture
keeps its aspect in the top left corner of the input and the rest is grey; a position divided by the enlargement is one
of the picture, as the authors compute it.

No box asks for a person: every detection above the threshold counts, as a result made elsewhere does, its score stands
as it is, and who is not found is a miss, whatever boxes the protocol has for other models.

Axes: B pictures, N people, K keypoints.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.box_free_options import OneStageOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.onnx import open_network
from sapiens_bench.models.parts.dense_frame import normalised
from sapiens_bench.models.parts.onnx_session import shown
from sapiens_bench.tasks.pose.types import PosePrediction, ResultScores
from sapiens_bench.types import ModelInput, Prepared


class OneStage:
    """The wrapper of ONNX files.

    Raises:
        WeightsMissing: no file.
        CardError: the card has no keypoint set or no input size.
        CheckpointRejected: no ONNX file, or one whose input or answer is not what the card says.
        DeviceError: another precision than the file's own.
    """

    def __init__(self, context: ModelContext) -> None:
        chosen: OneStageOptions = context.options
        if context.space is None:
            raise CardError(f"{context.variant.id}: a pose card needs 'space', the keypoint set of its output.")
        self.name, self.n_keypoints = context.variant.id, len(context.space.names)
        self.threshold, self.grey = chosen.score_threshold, chosen.grey
        self.file, self.spec = open_network(context, chosen.layout)
        self.names = self._chosen_outputs(chosen.output_names)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the file runs."""
        return ("It needs no boxes: every detection counts, and people it does not find are misses.", *self.file.notes)

    def _chosen_outputs(self, names: tuple[str, ...]) -> tuple[str, str]:
        shapes = self.file.outputs
        if unknown := [name for name in names if name not in shapes]:
            raise CardError(f"{self.name}: option output_names has {unknown[0]!r}; the file has {', '.join(shapes)}.")
        among = {name: shapes[name] for name in names} if names else shapes
        boxes = [n for n, s in among.items() if len(s) == 3 and s[2] == 5]
        people = [n for n, s in among.items() if len(s) == 4 and s[2:] == (self.n_keypoints, 3)]
        if len(boxes) != 1 or len(people) != 1:
            raise CheckpointRejected(
                f"{self.file.path} answers with {shown(shapes)}. People without boxes need one output [1, N, 5] "
                f"(corners and score) and one [1, N, {self.n_keypoints}, 3]; say which with the option output_names."
            )
        return boxes[0], people[0]

    def prepare(self, x: ModelInput) -> Prepared:
        """``image``: float32 [1, 3, H, W], the whole picture; the geometry is its enlargement."""
        height, width = x.image_HW3.shape[:2]
        ratio = min(self.spec.height / height, self.spec.width / width)
        tall, wide = max(1, int(height * ratio)), max(1, int(width * ratio))
        framed = np.full((self.spec.height, self.spec.width, 3), self.grey, np.uint8)
        framed[:tall, :wide] = cv2.resize(x.image_HW3, (wide, tall), interpolation=cv2.INTER_LINEAR)
        image = normalised(framed, self.spec).transpose(2, 0, 1)[None]
        return Prepared({"image": np.ascontiguousarray(image)}, ratio)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``dets`` float32 [B, N, 5] and ``keypoints`` [B, N, K, 3]; NaN where a picture has fewer people than another.

        Raises:
            CheckpointRejected: the two outputs speak of different numbers of people.
        """
        found = [self._people(image[None]) for image in tensors["image"]]
        n = max(len(people.dets) for people in found)
        filled = [People(*(_filled(part, n) for part in people)) for people in found]
        return {
            "dets": torch.stack([people.dets for people in filled]),
            "keypoints": torch.stack([people.keypoints for people in filled]),
        }

    def _people(self, image: Tensor) -> People:
        dets, keypoints = self.file(image, self.names)
        if dets.shape != (1, len(keypoints[0]), 5) or keypoints.shape[2:] != (self.n_keypoints, 3):
            raise CheckpointRejected(
                f"{self.file.path} answers with {tuple(dets.shape)} and {tuple(keypoints.shape)} for one picture; "
                f"[1, N, 5] and [1, N, {self.n_keypoints}, 3] are needed."
            )
        return People(dets[0], keypoints[0])

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: float) -> PosePrediction:
        """See ``types.Model``."""
        dets, keypoints = outputs["dets"][0], outputs["keypoints"][0]
        is_somebody = dets[:, 4] >= self.threshold  # NaN is nobody
        dets, keypoints = dets[is_somebody], keypoints[is_somebody]
        return PosePrediction(
            keypoints_NK2_px=(keypoints[..., :2] / geometry).astype(np.float32),
            keypoint_scores_NK=keypoints[..., 2].astype(np.float32),
            instance_scores_N=dets[:, 4].astype(np.float32),
            boxes_xyxy_px_N4=(dets[:, :4] / geometry).astype(np.float32),
            results=ResultScores(),
        )


class People(NamedTuple):
    """What is found in one picture."""

    dets: Tensor  # [N, 5]
    keypoints: Tensor  # [N, K, 3]


def _filled(part: Tensor, n: int) -> Tensor:
    missing = n - len(part)
    return functional.pad(part, (0, 0) * (part.ndim - 1) + (0, missing), value=float("nan"))
