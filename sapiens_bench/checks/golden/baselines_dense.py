"""Fixtures ``baselines/``, dense part: tiny networks in the published layouts, through the real wrappers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.cards.schema import InputSpec, SpaceCard, WeightFormat
from sapiens_bench.checks.golden.check import Absent, Check, compare, given, load, share_different, skipped
from sapiens_bench.checks.golden.fixture import MEAN, STD, context, input_spec
from sapiens_bench.models.depth_anything import DepthAnything
from sapiens_bench.models.exported import ExportedMaps
from sapiens_bench.models.hub_seg import Mask2Former, SegFormer, compose
from sapiens_bench.models.onnx import OnnxMaps
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.parts.card_maps import CardMaps
from sapiens_bench.models.parts.whole_image import WholeImage
from sapiens_bench.models.pifuhd import build_generator
from sapiens_bench.models.sapiens2 import Sapiens2Dense, Sapiens2Pose, build
from sapiens_bench.models.sapiens2_load import config_arguments
from sapiens_bench.models.sapiens_v1 import BLUR_KERNEL
from sapiens_bench.pixels.affine import box_to_center_scale
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.types import ModelInput

NETWORK, KEYPOINT_PX, EXACT_INPUT = 1e-4, 1e-3, 1e-5
LABELS = 1e-3  # share of labels that may flip on ties across versions of the library
# The library resizes 8-bit pictures with torchvision, we with Pillow: one grey level, in normalised units.
ONE_LEVEL = 1.001 / (255 * 0.224)
# The library warps and resizes with torchvision in float32, the official code and we with OpenCV in 8 bit.
MEAN_LEVELS = 0.5
OUTPUT_OF = {"pose": "heatmaps", "seg": "logits", "normal": "normals", "depth": "pointmaps"}


def space(kind: str, size: int) -> SpaceCard:
    """A set of ``size`` nameless entries, each its own mirror image."""
    return SpaceCard(
        schema="space/1", id="golden", title="golden", kind=kind, source="fixture",  # type: ignore[arg-type]
        names=tuple(f"n{i}" for i in range(size)), flip_index=tuple(range(size)),
        sigmas=(0.1,) * size if kind == "keypoints" else (),
    )  # fmt: skip


def _picture(folder: Path) -> ModelInput:
    image = read_rgb(folder / "image.png")
    box = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    return ModelInput("golden", image, box, np.ones(1, np.float32))


def _network(model: WholeImage) -> Any:
    return getattr(model, "net")  # noqa: B009


@torch.inference_mode()
def depth_anything_checks(folder: Path, name: str) -> Iterator[Check]:
    """``depth_anything``: input, network, and both ways back to the picture's size."""
    z, x = load(folder / f"{name}.npz"), _picture(folder)
    options = {"depth_kind": "affine_invariant_inverse_depth", "upsample": "bicubic"}
    path = folder / "depth_anything"
    model = DepthAnything(context("depth_anything", "depth", path, "hf", input_spec(112, 112), None, options))
    yield compare(f"{name}/pixel_values", model.prepare(x).tensors["image"], z["pixel_values"], ONE_LEVEL)
    raw = given(lambda pixels: model.raw(torch.from_numpy(pixels)), z["pixel_values"])
    yield compare(f"{name}/predicted_depth", given(lambda r: r[:, 0], raw), z["predicted_depth"], NETWORK)
    size = (x.image_HW3.shape[0], x.image_HW3.shape[1])
    full = given(lambda d: model.at_original(torch.from_numpy(d)[None], size), z["predicted_depth"])
    yield compare(f"{name}/depth_full", full, z["depth_full"], NETWORK, "bicubic")


@torch.inference_mode()
def segformer_checks(folder: Path, name: str) -> Iterator[Check]:
    """``segformer``: input, logits, labels."""
    z, x = load(folder / f"{name}.npz"), _picture(folder)
    classes = space("labels", _n_labels(folder / "segformer"))
    model = SegFormer(context("segformer", "seg", folder / "segformer", "hf", input_spec(128, 128), classes))
    yield compare(f"{name}/pixel_values", model.prepare(x).tensors["image"], z["pixel_values"], ONE_LEVEL)
    raw = given(lambda pixels: model.raw(torch.from_numpy(pixels)), z["pixel_values"])
    yield compare(f"{name}/logits", raw, z["logits"], NETWORK)
    size = (x.image_HW3.shape[0], x.image_HW3.shape[1])
    labels = given(lambda r: model.at_original(r, size).numpy(), raw)
    yield share_different(f"{name}/seg_full", labels, z["seg_full"], LABELS)


def _n_labels(folder: Path) -> int:
    """Classes of a hub folder."""
    return len(json.loads((folder / "config.json").read_text())["id2label"])


@torch.inference_mode()
def mask2former_checks(folder: Path, name: str) -> Iterator[Check]:
    """``mask2former``: input, queries, labels composed at full size."""
    z, x = load(folder / f"{name}.npz"), _picture(folder)
    classes = space("labels", _n_labels(folder / "mask2former"))
    model = Mask2Former(context("mask2former", "seg", folder / "mask2former", "hf", input_spec(96, 64), classes))
    yield compare(f"{name}/pixel_values", model.prepare(x).tensors["image"], z["pixel_values"], ONE_LEVEL)
    queries = given(lambda pixels: model.queries(torch.from_numpy(pixels)), z["pixel_values"])
    found, masks = (given(lambda q, i=i: q[i], queries) for i in (0, 1))
    expected = given(lambda c: torch.from_numpy(c).softmax(-1)[..., :-1], z["class_logits"])
    yield compare(f"{name}/class_logits", found, expected, NETWORK, "after softmax")
    yield compare(f"{name}/mask_logits", masks, z["mask_logits"], NETWORK)
    size = (x.image_HW3.shape[0], x.image_HW3.shape[1])
    labels = given(lambda f, m: compose(f[0], m[0], size).numpy(), found, masks)
    yield share_different(f"{name}/seg_full", labels, z["seg_full"], LABELS)


def sapiens2(folder: Path, scratch: Path, fixture: str) -> Sapiens2Pose | Sapiens2Dense:
    """The wrapper of a tiny network, from an official-layout file made of the stored backbone and head."""
    from safetensors.torch import load_file, save_file

    task = "depth" if fixture == "pointmap" else fixture
    state = {f"backbone.{k}": v for k, v in load_file(folder / "sapiens2_tiny_backbone.safetensors").items()}
    state |= load_file(folder / f"sapiens2_tiny_{fixture}_head.safetensors")
    path = scratch / f"sapiens2_tiny_{fixture}.safetensors"
    save_file(state, path)
    config = json.loads((folder / f"sapiens2_tiny_{fixture}.json").read_text())
    output = {"pose": "keypoints", "seg": "labels"}.get(fixture)
    entries = space(output, len(config["id2label"])) if output else None
    options = {"depth_kind": "scale_invariant_depth"} if task == "depth" else {}
    height, width = config["image_size"]
    return build(context("sapiens2", task, path, "safetensors", input_spec(height, width), entries, options))


@torch.inference_mode()
def sapiens2_checks(folder: Path, name: str) -> Iterator[Check]:
    """``sapiens2_tiny``: the official files through the library's classes, with sizes read off the tensors."""
    from safetensors.torch import load_file

    z = load(folder / f"{name}.npz")
    image = given(lambda pixels: torch.from_numpy(pixels.astype(np.float32)), z["pixel_values"])
    with tempfile.TemporaryDirectory() as scratch:
        for fixture in ("pose", "seg", "normal", "pointmap"):
            model = sapiens2(folder, Path(scratch), fixture)
            config = json.loads((folder / f"sapiens2_tiny_{fixture}.json").read_text())
            state = load_file(Path(scratch) / f"sapiens2_tiny_{fixture}.safetensors")
            ours = config_arguments(state, (config["image_size"][0], config["image_size"][1]))
            head = ours.pop("head_config")
            wrong = [k for k, v in ours.items() if config[k] != v]
            wrong += [k for k, v in head.items() if config["head_config"][k] != v]
            yield Check(f"{name}/{fixture}_config", float(len(wrong)), 0, ", ".join(wrong))
            out = given(model.net, image)
            maps = given(lambda o, key=OUTPUT_OF["depth" if fixture == "pointmap" else fixture]: o[key], out)
            yield compare(f"{name}/{fixture}", given(_as_stored, maps, z[fixture]), z[fixture], NETWORK)
            if fixture == "pointmap":
                yield compare(f"{name}/scale", given(lambda o: o.scales, out), z["scale"], NETWORK)


def _as_stored(maps: torch.Tensor, stored: NDArray[Any]) -> torch.Tensor:
    """Large maps are stored at every fourth pixel."""
    stride = 1 if maps.shape[-1] == stored.shape[-1] else 4
    return maps[..., ::stride, ::stride]


def sapiens2_processor_checks(folder: Path, name: str) -> Iterator[Check]:
    """``sapiens2_processor``: crops, padded resize and decoding of the library's processor beside ours."""
    z, x = load(folder / f"{name}.npz"), _picture(folder)
    boxes = np.array(json.loads((folder / "manifest.json").read_text())["boxes_xywh"], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    people = ModelInput("golden", x.image_HW3, boxes, np.ones(len(boxes), np.float32))
    with tempfile.TemporaryDirectory() as scratch:
        pose, normal = (sapiens2(folder, Path(scratch), fixture) for fixture in ("pose", "normal"))
    crops = pose.prepare(people).tensors["crop"].astype(np.float64)
    yield _mean_levels(f"{name}/pixel_values_boxes", crops, z["pixel_values_boxes"])
    assert isinstance(normal, Sapiens2Dense)
    fitted = normal.fit(x.image_HW3)
    padded = fitted.image_hw3.transpose(2, 0, 1)[None] * _column(STD) + _column(MEAN)
    yield _mean_levels(f"{name}/pixel_values_pad", padded, z["pixel_values_pad"])
    yield compare(f"{name}/pad_frame", fitted.inside[1::2], given(_filled, z["pixel_values_pad"]), 0)
    decoded = given(lambda maps: _decoded(maps.astype(np.float32), boxes), load(folder / "pose_decode.npz")["heatmaps"])
    # The library leaves a keypoint without a positive value at a place of its own.
    points, theirs = (
        given(lambda d, values: values[d[1] > 0], decoded, values)
        for values in (given(lambda d: d[0], decoded), z["post_keypoints"])
    )
    yield compare(f"{name}/post_keypoints", points, theirs, KEYPOINT_PX)
    yield compare(f"{name}/post_scores", given(lambda d: d[1], decoded), z["post_scores"], 1e-6)


def _filled(padded: NDArray[Any]) -> list[int]:
    """First and last column of the picture in its frame."""
    theirs = padded[0].astype(np.float32) * _column(STD)[0] + _column(MEAN)[0]
    columns = np.flatnonzero((theirs > 1).any(axis=(0, 1)))
    return [int(columns[0]), int(columns[-1]) + 1]


def _decoded(maps: NDArray[np.float32], boxes: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Keypoints in the picture and scores."""
    heat_wh, input_wh = (maps.shape[3], maps.shape[2]), (maps.shape[3] * 4, maps.shape[2] * 4)
    center, scale = box_to_center_scale(boxes, padding=1.25, aspect=input_wh[0] / input_wh[1])
    found = heatmaps.peaks(torch.from_numpy(maps), BLUR_KERNEL)
    keypoints = np.zeros((*maps.shape[:2], 2))
    score, patch = found.score_BK.numpy(), found.log_patch_BK33.numpy()
    for i in range(len(maps)):
        location = heatmaps.refine(found.xy_BK2[i].numpy(), score[i], patch[i])
        in_input = heatmaps.to_input_space(location, heat_wh, input_wh)
        keypoints[i] = heatmaps.to_image_space(in_input, input_wh, center[i], scale[i])
    return keypoints, score


def _column(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def _mean_levels(item: str, ours: NDArray[Any], normalised: NDArray[Any] | Absent) -> Check:
    if isinstance(normalised, Absent):
        return skipped(item, normalised)
    theirs = normalised.astype(np.float32) * _column(STD) + _column(MEAN)
    error = float(np.abs(ours - theirs).mean()) if ours.shape == theirs.shape else float("inf")
    return Check(item, error, MEAN_LEVELS, "mean grey levels; other resize filter")


@torch.inference_mode()
def pifuhd_checks(folder: Path, name: str) -> Iterator[Check]:
    """``pifuhd_netF_tiny``: the generator."""
    z = load(folder / f"{name}.npz")
    net = build_generator(folder / f"{name.removesuffix('_io')}.safetensors")
    yield compare(f"{name}/output", given(lambda x: net(torch.from_numpy(x)), z["input"]), z["output"], NETWORK)


@torch.inference_mode()
def export_checks(folder: Path, name: str) -> Iterator[Check]:
    """``dense_*``: the three ONNX files and the two torch programs, with the options of ``cards.json``."""
    z, x = load(folder / f"{name}.npz"), _picture(folder)
    cards = json.loads((folder / "cards.json").read_text())
    programs: list[tuple[str, str, WeightFormat]] = [(t, cards[t]["file"], "onnx") for t in ("seg", "depth", "normal")]
    programs += [
        ("depth", "dense_depth_tiny_torchscript.pt2", "torchscript"),
        ("depth", "dense_depth_tiny_export.pt2", "export"),
    ]
    for task, file, kind in programs:
        model = _exported(folder / file, task, kind, cards[task])
        item = f"{name}/{file}"
        prepared = model.prepare(x).tensors["image"]
        yield compare(f"{item}/input", prepared, z["input"], EXACT_INPUT)
        raw = given(lambda pixels, run=model: run.raw(torch.from_numpy(pixels)), z["input"])
        yield compare(f"{item}/raw", raw, z[f"{task}_raw"], NETWORK)
        size = (x.image_HW3.shape[0], x.image_HW3.shape[1])
        full = given(lambda r, run=model, hw=size: run.at_original(r, hw).numpy(), raw)
        if task == "seg":
            yield share_different(f"{item}/label", full, z["seg_label"], 0)
        else:
            yield compare(f"{item}/full", full, z[f"{task}_full"], NETWORK)


def _exported(path: Path, task: str, kind: WeightFormat, described: dict[str, Any]) -> CardMaps:
    card = described["input"]
    height, width = card["size_hw"]
    spec = InputSpec(
        height=height, width=width, mean=tuple(card["mean"]), std=tuple(card["std"]), channel_order=card["color"]
    )
    options = {"resize": card["resize"], "interpolation": card["interpolation"], "layout": card["layout"]}
    if task == "depth":
        options["depth_kind"] = "affine_invariant_depth"
    classes = space("labels", _n_channels(path)) if task == "seg" else None
    if kind == "onnx":
        return OnnxMaps(context("onnx", task, path, kind, spec, classes, options))
    return ExportedMaps(context("exported", task, path, kind, spec, classes, options))


def _n_channels(path: Path) -> int:
    """Channels of an ONNX network's first output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return int(session.get_outputs()[0].shape[1])
