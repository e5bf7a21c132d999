"""Fixtures ``codec/`` (heatmaps, box geometry) and the dense parts of ``eval/`` (segmentation, depth, losses)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapiens_bench.checks.golden.check import Absent, Check, Fixture, compare, given, load, relative, skipped
from sapiens_bench.checks.golden.sapiens_models import GEOMETRY
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
SEG_CLASSES = 28  # of the official evaluation, where the fixture lists no class
DEPTH_NAMES = {"d1": "delta1", "d2": "delta2", "d3": "delta3"}


def udp_checks(folder: Path, name: str) -> Iterator[Check]:
    """Decoding of realistic and of degenerate maps, and target generation."""
    z = load(folder / f"{name}.npz")
    input_wh, heatmap_wh = (given(_pair, z[key]) for key in ("input_size", "heatmap_size"))
    for prefix in ("", "special_"):
        found = given(lambda maps: heatmaps.peaks(torch.from_numpy(maps)[None], BLUR_KERNEL), z[f"{prefix}heatmaps"])
        if not prefix:
            yield compare(f"{name}/argmax_xy", given(lambda f: f.xy_BK2[0], found), z["argmax_xy"], 0)
        points = given(_decoded, found, z[f"{prefix}heatmaps"], input_wh)
        yield compare(f"{name}/{prefix}keypoints", given(lambda p: p[None], points), z[f"{prefix}keypoints"], CODEC_PX)
        yield compare(f"{name}/{prefix}scores", given(lambda f: f.score_BK, found), z[f"{prefix}scores"], 1e-6)
        if prefix:
            yield compare(f"{name}/special_alone", points, z["special_alone"], CODEC_PX)
    made = given(
        lambda points, visible, *sizes: heatmaps.encode(points[0], visible[0], *sizes),
        z["encode_keypoints"], z["encode_visible"], input_wh, heatmap_wh,
    )  # fmt: skip
    yield compare(f"{name}/encode_heatmaps", given(lambda m: m[0], made), z["encode_heatmaps"], FLOAT32)
    yield compare(f"{name}/encode_weights", given(lambda m: m[1][None], made), z["encode_weights"], 0)


def _pair(size: Any) -> tuple[int, int]:
    return int(size[0]), int(size[1])


def _decoded(found: Any, maps: Any, input_wh: tuple[int, int]) -> Any:
    location = heatmaps.refine(found.xy_BK2[0].numpy(), found.score_BK[0].numpy(), found.log_patch_BK33[0].numpy())
    return heatmaps.to_input_space(location, (maps.shape[2], maps.shape[1]), input_wh)


def affine_checks(folder: Path, name: str) -> Iterator[Check]:
    """Boxes -> centre, scale, matrices (plain and rotated), and heatmap pixels -> image pixels."""
    z = load(folder / f"{name}.npz")
    input_wh, heatmap_wh = (given(_pair, z[key]) for key in ("input_size", "heatmap_size"))
    boxes = given(
        lambda xyxy, wh: box_to_center_scale(xyxy, padding=1.25, aspect=wh[0] / wh[1]), z["bbox_xyxy"], input_wh
    )
    yield compare(f"{name}/center", given(lambda b: b[0], boxes), z["center"], GEOMETRY)
    yield compare(f"{name}/scale", given(lambda b: b[1], boxes), z["scale"], GEOMETRY)
    pairs = given(lambda b: list(zip(*b, strict=True)), boxes)
    plain = given(lambda p, wh: [udp_matrix(c, s, wh) for c, s in p], pairs, input_wh)
    yield compare(f"{name}/warp_matrix", plain, z["warp_matrix"], GEOMETRY)
    rotated = given(
        lambda p, wh, degrees: [udp_matrix(c, s, wh, float(r)) for (c, s), r in zip(p, degrees, strict=True)],
        pairs, input_wh, z["rotation_deg"],
    )  # fmt: skip
    yield compare(f"{name}/warp_matrix_rotated", rotated, z["warp_matrix_rotated"], GEOMETRY)
    points = given(
        lambda points, p, heat, wh: [
            heatmaps.to_image_space(heatmaps.to_input_space(xy, heat, wh), wh, c, s)
            for xy, (c, s) in zip(points, p, strict=True)
        ],
        z["heatmap_xy"], pairs, heatmap_wh, input_wh,
    )  # fmt: skip
    yield compare(f"{name}/image_xy", points, z["image_xy"], GEOMETRY)


def seg_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """IoU and accuracy per class, and the summary (per cent, two decimals)."""
    z, wanted = load(folder / "seg_labels.npz"), Fixture(expected["seg"])
    n_classes = len(next((wanted[key] for key in ("IoU", "Acc") if key in wanted), ())) or SEG_CLASSES
    total = given(
        lambda gt, pred: np.sum([confusion(g, p, n_classes) for g, p in zip(gt, pred, strict=True)], axis=0),
        z["gt"], z["pred"],
    )  # fmt: skip
    scores = given(SegMetric([str(i) for i in range(n_classes)]).from_confusion, total)
    iou = given(lambda s: [s[f"iou/{i}"] for i in range(n_classes)], scores)
    yield compare("seg/IoU", iou, given(_floats, wanted["IoU"]), FLOAT32, "theirs is float32")
    yield compare("seg/Acc", given(_accuracy, total), given(_floats, wanted["Acc"]), FLOAT32, "theirs is float32")
    summary = Fixture(wanted.get("summary", {}))
    for theirs, ours in (("aAcc", "aacc"), ("mIoU", "miou"), ("mAcc", "macc")):
        found = given(lambda s, key=ours: round(s[key] * 100, 2), scores)
        yield compare(f"seg/summary/{theirs}", found, summary[theirs], METRIC)
    areas = {
        "area_intersect": lambda t: np.diagonal(t),
        "area_union": lambda t: t.sum(axis=1) + t[:, :n_classes].sum(axis=0) - np.diagonal(t),
        "area_label": lambda t: t.sum(axis=1),
        "area_pred_label": lambda t: t[:, :n_classes].sum(axis=0),
    }
    for key, area in areas.items():
        if key in wanted:
            yield compare(f"seg/{key}", given(area, total), wanted[key], 0)


def _accuracy(total: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.diagonal(total) / total.sum(axis=1)


def depth_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """The nine depth scores without alignment, per image and as mean over images."""
    z, wanted = load(folder / "depth_maps.npz"), expected["depth"]
    images = given(_depth_scores, z["gt"], z["pred"])
    for i, numbers in enumerate(wanted.get("per_image", ())):
        for key, value in numbers.items():
            ours = given(lambda found, i=i, key=key: found[i][DEPTH_NAMES.get(key, key)], images)
            yield relative(f"depth/{i}/{key}", ours, value, FLOAT32)
    for key, value in wanted.get("mean_over_images", {}).items():
        mean = given(lambda found, key=key: float(np.mean([i[DEPTH_NAMES.get(key, key)] for i in found])), images)
        yield relative(f"depth/mean/{key}", mean, value, FLOAT32)


def _depth_scores(truth: Any, found: Any) -> list[dict[str, float]]:
    images = []
    for gt, pred in zip(truth, found, strict=True):
        mask = gt > 0
        sums = depth_sums(pred[mask].astype(np.float64), Truth(gt[mask].astype(np.float64)), "metric_depth", "none")
        numbers = scores_of({k: np.asarray(v) for k, v in sums._asdict().items()})
        images.append({k: float(v) for k, v in numbers.items()})
    return images


def loss_checks(folder: Path, expected: dict[str, Any]) -> Iterator[Check]:
    """The training losses of the released configurations."""
    wanted = Fixture(expected["losses"])
    t = Fixture({k: torch.from_numpy(v) for k, v in load(folder / "losses.npz").items()})
    valid = given(losses.valid_normals, t["normal_target"])
    normals = (t["normal_pred"], t["normal_target"], valid)
    maps = (t["heatmap_pred"], t["heatmap_target"], t["heatmap_weight"])
    weight = given(lambda w: torch.tensor(w, dtype=torch.float32), wanted["seg_class_weight"])
    ours = {
        "silog": given(losses.silog, t["depth_pred"], t["depth_target"]),
        "normal_cosine": given(losses.normal_cosine, *normals),
        "normal_l1": given(losses.normal_l1, *normals),
        "seg_weighted_ce_map_mean": given(losses.weighted_cross_entropy, t["seg_logits"], t["seg_target"], weight),
        "keypoint_mse": given(losses.keypoint_mse, *maps),
    }
    ohkm = {key: int(key.rsplit("top", 1)[1]) for key in wanted if key.startswith("keypoint_ohkm_top")}
    ours |= {key: given(partial(losses.keypoint_ohkm, top=top), *maps) for key, top in ohkm.items()}
    for key, value in wanted.items():
        if key in ours:
            yield relative(f"losses/{key}", given(float, ours[key]), value, FLOAT32)
        elif key != "seg_class_weight":
            yield Check(f"losses/{key}", math.inf, 0.0, "unknown loss")


def layer_decay_checks(path: Path) -> Iterator[Check]:
    """Learning rate and weight decay of every parameter of a tiny pose network."""
    wanted = Fixture(json.loads(path.read_text()))
    settings = ("num_layers", "layer_decay_rate", "base_lr", "base_weight_decay")
    ours = given(_decayed, *(wanted[key] for key in settings))
    params = wanted["params"]
    if isinstance(ours, Absent) or isinstance(params, Absent):
        yield skipped("layer_decay", ours if isinstance(ours, Absent) else params)
        return
    names = set(ours) ^ set(params)
    yield Check("layer_decay/names", float(len(names)), 0, ", ".join(sorted(names)[:3]))
    for field in ("lr_scale", "lr", "weight_decay"):
        pairs = [(ours[n][field], p[field]) for n, p in params.items() if n in ours and field in p]
        if not pairs:
            yield skipped(f"layer_decay/{field}", Absent(field))
            continue
        yield Check(f"layer_decay/{field}", max(abs(a - b) for a, b in pairs), 1e-12)


def _decayed(layers: int, rate: float, lr: float, weight_decay: float) -> dict[str, Any]:
    with torch.device("meta"):
        net = SapiensNet(EncoderConfig(48, int(layers), 4, 192, (8, 6), 2), HeadConfig("pose", (24, 24), (24, 24), 17))
    found: dict[str, Any] = layer_decay(
        net.named_parameters(), num_layers=int(layers), rate=rate, lr=lr, weight_decay=weight_decay
    )
    return found


def _floats(values: list[float | None]) -> list[float]:
    return [math.nan if v is None else v for v in values]
