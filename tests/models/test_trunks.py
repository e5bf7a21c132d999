"""Trunks that are not shipped: feature maps of timm networks and of Sapiens encoders, and what is refused."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.errors import CheckpointRejected, UnknownName, UsageError, WeightsMissing
from sapiens_bench.models.parts.trunk_sapiens import Sapiens2Trunk, SapiensTrunk
from sapiens_bench.models.parts.trunks import Trunk, open_trunk
from sapiens_bench.models.sapiens_load import load_encoder
from sapiens_bench.models.sapiens_net import Encoder, EncoderConfig

HW = (96, 64)
RANDOM = Path("random")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def image(n: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *HW), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_timm_networks_answer_as_their_taps_say(name: str) -> None:
    trunk = open_trunk(f"timm:{name}", RANDOM, input_hw=HW)
    with torch.inference_mode():
        maps = trunk(image())
    assert [tuple(m.shape) for m in maps] == [
        (2, tap.channels, HW[0] // tap.stride, HW[1] // tap.stride) for tap in trunk.taps
    ]
    assert "drawn at random" in " ".join(trunk.notes)
    assert trunk.identity.startswith("random")


VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2}
FAMILIES = {  # a network of each, with what makes it tiny, and a portrait input
    "vit_small_patch14_dinov2": (VIT, (112, 84)),
    "vit_small_patch16_dinov3": (VIT, (96, 64)),
    "vit_base_patch16_224.mae": (VIT, (96, 64)),
    "aimv2_large_patch14_224": (VIT, (112, 84)),
    "hiera_tiny_224": ({"embed_dim": 16, "stages": (1, 1, 1, 1)}, (128, 96)),
    "convnext_atto": ({"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}, (96, 64)),
    "swin_tiny_patch4_window7_224": ({"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}, (64, 64)),
}


def tiny(monkeypatch: pytest.MonkeyPatch, name: str) -> Trunk:
    import timm

    small, hw = FAMILIES[name]
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **small))
    return open_trunk(f"timm:{name}", RANDOM, input_hw=hw)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_gives_maps_of_a_portrait_input_and_says_what_it_was_made_for(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    height, width = FAMILIES[name][1]
    trunk = tiny(monkeypatch, name)
    with torch.inference_mode():
        maps = trunk(torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8))
    assert [tuple(m.shape) for m in maps] == [
        (2, tap.channels, height // tap.stride, width // tap.stride) for tap in trunk.taps
    ]
    assert f"Input {height}x{width}; its weights were made for" in " ".join(trunk.notes)


def test_channels_come_first_where_a_map_is_as_high_and_wide_as_it_has_channels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Swin answers rows, columns, channels: 16 of each here, so that no size gives the order away."""
    trunk = tiny(monkeypatch, "swin_tiny_patch4_window7_224")
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    changed = image.clone()
    changed[:, :, :4] = 255
    with torch.inference_mode():
        first, other = trunk(image)[0], trunk(changed)[0]
    assert first.shape == (1, 16, 16, 16)
    moved = (first - other).abs()
    assert float(moved.sum((1, 3))[0, 8:].max()) == 0  # rows below the change, as attention looks at windows of 7
    assert int((moved.sum((2, 3)) > 0).sum()) == 16  # every channel


def test_a_timm_file_is_read_and_its_position_table_brought_to_the_input(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(3)
    state = timm.create_model("test_vit", pretrained=False).state_dict()
    path = tmp_path / "vit.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    trunk = open_trunk("timm:test_vit", path, input_hw=HW)
    table = trunk.get_parameter("net.model.pos_embed")
    assert table.shape[1] != state["pos_embed"].shape[1]
    mine = trunk.get_parameter("net.model.blocks.0.mlp.fc1.weight")
    assert torch.equal(mine, state["blocks.0.mlp.fc1.weight"])
    assert "its weights were made for 160x160" in " ".join(trunk.notes)


def test_a_file_of_another_timm_network_is_refused(tmp_path: Path) -> None:
    import timm

    path = tmp_path / "other.safetensors"
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    with pytest.raises(CheckpointRejected, match="is not of timm:test_vit"):
        open_trunk("timm:test_vit", path, input_hw=HW)


@pytest.mark.parametrize(
    ("name", "weights", "kind", "says"),
    [
        ("timm:test_vit", None, WeightsMissing, "needs --backbone-weights FILE"),
        ("timm:nothing_like_it", RANDOM, UnknownName, "nothing_like_it"),
        ("timm:crossvit_9_240", RANDOM, UsageError, "both sides must be multiples of"),
        ("sapiens-9b", None, UnknownName, "sapiens-9b"),
        ("movenet-thunder", RANDOM, UsageError, "shipped with the package"),
    ],
)
def test_trunks_that_cannot_be_are_refused(name: str, weights: Path | None, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        open_trunk(name, weights, input_hw=HW)
    assert says in str(caught.value)


@pytest.mark.parametrize("raised", [RuntimeError, AttributeError, ValueError, AssertionError, TypeError])
def test_a_network_without_dense_features_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    """timm says so in many ways; its networks come and go, so one that answers as they do stands in."""
    import timm

    def refuses(name: str, **options: object) -> None:
        raise raised("features_only not implemented for this model")

    monkeypatch.setattr(timm, "create_model", refuses)
    with pytest.raises(UsageError, match=r"timm:test_vit gives no feature maps \(features_only not implemented"):
        open_trunk("timm:test_vit", RANDOM, input_hw=HW)


def test_without_timm_its_networks_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"timm:test_vit needs timm: pip install 'sapiens-vision-bench\[probe\]'"):
        open_trunk("timm:test_vit", RANDOM, input_hw=HW)


def test_an_input_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 16"):
        open_trunk("timm:test_vit", RANDOM, input_hw=(100, 64))


def test_the_last_map_of_a_sapiens_trunk_is_what_its_encoder_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(32, 4, 2, 128, (4, 4), class_token=True))
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "encoder.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, path)
    trunk = SapiensTrunk(path, HW, heads=2)
    reference = load_encoder(path, heads=2, task_grid_hw=(6, 4))
    pixels = image()
    with torch.inference_mode():
        maps = trunk(pixels)
        wanted = reference((pixels.float() - trunk.mean) / trunk.deviation)
    assert [tap.name for tap in trunk.taps] == ["layer1", "layer2", "layer3", "layer4"]
    assert torch.equal(maps[-1], wanted)
    assert trunk.layer_name("encoder.layers.3.ln1.weight") == "backbone.layers.3.ln1.weight"


def test_a_sapiens2_file_is_a_trunk_of_four_maps(shared: Path) -> None:
    path = shared / "golden" / "baselines" / "sapiens2_tiny_backbone.safetensors"
    trunk = Sapiens2Trunk(path, HW)
    with torch.inference_mode():
        maps = trunk(image(1))
    width = load_file(path)["patch_embed.projection.weight"].shape[0]
    assert [tuple(m.shape) for m in maps] == [(1, width, HW[0] // 16, HW[1] // 16)] * len(trunk.taps)


def test_a_file_of_another_size_than_the_name_says_is_refused(tmp_path: Path) -> None:
    encoder = Encoder(EncoderConfig(1024, 1, 16, 64, (4, 4)))
    state = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    path = tmp_path / "encoder.safetensors"
    save_file(state, path)
    assert open_trunk("sapiens-0.3b", path, input_hw=HW).taps[-1].channels == 1024
    with pytest.raises(CheckpointRejected, match=r"has width 1024; sapiens-0\.6b has 1280"):
        open_trunk("sapiens-0.6b", path, input_hw=HW)


@pytest.fixture
def tiny_maws(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A small encoder in the layout of the authors' files, and its state at their 14 x 14 places."""
    from timm.models.vision_transformer import VisionTransformer

    from sapiens_bench.models.parts import trunk_maws

    monkeypatch.setitem(trunk_maws.SIZES, "vit_b16", (16, 32, 8, 2))
    torch.manual_seed(1)
    net = VisionTransformer(img_size=224, patch_size=16, embed_dim=32, depth=8, num_heads=2, num_classes=0)
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("kind", ["maws", "maws_clip"])
def test_a_maws_file_gives_four_maps_of_its_own_tensors(
    tmp_path: Path, tiny_maws: dict[str, torch.Tensor], kind: str
) -> None:
    path = tmp_path / "vit_b16.pt"
    other = {"logit_scale": torch.ones(()), "text_encoder.x": torch.ones(3), "vision_projection": torch.ones(2, 2)}
    clip = {**{f"vision_encoder.{name}": tensor for name, tensor in tiny_maws.items()}, **other}
    torch.save(clip if kind == "maws_clip" else tiny_maws, path)
    trunk = open_trunk("maws:vit_b16", path, input_hw=(224, 224))
    with torch.inference_mode():
        maps = trunk(torch.full((1, 3, 224, 224), 128, dtype=torch.uint8))
    assert [tap.name for tap in trunk.taps] == ["layer2", "layer4", "layer6", "layer8"]
    assert torch.equal(trunk.get_parameter("net.pos_embed"), tiny_maws["pos_embed"])
    assert torch.equal(trunk.get_parameter("net.blocks.7.mlp.fc2.weight"), tiny_maws["blocks.7.mlp.fc2.weight"])
    portrait = open_trunk("maws:vit_b16", path, input_hw=HW)
    with torch.inference_mode():
        assert [tuple(m.shape) for m in portrait(image())] == [(2, 32, 6, 4)] * 4
    assert [tuple(m.shape) for m in maps] == [(1, 32, 14, 14)] * 4
    assert portrait.layer_name("net.blocks.3.norm1.weight") == "backbone.layers.3.norm1.weight"
    assert portrait.n_layers == 8


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", r"1 missing \(blocks\.7\.norm1\.bias\)"),
        ("more", r"1 unexpected \(head\.weight\)"),
        ("shape", r"blocks\.0\.attn\.qkv\.weight: \(96, 16\), not \(96, 32\)"),
        ("table", r"it has no pos_embed"),
        ("oblong", r"pos_embed: \(1, 13, 32\), not \(1, 10, 32\)"),
        ("nan", r"NaN or infinite weights: 1 in \(norm\.weight\)"),
    ],
)
def test_a_maws_file_that_fits_in_part_is_refused_by_name(
    tmp_path: Path, tiny_maws: dict[str, torch.Tensor], fault: str, says: str
) -> None:
    changed: dict[str, dict[str, torch.Tensor]] = {
        "more": {"head.weight": torch.ones(2, 32)},
        "shape": {"blocks.0.attn.qkv.weight": torch.ones(96, 16)},
        "oblong": {"pos_embed": torch.ones(1, 13, 32)},
        "nan": {"norm.weight": torch.full((32,), float("nan"))},
    }
    state = {**tiny_maws, **changed.get(fault, {})}
    for name in {"missing": ["blocks.7.norm1.bias"], "table": ["pos_embed"]}.get(fault, []):
        del state[name]
    path = tmp_path / "vit_b16.pt"
    torch.save(state, path)
    with pytest.raises(CheckpointRejected, match=says):
        open_trunk("maws:vit_b16", path, input_hw=HW)


def test_a_maws_encoder_without_a_file_or_of_no_such_size_is_refused(tiny_maws: dict[str, torch.Tensor]) -> None:
    assert "drawn at random" in " ".join(open_trunk("maws:vit_b16", RANDOM, input_hw=HW).notes)
    with pytest.raises(WeightsMissing, match="needs --backbone-weights FILE"):
        open_trunk("maws:vit_b16", None, input_hw=HW)
    with pytest.raises(WeightsMissing, match=r"gone\.pt is not there"):
        open_trunk("maws:vit_b16", Path("gone.pt"), input_hw=HW)
    with pytest.raises(UnknownName, match="vit_b16"):
        open_trunk("maws:vit_b17", RANDOM, input_hw=HW)
    with pytest.raises(UsageError, match="multiples of 16"):
        open_trunk("maws:vit_b16", RANDOM, input_hw=(100, 64))
