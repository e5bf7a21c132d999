"""The published networks at toy size, random weights, saved as their publishers save them. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def lively(net: Any) -> Any:
    """The network with weights so large that its answer depends on the picture."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
        if parameter.ndim == 1:  # what ends in a rectifier must not die
            parameter.data.abs_()
    return net.eval()


def zoedepth() -> Any:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    backbone = BeitConfig(
        image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=37,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, use_relative_position_bias=True, add_fpn=False,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, backbone=None, neck_hidden_sizes=[16, 16, 16, 16], fusion_hidden_size=16,
        bottleneck_features=16, num_relative_features=8, num_attractors=[4, 2, 2, 1], bin_embedding_dim=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
        num_patch_transformer_layers=1, patch_transformer_hidden_size=16, patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )  # fmt: skip
    return lively(ZoeDepthForDepthEstimation(config))


def depth_pro() -> Any:
    from transformers import DepthProConfig, DepthProForDepthEstimation

    small = {
        "model_type": "dinov2", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 1, "patch_size": 4,
        "num_labels": 0, "use_mask_token": False, "image_size": 8, "mlp_ratio": 2,
    }  # fmt: skip
    config = DepthProConfig(
        patch_size=8, fusion_hidden_size=8, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[10, 8],
        scaled_images_ratios=[0.5, 1.0], scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[12, 12], image_model_config=small, patch_model_config=small,
        fov_model_config=small, use_fov_model=True, num_fov_head_layers=0,
    )  # fmt: skip
    net = lively(DepthProForDepthEstimation(config))
    for name, parameter in net.named_parameters():
        if name.startswith("fov_model") and parameter.shape == (1,):
            parameter.data.fill_(50)  # degrees: a field of view below 0 would put everything at the far end
    return net


def depth_anything() -> Any:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        image_size=28, patch_size=14, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    return lively(DepthAnythingForDepthEstimation(config))


def depth_anything_3() -> dict[str, Tensor]:
    """The authors' names and shapes: five layers of width 128, head of eight channels; drawn by numpy in order."""
    width, widths, features = 128, (8, 6, 12, 10), 8
    v, h = "backbone.pretrained.", "head."
    sizes: dict[str, tuple[int, ...]] = {
        f"{v}cls_token": (1, 1, width), f"{v}pos_embed": (1, 37 * 37 + 1, width), f"{v}norm.weight": (width,),
        f"{v}patch_embed.proj.weight": (width, 3, 14, 14), f"{v}patch_embed.proj.bias": (width,),
        f"{v}norm.bias": (width,),
    }  # fmt: skip
    linear = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width),
              "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}  # fmt: skip
    for block in (f"{v}blocks.{i}." for i in range(5)):
        sizes |= {f"{block}{name}.{kind}": shape[: 1 if kind == "bias" else 2]
                  for name, shape in linear.items() for kind in ("weight", "bias")}  # fmt: skip
        sizes |= {f"{block}ls{i}.gamma": (width,) for i in (1, 2)}
    convs = {f"projects.{i}": (n, width, 1, 1) for i, n in enumerate(widths)}
    convs |= {"resize_layers.0": (8, 8, 4, 4), "resize_layers.1": (6, 6, 2, 2), "resize_layers.3": (10, 10, 3, 3)}
    for stage in (1, 2, 3, 4):
        sizes[f"{h}scratch.layer{stage}_rn.weight"] = (features, widths[stage - 1], 3, 3)
        for unit in (1, 2) if stage < 4 else (2,):
            convs |= {f"scratch.refinenet{stage}.resConfUnit{unit}.conv{i}": (features, features, 3, 3) for i in (1, 2)}
        convs[f"scratch.refinenet{stage}.out_conv"] = (features, features, 1, 1)
    convs["scratch.output_conv1"] = (4, features, 3, 3)
    for last in ("output_conv2", "sky_output_conv2"):
        convs |= {f"scratch.{last}.0": (32, 4, 3, 3), f"scratch.{last}.2": (1, 32, 1, 1)}
    sizes |= {f"{h}{name}.weight": shape for name, shape in convs.items()}
    sizes |= {f"{h}{name}.bias": shape[:1] for name, shape in convs.items()}
    rng, state = np.random.default_rng(0), {}
    for name in sorted(sizes):
        shape, values = sizes[name], rng.normal(0, 1, sizes[name])
        if len(shape) >= 2 and not name.endswith(("cls_token", "pos_embed")):
            values *= (1.5 / np.prod(shape[1:])) ** 0.5
        else:
            values = (
                1 + 0.1 * values
                if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "gamma"))
                else 0.1 * values
            )
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def dpt() -> Any:
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        image_size=64, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    return lively(DPTForDepthEstimation(config))


def dpt_swin2() -> Any:
    from transformers import DPTConfig, DPTForDepthEstimation, Swinv2Config

    backbone = Swinv2Config(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=True,
    )  # fmt: skip
    config = DPTConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 16, 32, 64], fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    return lively(DPTForDepthEstimation(config))


def segformer() -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        num_labels=18, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )  # fmt: skip
    return lively(SegformerForSemanticSegmentation(config))


def mask2former() -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, num_labels=133, hidden_dim=32, feature_size=32, mask_feature_size=32,
        num_attention_heads=2, encoder_layers=1, decoder_layers=2, num_queries=5, encoder_feedforward_dim=16,
        dim_feedforward=16,
    )  # fmt: skip
    return lively(Mask2FormerForUniversalSegmentation(config))


def sam(side: int = 64) -> Any:
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=side, patch_size=16, window_size=2,
        global_attn_indexes=[1], num_pos_feats=8, output_channels=16, mlp_dim=32,
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(hidden_size=16, image_size=side, patch_size=16, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16, attention_downsample_rate=2
    )
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    net = lively(SamModel(config))
    torch.manual_seed(1)
    for parameter in net.mask_decoder.parameters():  # logits on both sides of zero
        torch.nn.init.normal_(parameter, std=0.8)
    for parameter in net.vision_encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def vitpose() -> Any:
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone = VitPoseBackboneConfig(
        image_size=[256, 192], patch_size=[16, 16], hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_experts=6, part_features=6, out_indices=[2],
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=False)
    return lively(VitPoseForPoseEstimation(config))


def heatmap_net(trunk: str, points: int) -> Any:
    """HRNet of four channels, or ResNet-10, with its deconvolutions; drawn by numpy, name by name."""
    from sapiens_bench.models import heatmap_trunks as trunks

    if trunk.startswith("resnet"):
        parts = (
            trunks.resnet_trunk((1, 1, 1, 1), bottleneck=False),
            trunks.deconvolutions([(512, 8, 4), (8, 8, 4), (8, 8, 4)]),
        )
        net = trunks.HeatmapNet(*parts, torch.nn.Conv2d(8, points, 1))
    else:
        sizes = hrnet_sizes(stem=8)
        net = trunks.HeatmapNet(trunks.hrnet_trunk(sizes), torch.nn.Sequential(), torch.nn.Conv2d(4, points, 1))
    net.load_state_dict(heatmap_weights(net.state_dict()), strict=False, assign=True)
    return net.eval()


def hrnet_sizes(stem: int) -> dict[str, Any]:
    """Of an HRNet whose finest branch has four channels."""
    from sapiens_bench.models.heatmap_trunks import stage_sizes as stage

    widths, depths = (4, 8, 12, 16), {2: (1, 2), 3: (1, 1, 2), 4: (1, 1, 1, 2)}
    sizes: dict[str, Any] = {"stem_width": stem, "stage1": stage((4,), (2,), 1, True)}
    return sizes | {f"stage{n}": stage(widths[:n], depths[n], 1 if n == 2 else 2, False) for n in depths}


def heatmap_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that any machine draws alike: numpy's generator, names in order; counters of batches are left out."""
    rng, drawn = np.random.default_rng(0), {}
    for name in sorted(n for n in state if not n.endswith("num_batches_tracked")):
        shape = tuple(state[name].shape)
        values = rng.normal(0, 1, shape)
        if len(shape) == 4:
            values *= (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("running_var"):
            values = 1 + 0.2 * np.abs(values)
        else:
            values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
        drawn[name] = torch.from_numpy(values.astype(np.float32))
    return drawn


def mmpose_names(state: dict[str, Tensor], head: str) -> dict[str, Tensor]:
    """As MMPose calls them; without counters of batches."""
    kept = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    return {n if n.startswith("backbone.") else f"{head}{n}": t for n, t in kept.items()}


def torchvision(architecture: str) -> Callable[[], Any]:
    def make() -> Any:
        from torchvision.models import segmentation

        return lively(
            getattr(segmentation, architecture)(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
        )

    return make


def save(net: Any, path: Path) -> None:
    """As a hub folder, or as a state dict, whichever the network knows."""
    if hasattr(net, "save_pretrained"):
        net.save_pretrained(path)
    else:
        torch.save(net.state_dict(), path)
