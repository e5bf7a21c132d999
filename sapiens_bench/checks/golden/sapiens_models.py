"""Fixtures ``models/``: tiny networks with the official structure, through the real wrappers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.checks.golden.check import Check, compare, share_different
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.parts.dense_frame import to_original, unit_normals
from sapiens_bench.models.sapiens_load import load_encoder
from sapiens_bench.models.sapiens_net import Encoder, SapiensNet
from sapiens_bench.models.sapiens_v1 import BLUR_KERNEL, SapiensDense, SapiensPose, build
from sapiens_bench.pixels.affine import box_to_center_scale, udp_matrix
from sapiens_bench.types import ModelInput

NETWORK, DECODE, GEOMETRY = 1e-4, 1e-2, 1e-3
# cv2.warpAffine differs between OpenCV releases by up to 3 grey levels on 1-5 % of the pixels; the mean shows a real
# mistake at once. One grey level is 0.017 in normalised units.
CROP_MEAN_LEVELS = 0.1
SPACES = {17: "coco17", 133: "coco-wholebody133", 308: "goliath308"}
Arrays = dict[str, NDArray[Any]]


def load(path: Path) -> Arrays:
    """All arrays of an npz file (no pickles)."""
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def config(folder: Path) -> dict[str, Any]:
    """Sizes of the folder's networks."""
    content: dict[str, Any] = json.loads((folder / "config.json").read_text())["config"]
    return content


def wrapper(
    folder: Path, task: str, name: str, space: SpaceCard | None, pipeline: str = "full"
) -> SapiensPose | SapiensDense:
    """The wrapper of a tiny network, built as `run` builds it."""
    sizes = config(folder)
    spec, options = input_spec(sizes["H"], sizes["W"]), {"heads": sizes["heads"], "pipeline": pipeline}
    return build(context("sapiens_v1", task, folder / f"{name}.safetensors", "safetensors", spec, space, options))


def backbone(model: SapiensPose | SapiensDense) -> Encoder:
    """The encoder of a wrapper that was built from a state dict."""
    assert isinstance(model.net, SapiensNet)
    return model.net.backbone


def encoder_checks(folder: Path, name: str) -> Iterator[Check]:
    """``encoder_pretrain``: features, run-time table resize, padding, and the same weights in the task encoder."""
    z, sizes = load(folder / f"{name}.npz"), config(folder)
    path = folder / f"{name}.safetensors"
    net = load_encoder(path, heads=sizes["heads"])
    t = {k: torch.from_numpy(v) for k, v in z.items()}
    with torch.inference_mode():
        for source, wanted in (
            ("input", "featmap"),
            ("input_other_size", "featmap_other_size"),
            ("input_not_multiple_of_16", "featmap_not_multiple_of_16"),
        ):
            yield compare(f"{name}/{wanted}", net(t[source]), z[wanted], NETWORK)
        yield compare(f"{name}/raw_tokens", net.tokens(t["input"])[0], z["raw_tokens"], NETWORK)
        patches, _ = net.patch_tokens(t["input"])
        yield compare(f"{name}/patch_tokens", patches, z["patch_tokens"], NETWORK)
        first = torch.cat([net.cls_token.expand(len(patches), -1, -1), patches], 1) + net.pos_embed
        yield compare(f"{name}/after_layer0", net.layers[0](first), z["after_layer0"], NETWORK)
        task_hw = t["task_input"].shape[-2:]
        grid = (int(task_hw[0]) // 16, int(task_hw[1]) // 16)
        for padding in (0, 2):
            task = load_encoder(path, heads=sizes["heads"], task_grid_hw=grid, patch_padding=padding)
            if padding == 0:
                yield compare(f"{name}/task_pos_embed", task.pos_embed, z["task_pos_embed"], NETWORK)
            wanted = f"task_featmap_pad{padding}"
            yield compare(f"{name}/{wanted}", task(t["task_input"]), z[wanted], NETWORK)


def pose_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``pose<K>``: boxes, crop, network, flip merge, decoding."""
    z = load(folder / f"{name}.npz")
    space = catalog.space(SPACES[len(z["flip_indices"])])
    model = wrapper(folder, "pose", name, space)
    assert isinstance(model, SapiensPose)
    yield compare(f"{name}/flip_indices", space.flip_index, z["flip_indices"], 0)
    yield compare(f"{name}/sigmas", space.sigmas, z["sigmas"], 1e-7)
    height, width = model.input_hw
    center, scale = box_to_center_scale(z["bbox_xyxy"], padding=1.25, aspect=width / height)
    yield compare(f"{name}/bbox_center", center, z["bbox_center"], GEOMETRY)
    yield compare(f"{name}/bbox_scale", scale, z["bbox_scale"], GEOMETRY)
    matrices = [udp_matrix(c, s, (width, height)) for c, s in zip(center, scale, strict=True)]
    yield compare(f"{name}/warp_matrix", matrices, z["warp_matrix"], GEOMETRY)
    if "image_bgr" in z and "crop_bgr" in z:
        ones = np.ones(len(z["bbox_xyxy"]), np.float32)
        x = ModelInput("golden", np.ascontiguousarray(z["image_bgr"][..., ::-1]), z["bbox_xyxy"], ones)
        crops = model.prepare(x).tensors["crop"][:, ::-1].astype(np.float64)
        error = float(np.abs(crops - z["crop_bgr"]).mean())
        yield Check(f"{name}/crop", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")
        rgb = torch.from_numpy(np.ascontiguousarray(z["crop_bgr"][:, ::-1]))
        yield compare(f"{name}/input", model.normalise(rgb), z["input"], NETWORK)
    image = torch.from_numpy(z["input"])
    with torch.inference_mode():
        if "features" in z:
            yield compare(f"{name}/features", backbone(model)(image), z["features"], NETWORK)
        plain = model.net(image)
        yield compare(f"{name}/heatmap", plain, z["heatmap"], NETWORK)
        mirrored = torch.from_numpy(z["heatmap_of_flipped_input"]) if "heatmap_of_flipped_input" in z else None
        if mirrored is not None:
            yield compare(f"{name}/heatmap_of_flipped_input", model.net(image.flip(-1)), mirrored, NETWORK)
        else:
            mirrored = model.net(image.flip(-1))
        merged = heatmaps.merge_flipped(torch.from_numpy(z["heatmap"]), mirrored, model.flip_index)
        yield compare(f"{name}/heatmap_merged", merged, z["heatmap_merged"], NETWORK)
    yield from _decode_checks(name, z, model.input_hw)


def _decode_checks(name: str, z: Arrays, input_hw: tuple[int, int]) -> Iterator[Check]:
    input_wh = (input_hw[1], input_hw[0])
    for maps, suffix in ((z["heatmap_merged"], ""), (z["heatmap"], "_noflip")):
        in_input, in_image, scores = [], [], []
        found = heatmaps.peaks(torch.from_numpy(maps), BLUR_KERNEL)
        for i in range(len(maps)):
            location = heatmaps.refine(
                found.xy_BK2[i].numpy(), found.score_BK[i].numpy(), found.log_patch_BK33[i].numpy()
            )
            in_input.append(heatmaps.to_input_space(location, (maps.shape[3], maps.shape[2]), input_wh))
            in_image.append(heatmaps.to_image_space(in_input[-1], input_wh, z["bbox_center"][i], z["bbox_scale"][i]))
            scores.append(found.score_BK[i].numpy())
        if not suffix:
            yield compare(f"{name}/keypoints_input_space", in_input, z["keypoints_input_space"], DECODE)
        yield compare(f"{name}/keypoints_image_space{suffix}", in_image, z[f"keypoints_image_space{suffix}"], DECODE)
        yield compare(f"{name}/keypoint_scores{suffix}", scores, z[f"keypoint_scores{suffix}"], 1e-6)


def dense_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``seg``, ``depth``, ``normal``: resize, network, and both ways back to the original size."""
    z = load(folder / f"{name}.npz")
    space = catalog.space("body28") if name == "seg" else None
    model = wrapper(folder, name, name, space)
    assert isinstance(model, SapiensDense)
    rgb = np.ascontiguousarray(z["image_bgr"][..., ::-1])
    box = np.array([[0, 0, rgb.shape[1], rgb.shape[0]]], np.float32)
    x = ModelInput("golden", rgb, box, np.ones(1, np.float32))
    prepared = model.prepare(x).tensors["image"]
    yield compare(f"{name}/resized_bgr", prepared[0][::-1], z["resized_bgr"], 0)
    yield compare(f"{name}/input", model.normalise(torch.from_numpy(prepared)), z["input"], NETWORK)
    size = (int(z["ori_shape"][0]), int(z["ori_shape"][1]))
    head = torch.from_numpy(z["head_output"])
    with torch.inference_mode():
        image = torch.from_numpy(z["input"])
        yield compare(f"{name}/features", backbone(model)(image), z["features"], NETWORK)
        yield compare(f"{name}/head_output", model.net(image), head, NETWORK)
        full = to_original(head, model.input_hw, size, "full")[0]
        lite = to_original(head, model.input_hw, size, "lite")[0]
        if name == "seg":
            yield compare(f"{name}/logits_at_original_size", full, z["logits_at_original_size"], NETWORK)
            certain = z["margin"] > 1e-3
            labels = model.at_original(head, size).numpy()
            yield share_different(f"{name}/pred", labels[certain], z["pred"][certain], 0, "where the margin is > 1e-3")
            quick = wrapper(folder, name, name, space, "lite")
            assert isinstance(quick, SapiensDense)
            top = torch.sort(lite, dim=0, descending=True).values
            certain = (top[0] - top[1] > 1e-3).numpy()
            labels = quick.at_original(head, size).numpy()
            yield share_different(f"{name}/lite_pred", labels[certain], z["lite_pred"][certain], 0)
            bgr_input = quick.normalise(torch.from_numpy(prepared))[0]
            yield compare(f"{name}/lite_input", bgr_input, z["lite_input"], NETWORK)
            return
        resized = to_original(head, model.input_hw, model.input_hw, "lite")
        yield compare(f"{name}/logits_at_input_size", resized, z["logits_at_input_size"], NETWORK)
        yield compare(f"{name}/output_at_original_size", full, z["output_at_original_size"], NETWORK)
        yield compare(f"{name}/lite_output_at_original_size", lite, z["lite_output_at_original_size"], NETWORK)
        if name == "normal":
            unit = unit_normals(full[None])[0].permute(1, 2, 0)
            yield compare(f"{name}/normal_normalised", unit, z["normal_normalised"], NETWORK)
            # Through the wrapper: network, both resizes, normalisation. Noise-like outputs make it worse conditioned.
            frame = torch.tensor([(0, 0, *model.input_hw)])
            given = {"image": torch.from_numpy(prepared), "size_hw": torch.tensor([size]), "inside": frame}
            outputs = model.forward(given)
            found = model.finish({"map": outputs["map"][0:1].numpy()}, size).normals_HW3
            yield compare(f"{name}/wrapper", found, z["normal_normalised"], 10 * NETWORK)


def lite_pose_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``lite_pose_preprocess``: the lite demo's crop of the same image and boxes."""
    z = load(folder / f"{name}.npz")
    model = wrapper(folder, "pose", "pose17", catalog.space("coco17"), "lite")
    image = np.ascontiguousarray(z["image_bgr"][..., ::-1])
    x = ModelInput("golden", image, z["bbox_xyxy"], np.ones(len(z["bbox_xyxy"]), np.float32))
    prepared = model.prepare(x)
    center, scale = prepared.geometry[0], prepared.geometry[1]
    yield compare(f"{name}/center", center, z["center"], GEOMETRY)
    yield compare(f"{name}/scale", scale, z["scale"], GEOMETRY)
    yield compare(f"{name}/size_wh", model.input_hw[::-1], z["size_wh"], 0)
    ours = model.normalise(torch.from_numpy(prepared.tensors["crop"])).numpy()
    error = float(np.abs(ours - z["input"]).mean()) * 57.0
    yield Check(f"{name}/input", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")
