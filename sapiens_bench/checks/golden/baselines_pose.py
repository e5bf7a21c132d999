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
from sapiens_bench.checks.golden.check import Absent, Check, compare, given, load, skipped
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.checks.golden.sapiens_models import CROP_MEAN_LEVELS
from sapiens_bench.models.parts import heatmaps, simcc_vectors
from sapiens_bench.models.simcc import Simcc
from sapiens_bench.models.vitpose import BLUR_KERNEL, VitPose, heatmaps_of
from sapiens_bench.models.vitpose_convert import load_official
from sapiens_bench.pixels.affine import box_to_center_scale, classic_matrix, warp
from sapiens_bench.types import ModelInput

MAPS, PIXELS, SCORES = 1e-4, 1e-3, 1e-4
BOXES = "boxes_xywh"
BGR_MOVES_PX = 1.0  # feeding BGR must change the keypoints by more than this, or the comparison proves nothing


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
    pixels = given(lambda stored: torch.from_numpy(stored.astype(np.float32)), z["pixel_values"])
    hw = (int(sizes["image_size"][0]), int(sizes["image_size"][1]))
    for index, person, step in ((0, 0, 1), (5, 1, 8)):
        net = load_official(folder / f"{name}.safetensors", index, hw, sizes["num_attention_heads"])
        with torch.inference_mode():
            crop = given(lambda all_, i=person: all_[i : i + 1], pixels)
            maps = given(lambda x, run=net, k=step: heatmaps_of(run, x)[:, ::k], crop)
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
    wrong = given(lambda stored: len(pairs ^ {(int(i), int(j)) for i, j in stored}), z["flip_pairs"])
    yield compare(f"{name}/flip_pairs", wrong, given(lambda _: 0, z["flip_pairs"]), 0)


def decode_checks(folder: Path, stem: str) -> Iterator[Check]:
    """Four decoders on the same heatmaps: three of ours, and the library's to see that the fixture is read rightly."""
    z = load(folder / f"{stem}.npz")
    maps = given(lambda stored: torch.from_numpy(stored.astype(np.float32)), z["heatmaps"])
    center, scale = z["center"], given(lambda s: s * 200, z["scale_over_200"])
    official = given(lambda s: s[..., 0], z["official_scores"])
    modes: tuple[tuple[str, heatmaps.Modulation], ...] = (("official_udp", "vitpose"), ("mmpose1_dark_udp", "mmpose1"))
    for name, modulate in modes:
        found = given(lambda m, how=modulate: heatmaps.peaks(m, BLUR_KERNEL, how), maps)
        ours = given(_refined, found, maps, center, scale)
        yield compare(f"{stem}/{name}_keypoints", ours, z[f"{name}_keypoints"], PIXELS)
        yield compare(f"{stem}/{name}_scores", given(lambda f: f.score_BK, found), official, 0)
    steps = given(heatmaps.quarter_steps, maps)
    ours = given(_stepped, steps, maps, center, scale)
    yield compare(f"{stem}/official_default_keypoints", ours, z["official_default_keypoints"], PIXELS)
    yield compare(f"{stem}/official_default_scores", given(lambda s: s[1], steps), official, 0)
    found_hf = given(_by_the_library, maps, center, scale)
    theirs = given(lambda people: np.stack([person["keypoints"].numpy() for person in people]), found_hf)
    yield compare(f"{stem}/hf_keypoints", theirs, z["hf_keypoints"], PIXELS, "the library against the fixture")
    scores = given(lambda people: [person["scores"].numpy() for person in people], found_hf)
    yield compare(f"{stem}/hf_scores", scores, z["hf_scores"], SCORES)


def _sizes(maps: torch.Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of the heatmaps and of the input."""
    return (maps.shape[3], maps.shape[2]), (4 * maps.shape[3], 4 * maps.shape[2])


def _refined(found: Any, maps: torch.Tensor, center: Any, scale: Any) -> list[Any]:
    """Keypoints in the picture, with refinement."""
    heatmap_wh, input_wh = _sizes(maps)
    ours = []
    for i in range(len(maps)):
        at = heatmaps.refine(found.xy_BK2[i].numpy(), found.score_BK[i].numpy(), found.log_patch_BK33[i].numpy())
        in_input = heatmaps.to_input_space(at, heatmap_wh, input_wh)
        ours.append(heatmaps.to_image_space(in_input, input_wh, center[i], scale[i]))
    return ours


def _stepped(steps: Any, maps: torch.Tensor, center: Any, scale: Any) -> list[Any]:
    """Keypoints in the picture, a quarter of a pixel towards the higher neighbour."""
    heatmap_wh, input_wh = _sizes(maps)
    in_input = [xy.numpy() / np.array(heatmap_wh) * np.array(input_wh) for xy in steps[0]]
    return [heatmaps.to_image_space(p, input_wh, center[i], scale[i]) for i, p in enumerate(in_input)]


def _by_the_library(maps: torch.Tensor, center: Any, scale: Any) -> Any:
    from transformers import VitPoseImageProcessor

    processor: Any = VitPoseImageProcessor()
    boxes = np.concatenate([center - scale / 1.25 / 2, scale / 1.25], axis=1)
    return processor.post_process_pose_estimation(SimpleNamespace(heatmaps=maps), boxes=[boxes.tolist()])[0]


def simcc_checks(folder: Path, stem: str, catalog: Catalog) -> Iterator[Check]:
    """SimCC vectors -> keypoints, plain and with the flip test, under both score rules; and the crop."""
    z = load(folder / f"{stem}.npz")
    flip_index = np.asarray(catalog.space("coco-wholebody133").flip_index)
    yield compare(f"{stem}/flip_indices", flip_index, z["flip_indices"], 0)
    x, y = (given(lambda v: v.astype(np.float32), z[key]) for key in ("simcc_x", "simcc_y"))
    input_wh, split = (288, 384), 2.0
    merged = given(
        lambda x, y, turned: simcc_vectors.merge_flipped(
            (x, y), (turned.astype(np.float32), y[:, flip_index]), flip_index
        ),
        x, y, z["simcc_x_mirrored"],
    )  # fmt: skip
    plain = given(lambda x, y: (x, y), x, y)
    for vectors, ending, scores in ((plain, "mmpose", "mmpose_min"), (merged, "fliptest", "fliptest")):
        found = given(lambda v: simcc_vectors.decode(*v), vectors)
        yield compare(f"{stem}/locs_{ending}", given(lambda f: f.xy_BK2, found), z[f"locs_{ending}"], 0)
        yield compare(f"{stem}/scores_{scores}", given(lambda f: f.score_BK, found), z[f"scores_{scores}"], SCORES)
        ours = given(
            lambda f, c, s: heatmaps.to_image_space(f.xy_BK2[0].astype(np.float64) / split, input_wh, c[0], s[0])[None],
            found, z["center"], z["scale"],
        )  # fmt: skip
        yield compare(f"{stem}/keypoints_img_{ending}", ours, z[f"keypoints_img_{ending}"], PIXELS)
    mean = given(lambda v: simcc_vectors.decode(v[0], v[1], "mean"), plain)
    yield compare(f"{stem}/locs_rtmlib", given(lambda f: f.xy_BK2, mean), z["locs_rtmlib"], 0)
    yield compare(f"{stem}/scores_rtmlib_mean", given(lambda f: f.score_BK, mean), z["scores_rtmlib_mean"], SCORES)
    if (folder / "image.png").is_file():
        center, scale = box_to_center_scale(boxes_xyxy(folder)[:1], 1.25, input_wh[0] / input_wh[1])
        yield compare(f"{stem}/center", center, z["center"], PIXELS)
        yield compare(f"{stem}/scale", scale, z["scale"], PIXELS)
        stored = z["crop_rgb_first"]
        if isinstance(stored, Absent):
            yield skipped(f"{stem}/crop_rgb_first", stored)
            return
        crop = warp(picture(folder), classic_matrix(center[0], scale[0], input_wh), input_wh)
        error = float(np.abs(crop.astype(np.float64) - stored).mean())
        yield Check(f"{stem}/crop_rgb_first", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")


def simcc_network_checks(folder: Path, stem: str, catalog: Catalog) -> Iterator[Check]:
    """An ONNX network through the real wrapper: crop, network, decoding; RGB, and not BGR."""
    z, name = load(folder / f"{stem}.npz"), stem.removesuffix("_io")
    if "boxes_xyxy" not in z:
        yield skipped(name, z["boxes_xyxy"])
        return
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
            turned = z["keypoints_if_bgr_fed"]
            if isinstance(turned, Absent):
                yield skipped(f"{name}/keypoints_if_bgr_fed", turned)
                continue
            moved = float(np.abs(found.keypoints_NK2_px - turned).max())
            yield Check(f"{name}/keypoints_if_bgr_fed", BGR_MOVES_PX / max(moved, 1e-9), 1.0, "1 / largest move in px")
