"""Depth Anything, SegFormer and Mask2Former from offline folders: geometry, batches, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.errors import CheckpointRejected, WeightsMissing
from sapiens_bench.models import hub_seg
from sapiens_bench.models.depth_anything import DepthAnything, lower_bound
from sapiens_bench.models.hub_seg import Mask2Former, SegFormer, compose

INVERSE = "affine_invariant_inverse_depth"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


@pytest.fixture
def folders(shared: Path) -> Path:
    return shared / "golden" / "baselines"


def copied(source: Path, target: Path, **changes: Any) -> Path:
    """A model folder with other entries in its config.json."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    target.chmod(0o755)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return target


def depth(fake: ModuleType, folder: Path, **options: Any) -> DepthAnything:
    return DepthAnything(
        fake.context("depth_anything", folder, "depth", "hf", (112, 112), **{"depth_kind": INVERSE, **options})
    )


def test_the_shorter_side_is_never_below_the_least_size() -> None:
    assert lower_bound(480, 640, (518, 518), 14) == (518, 686)
    assert lower_bound(2000, 1000, (518, 518), 14) == (1036, 518)
    assert lower_bound(300, 400, (518, 518), 14) == (518, 686)  # the library would shrink this one to 392 x 518
    for h, w in ((37, 991), (1, 1), (2160, 3840), (517, 519)):
        tall, wide = lower_bound(h, w, (518, 518), 14)
        assert min(tall, wide) == 518
        assert tall % 14 == wide % 14 == 0


def test_depth_has_the_size_of_the_picture_and_its_kind(fake: ModuleType, folders: Path) -> None:
    (found,) = fake.predict(depth(fake, folders / "depth_anything"), [fake.picture(150, 110)])
    assert found.depth_HW.shape == (150, 110)
    assert found.depth_HW.dtype == np.float32
    assert found.kind == INVERSE
    assert found.depth_HW.std() > 0


def test_pictures_of_one_aspect_share_a_batch_and_do_not_touch_each_other(fake: ModuleType, folders: Path) -> None:
    model = depth(fake, folders / "depth_anything")
    pictures = [fake.picture(150, 110), fake.picture(300, 220)]
    for x, together in zip(pictures, fake.predict(model, pictures)):
        (alone,) = fake.predict(model, [x])
        np.testing.assert_allclose(together.depth_HW, alone.depth_HW, atol=1e-4)


def test_dpt_networks_are_stretched(fake: ModuleType, tmp_path: Path) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4, is_hybrid=False,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(tmp_path / "dpt")
    model = DepthAnything(fake.context("depth_anything", tmp_path / "dpt", "depth", "hf", (32, 32), depth_kind=INVERSE))
    x = fake.picture(90, 40)
    assert model.prepare(x).tensors["image"].shape == (1, 3, 32, 32)
    assert fake.predict(model, [x])[0].depth_HW.shape == (90, 40)


def test_a_metric_network_under_a_relative_card_is_refused_and_the_reverse(
    fake: ModuleType, folders: Path, tmp_path: Path
) -> None:
    metric = copied(folders / "depth_anything", tmp_path / "m", depth_estimation_type="metric", max_depth=20)
    with pytest.raises(CheckpointRejected, match="metric network"):
        depth(fake, metric)
    with pytest.raises(CheckpointRejected, match="relative network"):
        depth(fake, folders / "depth_anything", depth_kind="metric_depth")
    (found,) = fake.predict(depth(fake, metric, depth_kind="metric_depth"), [fake.picture(60, 60)])
    assert 0 <= found.depth_HW.min() <= found.depth_HW.max() <= 20


def test_folders_of_other_networks_and_damaged_ones_are_refused(
    fake: ModuleType, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointRejected, match="'segformer' model"):
        depth(fake, folders / "segformer")
    with pytest.raises(WeightsMissing, match="its card names no weight file"):
        DepthAnything(fake.context("depth_anything", None, "depth", "hf", (112, 112), depth_kind=INVERSE))
    with pytest.raises(CheckpointRejected, match=r"config\.json"):
        depth(fake, tmp_path)
    cut = copied(folders / "depth_anything", tmp_path / "cut")
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").chmod(0o644)
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointRejected, match="cannot be loaded"):
        depth(fake, cut)


@pytest.mark.parametrize(("fault", "message"), [("missing", "missing keys"), ("nan", "NaN")])
def test_nothing_is_left_random_and_nan_is_refused(
    fake: ModuleType, folders: Path, tmp_path: Path, fault: str, message: str
) -> None:
    folder = copied(folders / "depth_anything", tmp_path / fault)
    (folder / "model.safetensors").chmod(0o644)
    state = load_file(folder / "model.safetensors")
    name = next(n for n in state if n.endswith("head.conv1.weight"))
    if fault == "missing":
        del state[name]
    else:
        state[name].view(-1)[0] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointRejected, match=message):
        depth(fake, folder)


def test_a_layer_that_is_never_computed_may_be_absent(fake: ModuleType, folders: Path, tmp_path: Path) -> None:
    folder = copied(folders / "depth_anything", tmp_path / "published")
    (folder / "model.safetensors").chmod(0o644)
    state = load_file(folder / "model.safetensors")
    kept = {n: t for n, t in state.items() if not n.startswith("neck.fusion_stage.layers.0.residual_layer1.")}
    assert len(kept) == len(state) - 4
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    x = fake.picture(112, 112)
    whole, partial = (fake.predict(depth(fake, f), [x])[0] for f in (folders / "depth_anything", folder))
    np.testing.assert_array_equal(whole.depth_HW, partial.depth_HW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": "x"}, "cannot be loaded"),
        ({"fusion_hidden_size": 16}, "mismatched keys"),
        ({"backbone_config": {"model_type": "nope"}}, "cannot be loaded"),
        ({"backbone": "somebody/encoder", "backbone_config": None}, "'backbone', for which the library would fetch"),
        ({"use_pretrained_backbone": True}, "use_pretrained_backbone"),
        ({"backbone_config": {"quantization_config": {"quant_method": "x"}}}, r"backbone_config\.quantization_config"),
        ({"model_type": ["a"]}, "needs 'depth_anything'"),
    ],
)
def test_a_configuration_that_lies_or_reaches_beyond_the_folder_is_refused(
    fake: ModuleType, folders: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointRejected, match=message):
        depth(fake, copied(folders / "depth_anything", tmp_path / "changed", **change))


def test_a_pickle_in_the_folder_is_never_opened(fake: ModuleType, folders: Path, tmp_path: Path) -> None:
    folder = copied(folders / "depth_anything", tmp_path / "pickle")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointRejected, match="cannot be loaded"):
        depth(fake, folder)


@pytest.mark.parametrize(
    ("wrapper", "name", "classes", "size"),
    [(SegFormer, "segformer", 18, (128, 128)), (Mask2Former, "mask2former", 28, (96, 64))],
)
def test_labels_of_pictures_in_one_batch_are_those_of_each_alone(
    fake: ModuleType, folders: Path, wrapper: Any, name: str, classes: int, size: tuple[int, int]
) -> None:
    model = wrapper(fake.context(name, folders / name, "seg", "hf", size, fake.space("labels", classes)))
    pictures = [fake.picture(150, 110), fake.picture(70, 130)]
    for x, together in zip(pictures, fake.predict(model, pictures)):
        (alone,) = fake.predict(model, [x])
        assert together.labels_HW.shape == x.image_HW3.shape[:2]
        assert together.labels_HW.max() < classes
        assert (together.labels_HW == alone.labels_HW).mean() > 0.999
    with pytest.raises(CheckpointRejected, match="classes, the label set of tiny has 5"):
        fake.predict(wrapper(fake.context(name, folders / name, "seg", "hf", size, fake.space("labels", 5))), pictures)


def test_a_thin_mask_survives_composition_at_full_size() -> None:
    classes = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    masks = torch.full((2, 100, 4), 8.0)
    masks[0, 50], masks[1] = -8.0, -8.0
    masks[1, 50] = 8.0  # class 1 on one row of a hundred
    labels = compose(classes, masks, (100, 4))
    assert labels[50].unique().tolist() == [1]
    assert int((labels == 1).sum()) == 4


@pytest.mark.parametrize("tile", [1, 3000, 1 << 20])  # a row at a time, some, and all at once
def test_masks_composed_a_few_rows_at_a_time_give_the_labels_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    monkeypatch.setattr(hub_seg, "TILE", tile)
    torch.manual_seed(0)
    classes, masks = torch.randn(6, 4).mul(3).softmax(-1), torch.randn(6, 9, 7) * 4
    for size in ((31, 44), (5, 3), (1, 1)):
        at_size = torch.nn.functional.interpolate(masks[None], size, mode="bilinear")[0].sigmoid()
        scores = torch.einsum("qc,qhw->chw", classes, at_size)
        first, second = scores.topk(2, dim=0).values
        differ = compose(classes, masks, size) != scores.argmax(0)
        assert not differ[first - second > 1e-4].any()
    masks[2, 4, 3] = torch.nan
    labels = compose(classes, masks, (90, 70))
    assert (labels == 255).any()
    assert (labels[:30] < 4).all()
