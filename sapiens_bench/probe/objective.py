"""The loss of a head: one term a task, with the losses of ``losses.py``.

Axes: B views, C channels, g, f the head's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sapiens_bench.models.parts.udp_targets import udp_targets
from sapiens_bench.probe import losses
from sapiens_bench.probe.request import DepthLoss, PoseLoss
from sapiens_bench.probe.views import NORMAL_STEPS

SHARE = {"seg": 1.0, "normal": 1.0, "depth": 1.0, "pose": 1.0}  # of a task in a head of several
ALIGNED_SCALE = 20.0  # brings the aligned loss (about 0.03) to the size of the others
HEATMAP_SCALE = 1000.0  # brings the mean over a heatmap's pixels (about 0.001) there as well
HARD_SHARE = 128 / 308  # of the keypoints, as the released configurations for 308 of them keep 128
MAX_CLASS_WEIGHT = 10.0  # as in the released segmentation configuration


@dataclass(frozen=True)
class Objective:
    """Predictions and truth of a batch -> loss of each task."""

    tasks: tuple[str, ...]
    class_weight: tuple[float, ...] = ()  # seg
    depth_loss: DepthLoss = "silog"
    pose_loss: PoseLoss = "mse"

    def __call__(self, predictions: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Task -> loss, a scalar each; already multiplied by the task's share."""
        return {task: SHARE[task] * getattr(self, f"_{task}")(predictions[task], batch[task]) for task in self.tasks}

    def _seg(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = _on_device(self.class_weight, logits.device)
        pixels = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])  # the classes of a pixel lie side by side
        return losses.weighted_cross_entropy(pixels[..., None, None], labels.reshape(-1, 1, 1), weight)

    def _depth(self, raw: Tensor, depth: Tensor) -> Tensor:
        positive = F.softplus(raw[:, 0])
        if self.depth_loss == "aligned":
            return ALIGNED_SCALE * losses.aligned_depth(positive, depth)
        return losses.silog(positive, losses.relative_depth(depth))

    def _pose(self, maps: Tensor, points: Tensor) -> Tensor:
        target, weight = udp_targets(points, (maps.shape[2], maps.shape[3]))
        if self.pose_loss == "mse":
            return HEATMAP_SCALE * losses.keypoint_mse(maps, target, weight)
        hardest = max(1, round(HARD_SHARE * maps.shape[1]))
        return HEATMAP_SCALE * losses.keypoint_ohkm(maps, target, weight, hardest)

    def _normal(self, raw: Tensor, normals: Tensor) -> Tensor:
        known = (normals != 0).any(dim=1)
        target = normals.float() / NORMAL_STEPS
        return losses.normal_cosine(raw, target, known) + losses.normal_l1(raw, target, known)


@lru_cache(maxsize=8)
def _on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(weights, dtype=torch.float32, device=device)


def class_weights(labels: NDArray[Any], n_classes: int) -> tuple[float, ...]:
    """Square root of (median frequency / frequency), at most 10, then scaled so that a pixel weighs 1 on average.

    Without the scaling a frequent background makes the whole loss small beside those of other tasks. A class that
    never occurs weighs 1.

    Args:
        labels: [B, g, f]; 255 is left out.
    """
    counts = np.bincount(labels.reshape(-1), minlength=256)[:n_classes].astype(np.float64)
    seen = counts > 0
    if not seen.any():
        return (1.0,) * n_classes
    weight = np.ones(n_classes)
    weight[seen] = np.sqrt(np.median(counts[seen]) / counts[seen])
    weight[seen] = np.minimum(weight[seen], MAX_CLASS_WEIGHT)
    weight[seen] /= (weight * counts).sum() / counts.sum()
    return tuple(float(w) for w in weight)
