"""What the cards say a network costs: counted again for a few, and marked where the authors' print is all there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.profiling.counts import count

Made = tuple[Callable[[], nn.Module], Callable[[Any], Iterable[Tensor]]]  # the network, and tensors of its answer
UNKNOWN = {  # costs that nobody prints and no published configuration here tells
    "blazepose-heavy", "rtmo-t", "david-b", "david-l", "david-b-normal", "david-l-normal",
}  # fmt: skip


def vitpose_small() -> nn.Module:
    from sapiens_bench.models.vitpose_convert import PoseNet, on_meta, published

    return PoseNet(on_meta(published("small", 17, (256, 192))))


def zoedepth_nyu() -> nn.Module:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    backbone = BeitConfig(
        image_size=384, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        out_features=["stage6", "stage12", "stage18", "stage24"], use_relative_position_bias=True,
        reshape_hidden_states=False, add_fpn=False,
    )  # fmt: skip
    return ZoeDepthForDepthEstimation(ZoeDepthConfig(backbone_config=backbone, backbone=None))


def sam_base() -> nn.Module:
    from transformers import SamConfig, SamModel

    class Prompted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = SamModel(SamConfig())

        def forward(self, image: Tensor) -> Any:
            return self.net(pixel_values=image, input_boxes=image.new_zeros(1, 1, 4), multimask_output=False)

    return Prompted()


def sapiens2(size: str, kind: str, outputs: int, head: dict[str, Any]) -> nn.Module:
    """Encoder as the official configurations have it: grouped keys in all but the first and last eight layers."""
    import transformers

    from sapiens_bench.models.sapiens2_load import CLASSES, SIZES

    width, layers = SIZES[size]
    heads = {"0.4b": 16, "0.8b": 16, "1b": 24, "5b": 32}[size]
    config = transformers.Sapiens2Config(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads_per_layer=[heads if i < 8 or i >= layers - 8 else heads // 2 for i in range(layers)],
        image_size=[1024, 768], num_labels=outputs, head_config=head,
    )  # fmt: skip
    net: nn.Module = getattr(transformers, CLASSES[kind])(config)
    return net


def shuffled(upsampled: list[int], convs: list[int], **more: Any) -> dict[str, Any]:
    return {
        "use_pixel_shuffle": True, "upsample_out_channels": upsampled, "upsample_kernel_sizes": [3] * 4,
        "conv_out_channels": convs, "conv_kernel_sizes": [3] * 3, **more,
    }  # fmt: skip


# Widths as in the official configurations: facebookresearch/sapiens2, sapiens/dense/configs and sapiens/pose/configs.
POSE_1B = {
    "upsample_out_channels": [1536, 1024], "upsample_kernel_sizes": [4, 4],
    "conv_out_channels": [768, 512, 256], "conv_kernel_sizes": [1, 1, 1],
}  # fmt: skip
MATTING_1B = shuffled([768, 512, 256, 128], [64, 32, 16])
POINTS_08B = shuffled(
    [1536, 768, 512, 256], [64, 32, 16], scale_conv_out_channels=[1536, 512, 128],
    scale_conv_kernel_sizes=[1, 1, 1], scale_final_hidden_sizes=[512, 128],
)  # fmt: skip


class OnTrunk(nn.Module):
    """The head that `probe` fits by default, on a trunk."""

    def __init__(self, name: str, hw: tuple[int, int]) -> None:
        super().__init__()
        from sapiens_bench.models.parts.dense_head import HeadPlan
        from sapiens_bench.models.parts.head_file import build_head
        from sapiens_bench.models.parts.trunks import open_trunk

        self.trunk = open_trunk(name, Path("random"), input_hw=hw, device="meta")
        self.head = build_head(HeadPlan(self.trunk.taps, {"seg": 28, "depth": 1, "normal": 3})).fold()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = self.head(self.trunk(image), image, ("depth",))
        return out


def deeplab() -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_resnet50

    return deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)


NETWORKS: dict[str, Made] = {
    "vitpose-plus-s": (vitpose_small, lambda out: [out]),
    "zoedepth-nyu": (zoedepth_nyu, lambda out: [out.predicted_depth]),
    "sam-b": (sam_base, lambda out: [out.pred_masks]),
    "deeplabv3-r50-voc": (deeplab, lambda out: list(out.values())),
    "sapiens2-1b": (lambda: sapiens2("1b", "pose", 308, POSE_1B), lambda out: [out.heatmaps]),
    "sapiens2-1b-matting": (lambda: sapiens2("1b", "matting", 4, MATTING_1B), lambda out: [out.alphas]),
    "sapiens2-0.8b-depth": (lambda: sapiens2("0.8b", "pointmap", 3, POINTS_08B), lambda out: [out.pointmaps]),
    "hiera-l-depth": (lambda: OnTrunk("timm:hiera_large_224.mae", (224, 224)), lambda out: list(out.values())),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_counted_cost_is_that_of_the_published_configuration(catalog: Catalog, name: str) -> None:
    entry = catalog.model(name)
    make, tensors = NETWORKS[name]
    with torch.device("meta"):
        net = make().eval()
    spec = entry.variant.input or entry.card.input
    assert spec is not None
    image = torch.empty(1, 3, spec.height, spec.width, device="meta")
    found = count(lambda: list(tensors(net(image))), net)
    assert entry.variant.printed == ()
    assert found.params_total / 1e6 == pytest.approx(entry.variant.params_m, abs=0.006)
    assert entry.variant.gmacs is not None
    assert found.macs_total / 1e9 == pytest.approx(entry.variant.gmacs, rel=2e-3)


def test_every_network_says_what_it_costs_or_who_does_not_say(catalog: Catalog) -> None:
    for entry in catalog.models.values():
        variant, card = entry.variant, entry.card
        assert all(getattr(variant, key) is not None for key in variant.printed), entry.id
        if card.kind != "network" or card.wrapper in ("predictions", "saved_maps"):
            continue
        assert (variant.params_m is None and variant.gmacs is None) == (entry.id in UNKNOWN), entry.id


def test_costs_of_files_that_only_their_authors_can_count_are_marked_as_printed(catalog: Catalog) -> None:
    for entry in catalog.models.values():
        if entry.card.wrapper in ("simcc", "one_stage"):
            given = {key for key in ("params_m", "gmacs") if getattr(entry.variant, key) is not None}
            assert given == set(entry.variant.printed), entry.id
