"""BlazePose (MediaPipe pose_landmark, GHUM 33 landmarks): two passes around one box.

``prepare`` cuts two squares from the image: the first crop (box x 1.25) and its surroundings, twice as wide and 1.5
times as finely sampled. ``forward`` runs

1. the network on the upright first crop, whose auxiliary landmarks 33 and 34 give the person's centre between the hips,
   size and rotation;
2. the network on the square these describe (side 2 x 1.25 x their distance, person upright), resampled from the
   surroundings on the device. It is accepted unless its presence is clearly lower, so that a bad first guess does no
   harm.

Both passes are inside ``forward``: the profiler counts what is really spent. Landmarks are then moved to the centre of
mass of their heatmap around them, as MediaPipe's graph does; segmentation mask and world landmarks are not computed.
Source: MediaPipe's modules/pose_landmark graphs (region of interest, heatmap refinement) and the converted networks.
MediaPipe starts from its own person detector, not from a box: the first pass is ours.

Resampling twice moves landmarks by 0.2 % of the box's longer side (median; Lite 0.28 %) against cutting the second
square from the original image, and does not change mean OKS beyond the noise of the sample (12 people of COCO: Full
0.768 against 0.755, Lite 0.640 / 0.649, Heavy 0.796 / 0.799). Parts of the second square outside the surroundings are
black, like parts outside the image.

Axes: B crops, L landmarks, S side of the network's square, R side of the surroundings in samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.graph import Graph, load_graph
from sapiens_bench.models.parts.person_crop import SquareCrops, cut_squares, landmark_poses
from sapiens_bench.models.parts.regions import Region
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

N_LANDMARKS = 33
N_ALL = 39  # 33 body landmarks, centre, scale, 4 of the segmentation's region
CENTER, SCALE = 33, 34
CONTEXT = 2  # side of the surroundings over the side of the first crop, in the image
CONTEXT_SAMPLES = 3  # ... and in samples
REGION_SCALE = 1.25  # side of the second crop over twice the distance of the auxiliary landmarks
MAX_PRESENCE_LOSS = 0.1  # the second pass is accepted if its presence is above the first's minus this
MIN_REGION = 0.1  # ... and its square is at least this share of the first one
HEATMAP_KERNEL = 7
HEATMAP_MIN_CONFIDENCE = 0.5


class Pass(NamedTuple):
    """What the network says about one square."""

    xy: Tensor  # [B, 39, 2], pixels of the square from its edge
    visibility: Tensor  # [B, 39], 0..1
    presence: Tensor  # [B], 0..1, that the square shows a person


class BlazePosePose(nn.Module):
    """Squares in, landmarks out, on any device and batch size."""

    def __init__(self, graph: Graph, two_passes: bool = True, refine: bool = True) -> None:
        super().__init__()
        self.graph = graph
        self.two_passes, self.refine = two_passes, refine
        self.size = graph.input_size

    def forward(self, first_crop: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks and presence from the two squares of ``prepare``.

        Args:
            first_crop: [B, 3, S, S] in 0..255.
            context: [B, 3, R, R] in 0..255, same centre, twice as wide.

        Returns:
            float32 [B, 33, 3]: x and y in pixels of the first crop (from its edge), visibility; and [B]: presence.
        """
        first = self.look(self.pixels(first_crop))
        if not self.two_passes:
            return torch.cat([first.xy, first.visibility[..., None]], 2)[:, :N_LANDMARKS], first.presence
        region = self.region(first.xy)
        second = self.look(self.resample(self.pixels(context), region))
        xy = (second.xy / self.size - 0.5) * region.side[:, None, None] @ region.rotation.transpose(1, 2)
        xy = xy + region.center[:, None]
        good = (second.presence > first.presence - MAX_PRESENCE_LOSS) & (region.side > MIN_REGION * self.size)
        xy = torch.where(good[:, None, None], xy, first.xy)
        visibility = torch.where(good[:, None], second.visibility, first.visibility)
        presence = torch.where(good, second.presence, first.presence)
        return torch.cat([xy, visibility[..., None]], 2)[:, :N_LANDMARKS], presence

    @staticmethod
    def pixels(square: Tensor) -> Tensor:
        """0..255 -> float32 0..1, channels last."""
        return square.to(torch.float32, memory_format=torch.channels_last) / 255

    def look(self, square: Tensor) -> Pass:
        """One pass: [B, 3, S, S] in 0..1."""
        names = ("landmarks", "presence", "heatmap_logits") if self.refine else ("landmarks", "presence")
        found = {name: value.float() for name, value in self.graph(square, names).items()}
        landmarks = found["landmarks"].view(-1, N_ALL, 5)
        xy = landmarks[..., :2]
        if self.refine:
            xy = refined(xy / self.size, found["heatmap_logits"]) * self.size
        return Pass(xy, landmarks[..., 3].sigmoid(), found["presence"][:, 0])

    def region(self, xy: Tensor) -> Region:
        """The person's square from the first crop's landmarks: hips' centre in the middle, head up."""
        center = xy[:, CENTER]
        up = xy[:, SCALE] - center
        distance = up.norm(dim=1)
        direction = up / distance.clamp_min(1e-6)[:, None]  # of the second square's upward axis
        rotation = torch.stack([torch.stack([-direction[:, 1], direction[:, 0]], 1), -direction], 2)
        return Region(center, 2 * REGION_SCALE * distance, rotation)

    def resample(self, context: Tensor, region: Region) -> Tensor:
        """The region as [B, 3, S, S], bilinear, zeros outside the surroundings."""
        linear = region.rotation * (region.side / (CONTEXT * self.size))[:, None, None]
        shift = (region.center / self.size - 0.5) * (2 / CONTEXT)  # -1..1 over the surroundings
        grid = F.affine_grid(
            torch.cat([linear, shift[:, :, None]], 2), [len(context), 3, self.size, self.size], align_corners=False
        )
        return F.grid_sample(context, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def refined(xy: Tensor, heatmap_logits: Tensor) -> Tensor:
    """Landmarks moved to the centre of mass of their heatmap inside a 7 x 7 window, where it is confident.

    Args:
        xy: [B, L, 2], shares of the square.
        heatmap_logits: [B, L, h, w].

    Source: MediaPipe, RefineLandmarksFromHeatmapCalculator: the window's centre is the landmark's cell, rounded down;
    cells count with their index, not their centre; below a maximum of 0.5 the landmark stays.
    """
    n, k, h, w = heatmap_logits.shape
    reach = HEATMAP_KERNEL // 2
    column, row = (xy[..., 0] * w).floor(), (xy[..., 1] * h).floor()
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    heat = F.pad(heatmap_logits.sigmoid(), (reach, reach, reach, reach))  # zeros weigh nothing
    steps = torch.arange(HEATMAP_KERNEL, device=xy.device)
    rows = row.clamp(0, h - 1).long()[..., None] + steps  # [B, L, 7], in the padded map
    columns = column.clamp(0, w - 1).long()[..., None] + steps
    cells = (rows[..., :, None] * (w + 2 * reach) + columns[..., None, :]).flatten(2)
    window = heat.flatten(2).gather(2, cells).view(n, k, HEATMAP_KERNEL, HEATMAP_KERNEL)
    total = window.sum((2, 3)).clamp_min(1e-12)
    x = (window.sum(2) * (columns - reach)).sum(2) / (total * w)
    y = (window.sum(3) * (rows - reach)).sum(2) / (total * h)
    confident = inside & (window.amax((2, 3)) >= HEATMAP_MIN_CONFIDENCE)
    return torch.where(confident[..., None], torch.stack([x, y], 2), xy)


class BlazePose:
    """The wrapper."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        chosen: PersonCropOptions = context.options
        self.padding = chosen.padding
        graph = load_graph(weights_path(context), context.device, context.precision)
        self.network = BlazePosePose(graph).eval()
        self.size = graph.input_size

    def prepare(self, x: ModelInput) -> Prepared:
        """``first``: uint8 [N, S, S, 3]; ``context``: [N, 3S, 3S, 3]; zeros where they leave the image."""
        first = SquareCrops.around(x, self.padding, self.size)
        context = SquareCrops.around(x, self.padding * CONTEXT, self.size * CONTEXT_SAMPLES)
        tensors = {"first": cut_squares(x.image_HW3, first), "context": cut_squares(x.image_HW3, context)}
        return Prepared(tensors, first)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``landmarks``: float32 [N, 33, 3], x and y in pixels of the first crop, visibility; ``presence``: [N]."""
        first, context = (tensors[name].permute(0, 3, 1, 2) for name in ("first", "context"))
        landmarks, presence = self.network(first, context)
        return {"landmarks": landmarks, "presence": presence}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: SquareCrops) -> PosePrediction:
        return landmark_poses(outputs, geometry, N_LANDMARKS)
