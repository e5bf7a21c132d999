"""ViTPose+: conversion of the authors' file, hub folders, options, and a whole run on real photographs."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sapiens_bench.api import evaluate, load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.errors import CardError, CheckpointRejected, UntrustedCheckpoint, WeightsMissing
from sapiens_bench.models.options import VitPoseOptions
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.vitpose import VitPose, heatmaps_of
from sapiens_bench.models.vitpose_convert import KEYPOINTS, load_official, merge_experts, on_meta, published
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.types import ModelInput

HW = (256, 192)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


@pytest.fixture
def official(shared: Path) -> Path:
    return shared / "golden" / "baselines" / "vitpose_plus_official_tiny.safetensors"


@pytest.fixture
def hub(shared: Path) -> Path:
    return shared / "golden" / "baselines" / "vitpose_hf_moe"


def of_folder(folder: Path, catalog: Catalog, hw: tuple[int, int] = HW, **options: Any) -> VitPose:
    return VitPose(context("vitpose", "pose", folder, "hf", input_spec(*hw), catalog.space("coco17"), options))


def of_file(path: Path, catalog: Catalog, space: str = "coco-wholebody133", **options: Any) -> VitPose:
    index = 5 if space == "coco-wholebody133" else 0
    form: Any = path.suffix.lstrip(".")
    options = {"dataset_index": index, "heads": 4, **options}
    return VitPose(context("vitpose", "pose", path, form, input_spec(*HW), catalog.space(space), options))


def people(n: int, seed: int = 0) -> ModelInput:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(30, 90, (n, 2))], axis=1).astype(np.float32)
    return ModelInput("k", rng.integers(0, 256, (120, 110, 3), np.uint8), boxes, np.full(n, 0.5, np.float32))


def predict(model: VitPose, x: ModelInput) -> Any:
    prepared = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({"crop": torch.from_numpy(prepared.tensors["crop"])})
    return model.finish({name: value.numpy() for name, value in outputs.items()}, prepared.geometry)


def test_one_merged_network_equals_expert_and_head_of_every_data_set(official: Path) -> None:
    """Beside the fixture's data sets 0 and 5: shapes, and that no two data sets share their outputs."""
    image = torch.randn(1, 3, *HW, generator=torch.Generator().manual_seed(0))
    found = [heatmaps_of(load_official(official, index, HW, 4), image) for index in range(6)]
    assert [tuple(maps.shape) for maps in found] == [(1, k, 64, 48) for k in KEYPOINTS]
    first = [maps[0, 0] for maps in found]
    assert all(not torch.allclose(a, b) for i, a in enumerate(first) for b in first[:i])


def test_a_pth_with_padded_heads_and_metadata_gives_the_same_network(official: Path, tmp_path: Path) -> None:
    state = load_file(official)
    for name in [n for n in state if "final_layer" in n]:
        surplus = state[name].new_full((200 - len(state[name]), *state[name].shape[1:]), 9.0)
        state[name] = torch.cat([state[name], surplus])
    torch.save({"meta": {"epoch": 210}, "state_dict": state}, tmp_path / "vitpose+_tiny.pth")
    image = torch.randn(1, 3, *HW)
    for index in (0, 1, 5):
        clean = heatmaps_of(load_official(official, index, HW, 4), image)
        assert torch.equal(heatmaps_of(load_official(tmp_path / "vitpose+_tiny.pth", index, HW, 4), image), clean)


def test_the_file_of_a_single_data_set_needs_no_experts(official: Path, tmp_path: Path) -> None:
    """What the authors' split tool writes: one head under the first name, the expert already in place."""
    state = merge_experts(load_file(official), 5, official)
    head = "associate_keypoint_heads.4."
    split = {n: t for n, t in state.items() if n.startswith("backbone.")}
    split |= {n.replace(head, "keypoint_head."): t for n, t in state.items() if n.startswith(head)}
    save_file(split, tmp_path / "wholebody.safetensors")
    image = torch.randn(1, 3, *HW)
    wanted = heatmaps_of(load_official(official, 5, HW, 4), image)
    assert torch.equal(heatmaps_of(load_official(tmp_path / "wholebody.safetensors", 5, HW, 4), image), wanted)


def test_a_head_without_deconvolutions_upsamples(official: Path, tmp_path: Path) -> None:
    state = {n: t for n, t in merge_experts(load_file(official), 0, official).items() if n.startswith("backbone.")}
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(17, 32, 3, 3, generator=generator)
    head = {"keypoint_head.final_layer.weight": weight, "keypoint_head.final_layer.bias": torch.arange(17.0)}
    save_file({**state, **head}, tmp_path / "simple.safetensors")
    net, image = load_official(tmp_path / "simple.safetensors", 0, HW, 4), torch.randn(1, 3, *HW)
    features = nn.functional.relu(net.backbone(image))
    large = nn.functional.interpolate(features, scale_factor=4, mode="bilinear", align_corners=False)
    wanted = nn.functional.conv2d(large, weight, torch.arange(17.0), padding=1)
    assert torch.allclose(heatmaps_of(net, image), wanted, atol=1e-4)


def drop(state: State, part: str) -> State:
    return {name: tensor for name, tensor in state.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: drop(s, "experts.5."), "no expert 5"),
        (lambda s: drop(s, "associate_keypoint_heads.4."), "no head 'associate_keypoint_heads.4'"),
        (lambda s: drop(s, "blocks.1.norm2"), "missing"),
        (lambda s: drop(s, "associate_keypoint_heads.4.deconv_layers.3"), "one deconvolution"),
        (lambda s: {**s, "backbone.extra": torch.ones(2)}, "unexpected"),
        (lambda s: {**s, "neck.weight": torch.ones(2)}, "unexpected"),
        (lambda s: {**s, "backbone.pos_embed": torch.zeros(1, 50, 32)}, "256 x 192 needs 193"),
        (lambda s: {**s, "backbone.last_norm.weight": torch.full((32,), math.nan)}, "NaN"),
        (lambda s: {f"student.{n}": t for n, t in s.items()}, "no ViTPose file"),
    ],
)
def test_files_that_do_not_fit_are_refused(official: Path, tmp_path: Path, change: Any, message: str) -> None:
    save_file(change(load_file(official)), tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointRejected, match=message):
        load_official(tmp_path / "bad.safetensors", 5, HW, 4)


def test_a_short_head_a_foreign_class_and_an_unknown_width_are_refused(official: Path, tmp_path: Path) -> None:
    state = drop(load_file(official), "associate_keypoint_heads.")
    save_file(state, tmp_path / "coco.safetensors")  # a single-data-set file of COCO
    with pytest.raises(CheckpointRejected, match="17 keypoints, COCO-WholeBody has 133"):
        load_official(tmp_path / "coco.safetensors", 5, HW, 4)
    with pytest.raises(CardError, match="heads"):
        load_official(official, 5, HW)
    torch.save({"state_dict": state, "hook": Catalog}, tmp_path / "foreign.pth")
    with pytest.raises(UntrustedCheckpoint):
        load_official(tmp_path / "foreign.pth", 0, HW, 4)


def test_hub_folders_are_merged_and_refused_when_they_do_not_fit(hub: Path, catalog: Catalog, tmp_path: Path) -> None:
    model = of_folder(hub, catalog)
    assert not any("experts" in name for name in model.net.state_dict())
    with pytest.raises(CheckpointRejected, match="256 x 192"):
        of_folder(hub, catalog, hw=(384, 288))
    folder = tmp_path / "hub"
    shutil.copytree(hub, folder)
    state = load_file(folder / "model.safetensors")
    save_file(drop(state, "layer.1.mlp.fc2"), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointRejected, match="missing"):
        of_folder(folder, catalog)
    (folder / "model.safetensors").write_bytes(b"<html>404</html>")
    with pytest.raises(CheckpointRejected):
        of_folder(folder, catalog)


def test_neighbours_in_a_batch_do_not_change_a_person(official: Path, hub: Path, catalog: Catalog) -> None:
    x = people(3)
    for model in (of_folder(hub, catalog), of_file(official, catalog), of_folder(hub, catalog, codec="plain")):
        together = predict(model, x)
        for i in range(3):
            one = ModelInput("k", x.image_HW3, x.boxes_xyxy_px[i : i + 1], x.box_scores[i : i + 1])
            alone = predict(model, one)
            np.testing.assert_allclose(alone.keypoint_scores_NK[0], together.keypoint_scores_NK[i], atol=1e-4)
            same = np.abs(alone.keypoints_NK2_px[0] - together.keypoints_NK2_px[i]).max(axis=1) < 0.05
            assert same.mean() > 0.9  # peaks of noise may swap places after the last bit


def by_whole_maps(maps_KHW: Any) -> Any:
    """ViTPose's refinement as it is described: blur every map in full, clip, logarithm, one Newton step."""
    found = []
    for heatmap in maps_KHW:
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        logs = np.log(np.clip(cv2.GaussianBlur(heatmap, (11, 11), 0), 1e-3, 50.0))
        p = np.pad(logs, 1, mode="edge")[y : y + 3, x : x + 3].astype(np.float64)
        gradient = np.array([p[1, 2] - p[1, 0], p[2, 1] - p[0, 1]]) / 2
        cross = (p[2, 2] - p[1, 2] - p[2, 1] + 2 * p[1, 1] - p[1, 0] - p[0, 1] + p[0, 0]) / 2
        curvature = np.array([[p[1, 2] - 2 * p[1, 1] + p[1, 0], cross], [cross, p[2, 1] - 2 * p[1, 1] + p[0, 1]]])
        step = np.linalg.solve(curvature + np.finfo(np.float32).eps * np.eye(2), gradient)
        found.append(np.array([x, y]) - step)
    return np.array(found)


def blobs(centers: Any, heights: Any, sigma: float = 2.0) -> Any:
    x, y = np.arange(48), np.arange(64)[:, None]
    return np.stack(
        [h * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for (cx, cy), h in zip(centers, heights)]
    ).astype(np.float32)


def test_decoding_in_a_window_equals_the_blur_of_whole_maps_up_to_the_border() -> None:
    rng = np.random.default_rng(3)
    corners = [[0, 0], [47, 63], [0.4, 30.2], [46.7, 1.1], [24.3, 62.6]]
    centers = np.concatenate([corners, rng.uniform([0, 0], [47, 63], (60, 2))])
    maps = blobs(centers, np.concatenate([np.ones(5), rng.uniform(0.004, 1.2, 60)]))
    maps += rng.uniform(0, 1e-4, maps.shape).astype(np.float32)
    found = heatmaps.peaks(torch.from_numpy(maps[None]), 11, "vitpose")
    ours = heatmaps.refine(found.xy_BK2[0].numpy(), found.score_BK[0].numpy(), found.log_patch_BK33[0].numpy())
    np.testing.assert_allclose(ours, by_whole_maps(maps), atol=1e-3)


def test_a_map_below_the_clip_bound_stays_at_its_maximum_and_a_negative_one_is_nowhere() -> None:
    """The old maximum is not restored, so a faint blob is flat after clipping: no step, unlike MMPose 1.x."""
    maps = torch.from_numpy(blobs([[20.3, 30.4], [20.3, 30.4]], [9e-4, 1.0]))
    maps[1] = -0.5
    found = heatmaps.peaks(maps[None], 11, "vitpose")
    ours = heatmaps.refine(found.xy_BK2[0].numpy(), found.score_BK[0].numpy(), found.log_patch_BK33[0].numpy())
    np.testing.assert_array_equal(ours, [[20, 30], [-1, -1]])


def test_quarter_steps_point_to_the_higher_neighbour_and_stop_at_the_border() -> None:
    maps = torch.from_numpy(blobs([[20.3, 30.4], [19.8, 30.0], [1.2, 30.4], [20.0, 63.0]], [1.0, 0.5, 1.0, 0.2]))
    xy, score = heatmaps.quarter_steps(torch.stack([maps, -maps - 1]))
    np.testing.assert_array_equal(xy[0], [[20.25, 30.25], [19.75, 30.0], [1.0, 30.0], [20.0, 63.0]])
    assert torch.equal(xy[1], -torch.ones(4, 2))
    assert torch.equal(score[0], maps.amax(dim=(1, 2)))


def test_nobody_in_the_picture_gives_an_empty_prediction(hub: Path, catalog: Catalog) -> None:
    model = of_folder(hub, catalog)
    prepared = model.prepare(people(0))
    assert prepared.tensors["crop"].shape == (0, 3, *HW)
    assert model.finish({}, prepared.geometry).keypoints_NK2_px.shape == (0, 17, 2)


@pytest.mark.parametrize("codec", ["udp", "plain"])
def test_the_flip_test_makes_a_mirrored_person_the_mirror_image(hub: Path, catalog: Catalog, codec: str) -> None:
    """Maps with the flip test are equal for a crop and its mirror image, up to the codec's shift of one pixel."""
    model = of_folder(hub, catalog, codec=codec)
    image = torch.randn(2, 3, *HW, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        straight, mirrored = model.answers(image)[0], model.answers(image.flip(-1))[0]
    back = mirrored.flip(-1)[:, torch.as_tensor(model.flip_index)]
    if codec == "udp":
        assert torch.allclose(straight, back, atol=1e-5)
    else:
        with torch.inference_mode():
            plain = heatmaps_of(model.net, image)
            other = heatmaps_of(model.net, image.flip(-1)).flip(-1)[:, torch.as_tensor(model.flip_index)]
        assert torch.allclose(straight[..., 1:], (plain[..., 1:] + other[..., :-1]) / 2, atol=1e-5)
        assert torch.allclose(straight[..., 0], (plain[..., 0] + other[..., 0]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset_index": 1}, "14 keypoints"),
        ({"dataset_index": 3}, "head of data set 0 alone"),
    ],
)
def test_data_sets_that_do_not_go_with_the_card_are_refused(
    hub: Path, catalog: Catalog, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CardError, match=message):
        of_folder(hub, catalog, **options)


def test_published_sizes_have_the_published_parameter_counts(catalog: Catalog) -> None:
    for name in ("vitpose-plus-b-wholebody", "vitpose-plus-l-wholebody", "vitpose-plus-h-wholebody"):
        variant = catalog.model(name).variant
        net = on_meta(published(variant.options["size"], 133, HW))
        millions = sum(p.numel() for p in net.parameters()) / 1e6
        assert round(millions, 2) == variant.params_m
    with pytest.raises(CardError, match="giant"):
        published("giant", 133, HW)
    with pytest.raises(WeightsMissing, match="weights get"):
        load_model("vitpose-plus-b-wholebody")


def test_without_weights_only_a_network_to_profile_is_built(catalog: Catalog, hub: Path) -> None:
    given = context("vitpose", "pose", hub, "hf", input_spec(*HW), catalog.space("coco17"))
    with pytest.raises(WeightsMissing, match="size"):
        VitPose(dataclasses.replace(given, weights=None))
    model = VitPose(dataclasses.replace(given, weights=None, options=VitPoseOptions(size="small"), device="meta"))
    assert all(parameter.is_meta for parameter in model.net.parameters())


def write_cards(folder: Path) -> Path:
    folder.mkdir()
    common = {
        "schema": "model/1", "task": "pose", "licence": {"name": "none"}, "wrapper": "vitpose", "trained_on": "nothing",
        "input": {"height": 256, "width": 192, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
    }  # fmt: skip
    hub = {"file": "tiny-hub", "format": "hf", "sha256": None,
           "get": {"how": "a fixture", "hub": {"repo": "nobody/tiny-hub"}}}  # fmt: skip
    file = {"file": "vitpose+_tiny.pth", "format": "pth", "sha256": None, "get": {"how": "a fixture"}}
    for identity, space, weights, options in (
        ("tiny-hub", "coco17", hub, {"dataset_index": 0}),
        ("tiny-whole", "coco-wholebody133", file, {"dataset_index": 5, "heads": 4}),
    ):
        variant = {"id": identity, "title": identity, "weights": weights, "options": options}
        card = {**common, "id": f"{identity}-family", "title": identity, "space": space, "variants": [variant]}
        (folder / f"{identity}.yaml").write_text(json.dumps(card))
    return folder


def test_both_forms_run_from_the_local_cache_and_the_weight_folder_on_real_photographs(
    shared: Path, hub: Path, official: Path, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "cache" / "models--nobody--tiny-hub"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):  # as the hub's client lays it out
        shutil.copy(hub / name, repository / "blobs" / name)
        (snapshot / name).symlink_to(repository / "blobs" / name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save({"state_dict": load_file(official)}, weights / "vitpose+_tiny.pth")
    request: dict[str, Any] = {
        "task": "pose", "data_root": shared / "data" / "coco", "weights_root": weights, "device": "cpu", "n_boot": 0,
        "cards": (write_cards(tmp_path / "cards"),), "workers": 1,
    }  # fmt: skip
    direct = {"tiny-hub": of_folder(hub, catalog), "tiny-whole": of_file(official, catalog)}
    for name, dataset in (("tiny-hub", "coco-val2017"), ("tiny-whole", "coco-wholebody-val")):
        (cell,) = evaluate(models=(name,), datasets=(dataset,), out=tmp_path / name, **request).cells
        assert (cell.model, cell.status, cell.counts.ok) == (name, "done", 4)
        stored = read_predictions(tmp_path / name / "preds" / cell.task / cell.dataset / cell.protocol / cell.model)
        for key, columns in stored:
            boxes = np.asarray(columns["boxes"], np.float32).reshape(-1, 4)
            image = read_rgb(shared / "data/coco/val2017" / f"{Path(key).stem}.jpg")
            alone = predict(direct[name], ModelInput(key, image, boxes, np.ones(len(boxes), np.float32)))
            scores = np.asarray(columns["keypoint_scores"]).reshape(len(boxes), -1)
            np.testing.assert_allclose(scores, alone.keypoint_scores_NK, atol=1e-4)
            keypoints = np.asarray(columns["keypoints"]).reshape(len(boxes), -1, 2)
            assert (np.abs(keypoints - alone.keypoints_NK2_px).max(axis=2) < 0.5).mean() > 0.95
