"""The training losses of the released Sapiens v1 configurations.

Source: facebookresearch/sapiens, loss modules of pose (mmpose) and of seg, depth and normal (mmseg); values equal the
goldens made by them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sapiens_bench.probe import processes

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


def relative_depth(depth_BHW: Tensor) -> Tensor:
    """The target of ``silog``: per image (d - least) / (greatest - least) over its pixels, so nearest 0 and farthest 1.

    Pixels without depth (0) become -1, as the released code has its background.
    """
    out = torch.full_like(depth_BHW, -1.0)
    for image, depth in zip(out, depth_BHW, strict=True):
        valid = depth > 0
        if bool(valid.any()):
            low, high = depth[valid].min(), depth[valid].max()
            image[valid] = (depth[valid] - low) / (high - low).clamp(min=EPS)
    return out


def aligned_depth(pred_BHW: Tensor, depth_BHW: Tensor) -> Tensor:
    """AbsRel after the best scale and shift of each image (least squares), then the mean over images.

    The fit is the one that the evaluation makes (protocols with alignment ``scale_shift``), so the loss is its score;
    gradients pass through the fit. Pixels without depth (0) are left out; so are images with fewer than 16 pixels.

    Source: the scale- and shift-invariant loss of Ranftl et al., "Towards Robust Monocular Depth Estimation"
    (TPAMI 2022), eq. 3-4, in depth and relative to it.
    """
    valid = (depth_BHW > 0).float()
    n = valid.sum(dim=(1, 2))
    used = (n >= 16).float()
    valid, n = valid * used[:, None, None], n.clamp_min(1)
    mean_pred = ((pred_BHW * valid).sum(dim=(1, 2)) / n)[:, None, None]
    mean_depth = ((depth_BHW * valid).sum(dim=(1, 2)) / n)[:, None, None]
    p, d = (pred_BHW - mean_pred) * valid, (depth_BHW - mean_depth) * valid
    scale = ((p * d).sum(dim=(1, 2)) / ((p * p).sum(dim=(1, 2)) + EPS * n)).abs()  # depth upside down costs
    error = (scale[:, None, None] * p - d).abs() / torch.where(valid > 0, depth_BHW, torch.ones_like(depth_BHW))
    per_image: Tensor = (error * valid).sum(dim=(1, 2)) / n
    return processes.mean_over((per_image * used).sum(), used.sum())


def valid_normals(target_B3HW: Tensor) -> Tensor:
    """Pixels with a ground-truth normal: background is stored as a vector that is not of unit length. [B, H, W]."""
    length: Tensor = torch.linalg.vector_norm(target_B3HW, dim=1)
    return (length - 1).abs() < 1e-2


def normal_cosine(pred_B3HW: Tensor, target_B3HW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Mean of 1 - cos over valid pixels."""
    cosine = functional.cosine_similarity(pred_B3HW, target_B3HW, dim=1)
    return _mean_over(1 - cosine, valid_BHW)


def normal_l1(pred_B3HW: Tensor, target_B3HW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Sum of absolute differences over the three channels, divided by the number of valid pixels."""
    return _mean_over((pred_B3HW - target_B3HW).abs().sum(dim=1), valid_BHW)


def _mean_over(values_BHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Mean over the valid pixels, 0 where there is none. Picking them out would wait for a GPU to count them."""
    weight = valid_BHW.to(values_BHW.dtype)
    return processes.mean_over((values_BHW * weight).sum(), weight.sum())


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
