"""MoveNet SinglePose, Lightning (192) and Thunder (256): COCO's 17 keypoints from one square crop.

The convolutions come from the converted file (graph.py). The decoding below follows the four maps' meaning: the
person is the cell with the highest centre score, weighted towards the middle of the crop; the regression there gives a
first guess of every keypoint; each keypoint's heatmap is divided by the distance to that guess, its maximum wins, and
the offset map refines the cell to a fraction. Source: MoveNet's published TensorFlow.js graph, whose fp16 constants
(1/48 and 1.8 are not exact there) are kept with the weights.

One pass on the box x 1.25. MoveNet's own applications feed the next video frame with a crop built from the last
keypoints; a single image with a person box needs no such step.

Axes: B crops, K keypoints, h and w cells of the map (a quarter of the crop's side).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.graph import Graph, load_graph
from sapiens_bench.models.parts.person_crop import SquareCrops, cut_squares
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

N_KEYPOINTS = 17


class MoveNetPose(nn.Module):
    """Crops in, keypoints out: the network and its decoding, on any device and batch size."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        size = graph.input_size // 4
        constants = graph.constants
        self.register_buffer("center_weight", constants["decode.center_weight"].reshape(1, -1), persistent=False)
        self.register_buffer("cell_yx", constants["decode.cell_yx"], persistent=False)
        self.register_buffer("cells", torch.arange(size, dtype=torch.float32), persistent=False)
        self.distance_offset = float(constants["decode.distance_offset"])

    center_weight: Tensor  # [1, h * w]
    cell_yx: Tensor  # [2], size of a cell as a share of the crop
    cells: Tensor  # [max(h, w)], 0, 1, 2 ...

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] in 0..255 -> [B, 17, 3]: y and x as shares of the crop, score in 0..1. float32."""
        maps = {name: value.float() for name, value in self.graph(x).items()}
        heat = maps["heatmap"].sigmoid_()  # [B, K, h, w]
        n, k, h, w = heat.shape
        person = (maps["center"].flatten(1).sigmoid_() * self.center_weight).argmax(1)  # [B]
        regression = maps["regression"].flatten(2)  # [B, 2K, h * w]
        guess = regression.gather(2, person.view(n, 1, 1).expand(-1, 2 * k, 1)).view(n, k, 2)
        guess_y = guess[..., 0] + (person // w).view(n, 1)
        guess_x = guess[..., 1] + (person % w).view(n, 1)
        dy2 = (self.cells[:h] - guess_y[..., None]).square_()  # [B, K, h]
        dx2 = (self.cells[:w] - guess_x[..., None]).square_()
        distance = (dy2[..., None] + dx2[:, :, None, :]).sqrt_().add_(self.distance_offset)
        cell = (heat / distance).flatten(2).argmax(2, keepdim=True)  # [B, K, 1]
        score = heat.flatten(2).gather(2, cell)
        offset = maps["offset"].view(n, k, 2, h * w).gather(3, cell[:, :, None].expand(-1, -1, 2, -1))[..., 0]
        y = (cell[..., 0] // w + offset[..., 0]) * self.cell_yx[0]
        x_share = (cell[..., 0] % w + offset[..., 1]) * self.cell_yx[1]
        return torch.cat([torch.stack([y, x_share], 2), score], 2)


class MoveNet:
    """The wrapper."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        chosen: PersonCropOptions = context.options
        self.padding = chosen.padding
        graph = load_graph(weights_path(context), precision=context.precision)
        self.network = MoveNetPose(graph).to(context.device).eval()
        self.size = graph.input_size

    def prepare(self, x: ModelInput) -> Prepared:
        """``crops``: uint8 [N, S, S, 3]; zeros where the square leaves the image."""
        squares = SquareCrops.around(x, self.padding, self.size)
        return Prepared({"crops": cut_squares(x.image_HW3, squares)}, squares)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``yx_score``: float32 [N, 17, 3], shares of the crop."""
        return {"yx_score": self.network(tensors["crops"].permute(0, 3, 1, 2))}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: SquareCrops) -> PosePrediction:
        yx_score = outputs["yx_score"] if outputs else np.zeros((0, N_KEYPOINTS, 3), np.float32)
        crop_px = yx_score[..., 1::-1].astype(np.float64) * self.size
        return PosePrediction(
            keypoints_NK2_px=geometry.to_image(crop_px).astype(np.float32),
            keypoint_scores_NK=yx_score[..., 2].astype(np.float32),
            instance_scores_N=geometry.box_scores,
            boxes_xyxy_px_N4=geometry.boxes_xyxy_px,
        )
