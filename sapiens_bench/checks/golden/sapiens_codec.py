"""Fixtures ``codec/`` (heatmaps, box geometry) and the dense parts of ``eval/`` (segmentation, depth, losses)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.checks.golden.check import Check, compare, relative
from sapiens_bench.checks.golden.sapiens_models import GEOMETRY, load
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.sapiens_net import EncoderConfig, HeadConfig, SapiensNet
from sapiens_bench.models.sapiens_v1 import BLUR_KERNEL
from sapiens_bench.pixels.affine import box_to_center_scale, udp_matrix
from sapiens_bench.probe import losses
from sapiens_bench.probe.optim import layer_decay
from sapiens_bench.tasks.depth.metrics import scores_of
from sapiens_bench.tasks.depth.sums import Truth, depth_sums
from sapiens_bench.tasks.seg.confusion import confusion
from sapiens_bench.tasks.seg.metrics import SegMetric

CODEC_PX, METRIC, FLOAT32 = 1e-3, 1e-9, 1e-5
DEPTH_NAMES = {"d1": "delta1", "d2": "delta2", "d3": "delta3"}


def udp_checks(folder: Path, name: str) -> Iterator[Check]:
    """Decoding of realistic and of degenerate maps, and target generation."""
    z = load(folder / f"{name}.npz")
    input_wh = (int(z["input_size"][0]), int(z["input_size"][1]))
    for prefix in ("", "special_"):
        maps = z[f"{prefix}heatmaps"]
        found = heatmaps.peaks(torch.from_numpy(maps)[None], BLUR_KERNEL)
        if not prefix:
            yield compare(f"{name}/argmax_xy", found.xy_BK2[0], z["argmax_xy"], 0)
        location = heatmaps.refine(found.xy_BK2[0].numpy(), found.score_BK[0].numpy(), found.log_patch_BK33[0].numpy())
        points = heatmaps.to_input_space(location, (maps.shape[2], maps.shape[1]), input_wh)
        yield compare(f"{name}/{prefix}keypoints", points[None], z[f"{prefix}keypoints"], CODEC_PX)
        yield compare(f"{name}/{prefix}scores", found.score_BK, z[f"{prefix}scores"], 1e-6)
        if prefix:
            yield compare(f"{name}/special_alone", points, z["special_alone"], CODEC_PX)
    heatmap_wh = (int(z["heatmap_size"][0]), int(z["heatmap_size"][1]))
    targets, weights = heatmaps.encode(z["encode_keypoints"][0], z["encode_visible"][0], input_wh, heatmap_wh)
    yield compare(f"{name}/encode_heatmaps", targets, z["encode_heatmaps"], FLOAT32)
    yield compare(f"{name}/encode_weights", weights[None], z["encode_weights"], 0)


def affine_checks(folder: Path, name: str) -> Iterator[Check]:
    """Boxes -> centre, scale, matrices (plain and rotated), and heatmap pixels -> image pixels."""
    z = load(folder / f"{name}.npz")
    input_wh = (int(z["input_size"][0]), int(z["input_size"][1]))
    heatmap_wh = (int(z["heatmap_size"][0]), int(z["heatmap_size"][1]))
    center, scale = box_to_center_scale(z["bbox_xyxy"], padding=1.25, aspect=input_wh[0] / input_wh[1])
    yield compare(f"{name}/center", center, z["center"], GEOMETRY)
    yield compare(f"{name}/scale", scale, z["scale"], GEOMETRY)
    pairs = list(zip(center, scale, strict=True))
    yield compare(f"{name}/warp_matrix", [udp_matrix(c, s, input_wh) for c, s in pairs], z["warp_matrix"], GEOMETRY)
    rotated = [udp_matrix(c, s, input_wh, float(r)) for (c, s), r in zip(pairs, z["rotation_deg"], strict=True)]
    yield compare(f"{name}/warp_matrix_rotated", rotated, z["warp_matrix_rotated"], GEOMETRY)
    points = [
        heatmaps.to_image_space(heatmaps.to_input_space(xy, heatmap_wh, input_wh), input_wh, c, s)
        for xy, (c, s) in zip(z["heatmap_xy"], pairs, strict=True)
    ]
    yield compare(f"{name}/image_xy", points, z["image_xy"], GEOMETRY)


def seg_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """IoU and accuracy per class, and the summary (per cent, two decimals)."""
    z, wanted = load(folder / "seg_labels.npz"), expected["seg"]
    n_classes = len(wanted["IoU"])
    total = np.sum([confusion(g, p, n_classes) for g, p in zip(z["gt"], z["pred"], strict=True)], axis=0)
    scores = SegMetric([str(i) for i in range(n_classes)]).from_confusion(total)
    iou = [scores[f"iou/{i}"] for i in range(n_classes)]
    yield compare("seg/IoU", iou, _floats(wanted["IoU"]), FLOAT32, "theirs is float32")
    label = total.sum(axis=1)
    with np.errstate(invalid="ignore"):
        accuracy = np.diagonal(total) / label
    yield compare("seg/Acc", accuracy, _floats(wanted["Acc"]), FLOAT32, "theirs is float32")
    for theirs, ours in (("aAcc", "aacc"), ("mIoU", "miou"), ("mAcc", "macc")):
        yield compare(f"seg/summary/{theirs}", round(scores[ours] * 100, 2), wanted["summary"][theirs], METRIC)
    areas = {
        "area_intersect": np.diagonal(total),
        "area_union": label + total[:, :n_classes].sum(axis=0) - np.diagonal(total),
        "area_label": label,
        "area_pred_label": total[:, :n_classes].sum(axis=0),
    }
    for key, ours in areas.items():
        if key in wanted:
            yield compare(f"seg/{key}", ours, wanted[key], 0)


def depth_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """The nine depth scores without alignment, per image and as mean over images."""
    z, wanted = load(folder / "depth_maps.npz"), expected["depth"]
    images = []
    for gt, pred in zip(z["gt"], z["pred"], strict=True):
        mask = gt > 0
        sums = depth_sums(pred[mask].astype(np.float64), Truth(gt[mask].astype(np.float64)), "metric_depth", "none")
        images.append(
            {k: float(v) for k, v in scores_of({k: np.asarray(v) for k, v in sums._asdict().items()}).items()}
        )
    for i, numbers in enumerate(wanted["per_image"]):
        for key, value in numbers.items():
            yield relative(f"depth/{i}/{key}", images[i][DEPTH_NAMES.get(key, key)], value, FLOAT32)
    for key, value in wanted["mean_over_images"].items():
        mean = float(np.mean([image[DEPTH_NAMES.get(key, key)] for image in images]))
        yield relative(f"depth/mean/{key}", mean, value, FLOAT32)


def loss_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """The training losses of the released configurations."""
    wanted = expected["losses"]
    t = {k: torch.from_numpy(v) for k, v in load(folder / "losses.npz").items()}
    valid = losses.valid_normals(t["normal_target"])
    maps = (t["heatmap_pred"], t["heatmap_target"], t["heatmap_weight"])
    ours = {
        "silog": losses.silog(t["depth_pred"], t["depth_target"]),
        "normal_cosine": losses.normal_cosine(t["normal_pred"], t["normal_target"], valid),
        "normal_l1": losses.normal_l1(t["normal_pred"], t["normal_target"], valid),
        "seg_weighted_ce_map_mean": losses.weighted_cross_entropy(
            t["seg_logits"], t["seg_target"], torch.tensor(wanted["seg_class_weight"], dtype=torch.float32)
        ),
        "keypoint_mse": losses.keypoint_mse(*maps),
    }
    ohkm = {key: int(key.rsplit("top", 1)[1]) for key in wanted if key.startswith("keypoint_ohkm_top")}
    ours |= {key: losses.keypoint_ohkm(*maps, top=top) for key, top in ohkm.items()}
    for key, value in wanted.items():
        if key in ours:
            yield relative(f"losses/{key}", float(ours[key]), value, FLOAT32)
        elif key != "seg_class_weight":
            yield Check(f"losses/{key}", math.inf, 0.0, "unknown loss")


def layer_decay_checks(path: Path) -> Iterator[Check]:
    """Learning rate and weight decay of every parameter of a tiny pose network."""
    wanted = json.loads(path.read_text())
    layers = int(wanted["num_layers"])
    with torch.device("meta"):
        net = SapiensNet(EncoderConfig(48, layers, 4, 192, (8, 6), 2), HeadConfig("pose", (24, 24), (24, 24), 17))
    ours = layer_decay(
        net.named_parameters(),
        num_layers=layers,
        rate=wanted["layer_decay_rate"],
        lr=wanted["base_lr"],
        weight_decay=wanted["base_weight_decay"],
    )
    names = set(ours) ^ set(wanted["params"])
    yield Check("layer_decay/names", float(len(names)), 0, ", ".join(sorted(names)[:3]))
    for field in ("lr_scale", "lr", "weight_decay"):
        pairs = [(ours[n][field], p[field]) for n, p in wanted["params"].items() if n in ours]
        error = max((abs(a - b) for a, b in pairs), default=math.inf)
        yield Check(f"layer_decay/{field}", error, 1e-12)


def _floats(values: list[float | None]) -> list[float]:
    return [math.nan if v is None else v for v in values]
