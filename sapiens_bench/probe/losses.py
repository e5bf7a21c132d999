"""The training losses of the released Sapiens v1 configurations.

Source: facebookresearch/sapiens, loss modules of pose (mmpose) and of seg, depth and normal (mmseg); values equal the
goldens made by them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-6


def silog(pred_BHW: Tensor, target_BHW: Tensor) -> Tensor:
    """Scale-invariant log loss: per image sqrt(mean d^2 - 0.5 (mean d)^2) with d = ln pred - ln target, then the mean.

    Pixels whose target is not above 1e-6 (background is -1) are left out; predictions are clamped to 1e-6 first.
    """
    losses = []
    for pred, target in zip(pred_BHW, target_BHW, strict=True):
        valid = target > EPS
        if not bool(valid.any()):
            losses.append(pred.sum() * 0.0)
            continue
        d = torch.log(pred[valid].clamp(min=EPS)) - torch.log(target[valid])
        losses.append(torch.sqrt((d**2).mean() - 0.5 * d.mean() ** 2))
    return torch.stack(losses).mean()


def valid_normals(target_B3HW: Tensor) -> Tensor:
    """Pixels with a ground-truth normal: background is stored as a vector that is not of unit length. [B, H, W]."""
    length: Tensor = torch.linalg.vector_norm(target_B3HW, dim=1)
    return (length - 1).abs() < 1e-2


def normal_cosine(pred_B3HW: Tensor, target_B3HW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Mean of 1 - cos over valid pixels."""
    cosine = functional.cosine_similarity(pred_B3HW, target_B3HW, dim=1)
    return (1 - cosine)[valid_BHW].mean()


def normal_l1(pred_B3HW: Tensor, target_B3HW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Sum of absolute differences over the three channels, divided by the number of valid pixels."""
    return (pred_B3HW - target_B3HW).abs().sum(dim=1)[valid_BHW].mean()


def weighted_cross_entropy(logits_BCHW: Tensor, labels_BHW: Tensor, class_weight_C: Tensor) -> Tensor:
    """Class-weighted cross-entropy, averaged over ALL pixels: ignored ones (255) count in the denominator."""
    loss = functional.cross_entropy(
        logits_BCHW, labels_BHW.long(), weight=class_weight_C, ignore_index=255, reduction="none"
    )
    return loss.mean()


def keypoint_mse(pred_BKHW: Tensor, target_BKHW: Tensor, weight_BK: Tensor) -> Tensor:
    """Squared error of heatmaps, weighted per keypoint, mean over all heatmap pixels."""
    return ((pred_BKHW - target_BKHW) ** 2 * weight_BK[:, :, None, None]).mean()


def keypoint_ohkm(pred_BKHW: Tensor, target_BKHW: Tensor, weight_BK: Tensor, top: int = 128) -> Tensor:
    """Online hard keypoint mining: per person the mean of the ``top`` largest per-keypoint losses."""
    per_keypoint = ((pred_BKHW - target_BKHW) ** 2 * weight_BK[:, :, None, None]).mean(dim=(2, 3))
    hardest = per_keypoint.topk(min(top, per_keypoint.shape[1]), dim=1).values
    return hardest.mean()
