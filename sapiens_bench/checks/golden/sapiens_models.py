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
from sapiens_bench.checks.golden.check import Absent, Check, Fixture, compare, given, load, share_different, skipped
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
    t = Fixture({k: torch.from_numpy(v) for k, v in z.items()})
    with torch.inference_mode():
        for source, wanted in (
            ("input", "featmap"),
            ("input_other_size", "featmap_other_size"),
            ("input_not_multiple_of_16", "featmap_not_multiple_of_16"),
        ):
            yield compare(f"{name}/{wanted}", given(net, t[source]), z[wanted], NETWORK)
        yield compare(f"{name}/raw_tokens", given(lambda x: net.tokens(x)[0], t["input"]), z["raw_tokens"], NETWORK)
        patches = given(lambda x: net.patch_tokens(x)[0], t["input"])
        yield compare(f"{name}/patch_tokens", patches, z["patch_tokens"], NETWORK)
        after = given(lambda p: net.layers[0](_with_class(net, p)), patches)
        yield compare(f"{name}/after_layer0", after, z["after_layer0"], NETWORK)
        if "task_input" not in t:
            yield skipped(f"{name}/task_*", t["task_input"])
            return
        task_hw = t["task_input"].shape[-2:]
        grid = (int(task_hw[0]) // 16, int(task_hw[1]) // 16)
        for padding in (0, 2):
            task = load_encoder(path, heads=sizes["heads"], task_grid_hw=grid, patch_padding=padding)
            if padding == 0:
                yield compare(f"{name}/task_pos_embed", task.pos_embed, z["task_pos_embed"], NETWORK)
            wanted = f"task_featmap_pad{padding}"
            yield compare(f"{name}/{wanted}", task(t["task_input"]), z[wanted], NETWORK)


def _with_class(net: Encoder, patches: torch.Tensor) -> torch.Tensor:
    """Tokens as the first layer gets them."""
    return torch.cat([net.cls_token.expand(len(patches), -1, -1), patches], 1) + net.pos_embed


def pose_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``pose<K>``: boxes, crop, network, flip merge, decoding."""
    z = load(folder / f"{name}.npz")
    space = catalog.space(SPACES[int(name.removeprefix("pose"))])
    model = wrapper(folder, "pose", name, space)
    assert isinstance(model, SapiensPose)
    yield compare(f"{name}/flip_indices", space.flip_index, z["flip_indices"], 0)
    yield compare(f"{name}/sigmas", space.sigmas, z["sigmas"], 1e-7)
    yield from _box_checks(name, z, model)
    missing = [z[key] for key in ("image_bgr", "crop_bgr", "bbox_xyxy") if key not in z]
    yield skipped(f"{name}/crop", missing[0]) if missing else _crop_check(name, model, z)
    rgb = given(lambda bgr: torch.from_numpy(np.ascontiguousarray(bgr[:, ::-1])), z["crop_bgr"])
    yield compare(f"{name}/input", given(model.normalise, rgb), z["input"], NETWORK)
    yield from _map_checks(name, z, model)
    yield from _decode_checks(name, z, model.input_hw)


def _box_checks(name: str, z: Fixture, model: SapiensPose) -> Iterator[Check]:
    height, width = model.input_hw
    boxes = given(lambda xyxy: box_to_center_scale(xyxy, padding=1.25, aspect=width / height), z["bbox_xyxy"])
    yield compare(f"{name}/bbox_center", given(lambda b: b[0], boxes), z["bbox_center"], GEOMETRY)
    yield compare(f"{name}/bbox_scale", given(lambda b: b[1], boxes), z["bbox_scale"], GEOMETRY)
    size = (width, height)
    matrices = given(lambda b: [udp_matrix(c, s, size) for c, s in zip(*b, strict=True)], boxes)
    yield compare(f"{name}/warp_matrix", matrices, z["warp_matrix"], GEOMETRY)


def _crop_check(name: str, model: SapiensPose, z: Fixture) -> Check:
    ones = np.ones(len(z["bbox_xyxy"]), np.float32)
    x = ModelInput("golden", np.ascontiguousarray(z["image_bgr"][..., ::-1]), z["bbox_xyxy"], ones)
    crops = model.prepare(x).tensors["crop"][:, ::-1].astype(np.float64)
    error = float(np.abs(crops - z["crop_bgr"]).mean())
    return Check(f"{name}/crop", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")


def _map_checks(name: str, z: Fixture, model: SapiensPose) -> Iterator[Check]:
    """Network and flip merge."""
    image, plain = (given(torch.from_numpy, z[key]) for key in ("input", "heatmap"))

    def mirrored_maps(x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = model.net(x.flip(-1))
        return maps

    with torch.inference_mode():
        yield compare(f"{name}/features", given(backbone(model), image), z["features"], NETWORK)
        yield compare(f"{name}/heatmap", given(model.net, image), z["heatmap"], NETWORK)
        mirrored = given(torch.from_numpy, z["heatmap_of_flipped_input"])
        ours = given(mirrored_maps, image)
        yield compare(f"{name}/heatmap_of_flipped_input", ours, mirrored, NETWORK)
        mirrored = ours if isinstance(mirrored, Absent) else mirrored
        merged = given(lambda a, b: heatmaps.merge_flipped(a, b, model.flip_index), plain, mirrored)
        yield compare(f"{name}/heatmap_merged", merged, z["heatmap_merged"], NETWORK)


def _decode_checks(name: str, z: Fixture, input_hw: tuple[int, int]) -> Iterator[Check]:
    for maps, suffix in ((z["heatmap_merged"], ""), (z["heatmap"], "_noflip")):
        found = given(lambda m: _decoded(m, (input_hw[1], input_hw[0])), maps)
        in_input, scores = (given(lambda f, i=i: f[i], found) for i in (0, 1))
        in_image = given(
            lambda points, c, s: _in_image(points, (input_hw[1], input_hw[0]), c, s),
            in_input, z["bbox_center"], z["bbox_scale"],
        )  # fmt: skip
        if not suffix:
            yield compare(f"{name}/keypoints_input_space", in_input, z["keypoints_input_space"], DECODE)
        yield compare(f"{name}/keypoints_image_space{suffix}", in_image, z[f"keypoints_image_space{suffix}"], DECODE)
        yield compare(f"{name}/keypoint_scores{suffix}", scores, z[f"keypoint_scores{suffix}"], 1e-6)


def _decoded(maps: NDArray[np.float32], input_wh: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    """Points in input space and scores, by crop."""
    found = heatmaps.peaks(torch.from_numpy(maps), BLUR_KERNEL)
    points = []
    for i in range(len(maps)):
        location = heatmaps.refine(found.xy_BK2[i].numpy(), found.score_BK[i].numpy(), found.log_patch_BK33[i].numpy())
        points.append(heatmaps.to_input_space(location, (maps.shape[3], maps.shape[2]), input_wh))
    return points, [found.score_BK[i].numpy() for i in range(len(maps))]


def _in_image(points: list[Any], input_wh: tuple[int, int], center: Any, scale: Any) -> list[Any]:
    return [heatmaps.to_image_space(p, input_wh, center[i], scale[i]) for i, p in enumerate(points)]


def dense_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``seg``, ``depth``, ``normal``: resize, network, and both ways back to the original size."""
    z = load(folder / f"{name}.npz")
    space = catalog.space("body28") if name == "seg" else None
    model = wrapper(folder, name, name, space)
    assert isinstance(model, SapiensDense)
    prepared = given(lambda bgr: _prepared(model, bgr), z["image_bgr"])
    yield compare(f"{name}/resized_bgr", given(lambda p: p[0][::-1], prepared), z["resized_bgr"], 0)
    ours = given(lambda p: model.normalise(torch.from_numpy(p)), prepared)
    yield compare(f"{name}/input", ours, z["input"], NETWORK)
    head, image = (given(torch.from_numpy, z[key]) for key in ("head_output", "input"))
    size = given(lambda shape: (int(shape[0]), int(shape[1])), z["ori_shape"])
    with torch.inference_mode():
        yield compare(f"{name}/features", given(backbone(model), image), z["features"], NETWORK)
        yield compare(f"{name}/head_output", given(model.net, image), head, NETWORK)
        full, lite = (
            given(lambda h, hw, way=way: to_original(h, model.input_hw, hw, way)[0], head, size)
            for way in ("full", "lite")
        )
        if name == "seg":
            quick = wrapper(folder, name, name, space, "lite")
            assert isinstance(quick, SapiensDense)
            yield from _label_checks(z, model, quick, head, size, full, lite)
            ours = given(lambda p: quick.normalise(torch.from_numpy(p))[0], prepared)
            yield compare(f"{name}/lite_input", ours, z["lite_input"], NETWORK)
            return
        resized = given(lambda h: to_original(h, model.input_hw, model.input_hw, "lite"), head)
        yield compare(f"{name}/logits_at_input_size", resized, z["logits_at_input_size"], NETWORK)
        yield compare(f"{name}/output_at_original_size", full, z["output_at_original_size"], NETWORK)
        yield compare(f"{name}/lite_output_at_original_size", lite, z["lite_output_at_original_size"], NETWORK)
        if name == "normal":
            unit = given(lambda f: unit_normals(f[None])[0].permute(1, 2, 0), full)
            yield compare(f"{name}/normal_normalised", unit, z["normal_normalised"], NETWORK)
            found = given(lambda p, hw: _whole_way(model, p, hw), prepared, size)
            yield compare(f"{name}/wrapper", found, z["normal_normalised"], 10 * NETWORK)


def _prepared(model: SapiensDense, bgr: NDArray[np.uint8]) -> NDArray[Any]:
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    box = np.array([[0, 0, rgb.shape[1], rgb.shape[0]]], np.float32)
    return model.prepare(ModelInput("golden", rgb, box, np.ones(1, np.float32))).tensors["image"]


def _label_checks(
    z: Fixture, model: SapiensDense, quick: SapiensDense, head: Any, size: Any, full: Any, lite: Any
) -> Iterator[Check]:
    """Labels where the best two logits are not as good as equal."""
    yield compare("seg/logits_at_original_size", full, z["logits_at_original_size"], NETWORK)
    certain = given(lambda margin: margin > 1e-3, z["margin"])
    labels = given(lambda h, hw, c: model.at_original(h, hw).numpy()[c], head, size, certain)
    theirs = given(lambda pred, c: pred[c], z["pred"], certain)
    yield share_different("seg/pred", labels, theirs, 0, "where the margin is > 1e-3")
    top = given(lambda maps: torch.sort(maps, dim=0, descending=True).values, lite)
    certain = given(lambda t: (t[0] - t[1] > 1e-3).numpy(), top)
    labels = given(lambda h, hw, c: quick.at_original(h, hw).numpy()[c], head, size, certain)
    yield share_different("seg/lite_pred", labels, given(lambda pred, c: pred[c], z["lite_pred"], certain), 0)


def _whole_way(model: SapiensDense, prepared: NDArray[Any], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Through the wrapper: network, both resizes, normalisation. Noise-like outputs make it worse conditioned."""
    frame = torch.tensor([(0, 0, *model.input_hw)])
    x = {"image": torch.from_numpy(prepared), "size_hw": torch.tensor([size_hw]), "inside": frame}
    normals: NDArray[np.float32] = model.finish({"map": model.forward(x)["map"][0:1].numpy()}, size_hw).normals_HW3
    return normals


def lite_pose_checks(folder: Path, name: str, catalog: Catalog) -> Iterator[Check]:
    """``lite_pose_preprocess``: the lite demo's crop of the same image and boxes."""
    z = load(folder / f"{name}.npz")
    model = wrapper(folder, "pose", "pose17", catalog.space("coco17"), "lite")

    def prepare(bgr: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Any:
        image = np.ascontiguousarray(bgr[..., ::-1])
        return model.prepare(ModelInput("golden", image, boxes, np.ones(len(boxes), np.float32)))

    prepared = given(prepare, z["image_bgr"], z["bbox_xyxy"])
    yield compare(f"{name}/center", given(lambda p: p.geometry[0], prepared), z["center"], GEOMETRY)
    yield compare(f"{name}/scale", given(lambda p: p.geometry[1], prepared), z["scale"], GEOMETRY)
    yield compare(f"{name}/size_wh", model.input_hw[::-1], z["size_wh"], 0)
    ours = given(lambda p: model.normalise(torch.from_numpy(p.tensors["crop"])).numpy(), prepared)
    error = given(lambda a, b: float(np.abs(a - b).mean()) * 57.0, ours, z["input"])
    if isinstance(error, Absent):
        yield skipped(f"{name}/input", error)
    else:
        yield Check(f"{name}/input", error, CROP_MEAN_LEVELS, "mean grey levels; OpenCV releases differ")
