"""Fixtures of the pose baselines: ViTPose+ in both forms, heatmap and SimCC decoding, one SimCC network end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.check import Check, compare
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.checks.golden.sapiens_models import CROP_MEAN_LEVELS, load
from sapiens_bench.models.parts import heatmaps, simcc_vectors
from sapiens_bench.models.simcc import Simcc
from sapiens_bench.models.vitpose import BLUR_KERNEL, VitPose, heatmaps_of
from sapiens_bench.models.vitpose_convert import load_official
from sapiens_bench.pixels.affine import box_to_center_scale, classic_matrix, warp
from sapiens_bench.types import ModelInput

MAPS, PIXELS, SCORES = 1e-4, 1e-3, 1e-4
BOXES = "boxes_xywh"
BGR_MOVES_PX = 1.0  # feeding BGR must change the keypoints by more than this, or the comparison proves nothing
Arrays = dict[str, NDArray[Any]]


def picture(folder: Path) -> NDArray[np.uint8]:
    """``image.png`` in RGB."""
    found = cv2.imread(str(folder / "image.png"), cv2.IMREAD_COLOR)
    if found is None:
        raise FileNotFoundError(f"{folder / 'image.png'} cannot be read")
    return np.ascontiguousarray(found[..., ::-1]).astype(np.uint8)


def boxes_xyxy(folder: Path) -> NDArray[np.float32]:
    """The two boxes of ``manifest.json``, as corners."""
    boxes = np.asarray(json.loads((folder / "manifest.json").read_text())[BOXES], np.float32)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def vitpose_official_checks(folder: Path, stem: str) -> Iterator[Check]:
    """The authors' multi-data-set file, converted and merged: data sets 0 (COCO) and 5 (COCO-WholeBody)."""
    z, name = load(folder / f"{stem}.npz"), stem.removesuffix("_io")
    sizes: Mapping[str, Any] = json.loads((folder / f"{name}.json").read_text())
    pixels = torch.from_numpy(z["pixel_values"].astype(np.float32))
    hw = (int(sizes["image_size"][0]), int(sizes["image_size"][1]))
    for index, person, step in ((0, 0, 1), (5, 1, 8)):
        net = load_official(folder / f"{name}.safetensors", index, hw, sizes["num_attention_heads"])
        with torch.inference_mode():
            maps = heatmaps_of(net, pixels[person : person + 1])[:, ::step]
        yield compare(f"{name}/heatmaps_dataset{index}", maps, z[f"heatmaps_dataset{index}"], MAPS)


def vitpose_hub_checks(folder: Path, stem: str, catalog: Catalog) -> Iterator[Check]:
    """A hub folder with its experts merged, behind the library's own image processor; and our crop beside its."""
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

    from sapiens_bench.models.parts.hub_folder import load as load_hub
    from sapiens_bench.models.vitpose_convert import merge_folder

    z, name = load(folder / f"{stem}.npz"), stem.removesuffix("_io")
    place, image = folder / name, picture(folder)
    hw = (256, 192)
    model = VitPose(context("vitpose", "pose", place, "hf", input_spec(*hw), catalog.space("coco17")))
    corners = boxes_xyxy(folder)
    processor: Any = VitPoseImageProcessor.from_pretrained(str(place), local_files_only=True)
    boxes = [[*(float(v) for v in box[:2]), *(float(v) for v in box[2:] - box[:2])] for box in corners]
    theirs = processor(image, boxes=[boxes], return_tensors="pt")["pixel_values"]
    pixels = theirs.half().float()
    crops = model.prepare(ModelInput("golden", image, corners, np.ones(len(corners), np.float32))).tensors["crop"]
    error = (model.normalise(torch.from_numpy(crops)) - theirs).abs().mean() * 57.0
    yield Check(f"{name}/crop", float(error), 1.0, "mean grey levels; the library interpolates otherwise")
    whole = load_hub(VitPoseForPoseEstimation, str(place), place, (), {"local_files_only": True})
    with torch.inference_mode():
        maps = heatmaps_of(model.net, pixels[:1])
        yield compare(f"{name}/heatmaps_idx0", maps, z["heatmaps_idx0"], MAPS)
        maps = heatmaps_of(merge_folder(whole, place, 5, hw), pixels[:1])[:, :4]
        yield compare(f"{name}/heatmaps_idx5", maps, z["heatmaps_idx5"], MAPS)
        yield compare(f"{name}/heatmaps_flip_avg", model.answers(pixels[1:])[0][:, :9], z["heatmaps_flip_avg"], MAPS)
    pairs = {(i, j) for i, j in enumerate(model.flip_index.tolist()) if i < j}
    wrong = pairs ^ {(int(i), int(j)) for i, j in z["flip_pairs"]}
    yield Check(f"{name}/flip_pairs", float(len(wrong)), 0)


def decode_checks(folder: Path, stem: str) -> Iterator[Check]:
    """Four decoders on the same heatmaps: three of ours, and the library's to see that the fixture is read rightly."""
    from transformers import VitPoseImageProcessor

    z = load(folder / f"{stem}.npz")
    maps = torch.from_numpy(z["heatmaps"].astype(np.float32))
    center, scale = z["center"], z["scale_over_200"] * 200
    heatmap_wh, input_wh = (maps.shape[3], maps.shape[2]), (4 * maps.shape[3], 4 * maps.shape[2])
    modes: tuple[tuple[str, heatmaps.Modulation], ...] = (("official_udp", "vitpose"), ("mmpose1_dark_udp", "mmpose1"))
    for name, modulate in modes:
        found = heatmaps.peaks(maps, BLUR_KERNEL, modulate)
        ours = []
        for i in range(len(maps)):
            at = heatmaps.refine(found.xy_BK2[i].numpy(), found.score_BK[i].numpy(), found.log_patch_BK33[i].numpy())
            in_input = heatmaps.to_input_space(at, heatmap_wh, input_wh)
            ours.append(heatmaps.to_image_space(in_input, input_wh, center[i], scale[i]))
        yield compare(f"{stem}/{name}_keypoints", ours, z[f"{name}_keypoints"], PIXELS)
        yield compare(f"{stem}/{name}_scores", found.score_BK, z["official_scores"][..., 0], 0)
    xy, score = heatmaps.quarter_steps(maps)
    ours = [
        heatmaps.to_image_space(
            xy[i].numpy() / np.array(heatmap_wh) * np.array(input_wh), input_wh, center[i], scale[i]
        )
        for i in range(len(maps))
    ]
    yield compare(f"{stem}/official_default_keypoints", ours, z["official_default_keypoints"], PIXELS)
    yield compare(f"{stem}/official_default_scores", score, z["official_scores"][..., 0], 0)
    processor: Any = VitPoseImageProcessor()
    boxes = np.concatenate([center - scale / 1.25 / 2, scale / 1.25], axis=1)
    found_hf = processor.post_process_pose_estimation(SimpleNamespace(heatmaps=maps), boxes=[boxes.tolist()])[0]
    theirs = np.stack([person["keypoints"].numpy() for person in found_hf])
    yield compare(f"{stem}/hf_keypoints", theirs, z["hf_keypoints"], PIXELS, "the library against the fixture")
    yield compare(f"{stem}/hf_scores", [person["scores"].numpy() for person in found_hf], z["hf_scores"], SCORES)


def simcc_checks(folder: Path, stem: str, catalog: Catalog) -> Iterator[Check]:
    """SimCC vectors -> keypoints, plain and with the flip test, under both score rules; and the crop."""
    z = load(folder / f"{stem}.npz")
    flip_index = np.asarray(catalog.space("coco-wholebody133").flip_index)
    yield compare(f"{stem}/flip_indices", flip_index, z["flip_indices"], 0)
    x, y = z["simcc_x"].astype(np.float32), z["simcc_y"].astype(np.float32)
    input_wh, split = (288, 384), 2.0
    mirrored = (z["simcc_x_mirrored"].astype(np.float32), y[:, flip_index])
    merged = simcc_vectors.merge_flipped((x, y), mirrored, flip_index)
    for vectors, ending, image_ending, scores in (
        ((x, y), "mmpose", "mmpose", "mmpose_min"),
        (merged, "fliptest", "fliptest", "fliptest"),
    ):
        found = simcc_vectors.decode(*vectors)
        yield compare(f"{stem}/locs_{ending}", found.xy_BK2, z[f"locs_{ending}"], 0)
        yield compare(f"{stem}/scores_{scores}", found.score_BK, z[f"scores_{scores}"], SCORES)
        in_input = found.xy_BK2[0].astype(np.float64) / split
        ours = heatmaps.to_image_space(in_input, input_wh, z["center"][0], z["scale"][0])
        yield compare(f"{stem}/keypoints_img_{image_ending}", ours[None], z[f"keypoints_img_{image_ending}"], PIXELS)
    mean = simcc_vectors.decode(x, y, "mean")
    yield compare(f"{stem}/locs_rtmlib", mean.xy_BK2, z["locs_rtmlib"], 0)
    yield compare(f"{stem}/scores_rtmlib_mean", mean.score_BK, z["scores_rtmlib_mean"], SCORES)
    if (folder / "image.png").is_file():
        center, scale = box_to_center_scale(boxes_xyxy(folder)[:1], 1.25, input_wh[0] / input_wh[1])
        yield compare(f"{stem}/center", center, z["center"], PIXELS)
        yield compare(f"{stem}/scale", scale, z["scale"], PIXELS)
        crop = warp(picture(folder), classic_matrix(center[0], scale[0], input_wh), input_wh)
        error = float(np.abs(crop.astype(np.float64) - z["crop_rgb_first"]).mean())
        yield Check(f"{stem}/crop_rgb_first", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")


def simcc_network_checks(folder: Path, stem: str, catalog: Catalog) -> Iterator[Check]:
    """An ONNX network through the real wrapper: crop, network, decoding; RGB, and not BGR."""
    z, name = load(folder / f"{stem}.npz"), stem.removesuffix("_io")
    boxes = z["boxes_xyxy"].astype(np.float32)
    x = ModelInput("golden", picture(folder), boxes, np.ones(len(boxes), np.float32))
    for rule in ("min", "mean"):
        space, options = catalog.space("coco17"), {"score": rule}
        path = folder / f"{name}.onnx"
        model = Simcc(context("simcc", "pose", path, "onnx", input_spec(96, 72), space, options))
        prepared = model.prepare(x)
        with torch.inference_mode():
            outputs = model.forward({"crop": torch.from_numpy(prepared.tensors["crop"])})
        found = model.finish({n: t.numpy() for n, t in outputs.items()}, prepared.geometry)
        yield compare(f"{name}/scores_{rule}_rgb", found.keypoint_scores_NK, z[f"scores_{rule}_rgb"], SCORES)
        if rule == "min":
            yield compare(f"{name}/keypoints_rgb", found.keypoints_NK2_px, z["keypoints_rgb"], PIXELS)
            moved = float(np.abs(found.keypoints_NK2_px - z["keypoints_if_bgr_fed"]).max())
            yield Check(f"{name}/keypoints_if_bgr_fed", BGR_MOVES_PX / max(moved, 1e-9), 1.0, "1 / largest move in px")
