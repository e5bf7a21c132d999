"""Sapiens v1 networks: sizes, position tables, and what a checkpoint is told to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.options import SapiensV1Options
from sapiens_bench.models.sapiens_load import build_network, describe, load_encoder
from sapiens_bench.models.sapiens_net import (
    SIZES,
    Encoder,
    EncoderConfig,
    HeadConfig,
    HeadKind,
    SapiensNet,
    adapt_position_table,
    encoder_config,
    head_config,
    on_meta,
    resize_position_table,
)

TINY = EncoderConfig(32, 2, 4, 128, (8, 6), 2)
VALUES: dict[HeadKind, tuple[int, tuple[int, ...]]] = {  # outputs, published value counts of the four sizes
    "pose": (308, (329_682_740, 661_180_980, 1_168_893_236, 2_166_391_220)),
    "seg": (28, (339_495_196, 670_993_436, 1_178_705_692, 2_176_203_676)),
    "depth": (1, (319_910_017, 649_835_393, 1_155_974_785, 2_151_113_473)),
    "normal": (3, (339_475_971, 670_974_211, 1_178_686_467, 2_176_184_451)),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("i", range(4))
def test_every_size_and_task_has_the_published_number_of_values(kind: HeadKind, i: int) -> None:
    outputs, counts = VALUES[kind]
    net = on_meta(encoder_config(list(SIZES)[i]), head_config(kind, outputs))
    assert sum(p.numel() for p in net.parameters()) == counts[i]


def test_names_and_shapes_are_those_of_the_official_files(shared: Path) -> None:
    layouts = json.loads((shared / "reference" / "sapiens_v1_state_dict_layout.json").read_text())["layouts"]
    tasks: dict[str, tuple[HeadKind, int]] = {
        "pose17": ("pose", 17), "pose133": ("pose", 133), "pose308": ("pose", 308), "seg28": ("seg", 28),
        "depth": ("depth", 1), "normal": ("normal", 3),
    }  # fmt: skip
    seen = 0
    for name, layout in layouts.items():
        task, size = name.split("/")
        if task not in tasks:
            continue
        keys = layout["tensors"]
        net = on_meta(encoder_config(size), head_config(*tasks[task]))
        ours = {k: list(v.shape) for k, v in net.state_dict().items()}
        wanted = {}
        for key, shape in keys.items():
            names = [key.format(i=i) for i in range(SIZES[size][1])] if "{i}" in key else [key]
            wanted |= dict.fromkeys(names, shape)
        assert ours == wanted, name
        seen += 1
    assert seen == 24


def tiny(kind: HeadKind, outputs: int) -> SapiensNet:
    torch.manual_seed(0)
    deconv = {"pose": 2, "depth": 4}.get(kind, 3)
    return SapiensNet(TINY, HeadConfig(kind, (16,) * deconv, (16,) * 2, outputs)).eval()


@pytest.mark.parametrize(("kind", "outputs", "says"), [
    ("pose", 17, "17-keypoint pose"), ("seg", 28, "28-class"), ("depth", 1, "depth"), ("normal", 3, "normal"),
])  # fmt: skip
def test_a_checkpoint_is_described_by_its_tensors(kind: HeadKind, outputs: int, says: str, tmp_path: Path) -> None:
    found = describe(tiny(kind, outputs).state_dict(), tmp_path / "a.pth")
    assert (found.kind, found.outputs, found.width, found.depth) == (kind, outputs, 32, 2)
    assert says in str(found)


def test_a_loaded_network_gives_the_same_outputs(tmp_path: Path) -> None:
    net = tiny("pose", 17)
    path = tmp_path / "pose.safetensors"
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    loaded = build_network("pose", path, input_hw=(128, 96), outputs=17, options=SapiensV1Options(heads=4))
    x = torch.randn(2, 3, 128, 96)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), net(x))


@pytest.mark.parametrize(
    ("task", "outputs", "options", "says"),
    [
        ("depth", None, SapiensV1Options(heads=4), "17-keypoint pose"),
        ("pose", 308, SapiensV1Options(heads=4), "308 outputs"),
        ("pose", 17, SapiensV1Options(size="1b"), "size 1b"),
        ("pose", 17, SapiensV1Options(), "no published size"),
    ],
)
def test_a_checkpoint_of_another_task_or_size_is_refused(
    tmp_path: Path, task: HeadKind, outputs: int | None, options: SapiensV1Options, says: str
) -> None:
    path = tmp_path / "pose.safetensors"
    save_file({k: v.contiguous() for k, v in tiny("pose", 17).state_dict().items()}, path)
    with pytest.raises(CheckpointRejected, match=says):
        build_network(task, path, input_hw=(128, 96), outputs=outputs, options=options)


def test_patch_padding_changes_features_but_not_their_size() -> None:
    torch.manual_seed(0)
    padded = Encoder(TINY).eval()
    plain = Encoder(EncoderConfig(32, 2, 4, 128, (8, 6), 0)).eval()
    plain.load_state_dict(padded.state_dict())
    x = torch.randn(1, 3, 128, 96)
    with torch.inference_mode():
        a, b = padded(x), plain(x)
    assert a.shape == b.shape == (1, 32, 8, 6)
    assert (a - b).abs().max() > 1e-2


def test_resizing_a_position_table_to_its_own_grid_is_the_identity() -> None:
    table = torch.randn(1, 48, 8)
    torch.testing.assert_close(resize_position_table(table, (8, 6), (8, 6), class_token=False), table)


def test_a_pretraining_table_loses_its_class_row_and_is_resized() -> None:
    assert adapt_position_table(torch.randn(1, 17, 8), (8, 6)).shape == (1, 48, 8)
    kept = torch.randn(1, 49, 8)
    torch.testing.assert_close(adapt_position_table(kept, (8, 6)), kept[:, 1:])
    with pytest.raises(ValueError, match="square"):
        adapt_position_table(torch.randn(1, 12, 8), (8, 6))


def test_the_encoder_of_a_full_mae_file_is_found_below_its_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Encoder(EncoderConfig(32, 2, 4, 128, (4, 4), 0, class_token=True)).eval()
    state = {f"backbone.{k}": v for k, v in net.state_dict().items()} | {"neck.mask_token": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "mae.pth")
    loaded = load_encoder(tmp_path / "mae.pth", heads=4)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), net(x))
