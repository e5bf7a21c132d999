"""Networks of published sizes with random weights: arithmetic does not depend on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def segformer_b2() -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768, num_labels=18
    )
    return SegformerForSemanticSegmentation(config)


def mask2former_swin_t() -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    trunk = SwinConfig(
        depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], embed_dim=96, window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=trunk, num_labels=133))


def depth_anything_s() -> Any:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    trunk = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, reshape_hidden_states=False,
        out_features=["stage3", "stage6", "stage9", "stage12"],
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=trunk, reassemble_hidden_size=384, neck_hidden_sizes=[48, 96, 192, 384], fusion_hidden_size=64
    )
    return DepthAnythingForDepthEstimation(config)


def sam_b() -> Any:
    from transformers import SamConfig, SamModel

    # The default spread is 1e-10: denormal numbers, at a tenth of the speed.
    return SamModel(SamConfig(vision_config={"initializer_range": 0.02}))


def dpt_large() -> Any:
    from transformers import DPTConfig, DPTForDepthEstimation

    return DPTForDepthEstimation(DPTConfig())


def zoedepth_n() -> Any:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    trunk = BeitConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=384,
        use_relative_position_bias=True, reshape_hidden_states=False,
        out_features=["stage6", "stage12", "stage18", "stage24"],
    )  # fmt: skip
    bins = [{"n_bins": 64, "min_depth": 1e-3, "max_depth": 10.0, "name": "nyu"}]
    return ZoeDepthForDepthEstimation(ZoeDepthConfig(backbone_config=trunk, bin_configurations=bins))


def depth_pro() -> Any:
    """The published sizes, but two layers of the 24 of each of its three encoders: a pass of it takes minutes."""
    from transformers import DepthProConfig, DepthProForDepthEstimation

    encoder = {
        "model_type": "dinov2", "num_hidden_layers": 2, "hidden_size": 1024, "num_attention_heads": 16,
        "patch_size": 16, "image_size": 384, "mlp_ratio": 4, "num_labels": 0, "use_mask_token": False,
    }  # fmt: skip
    config = DepthProConfig(
        patch_model_config=encoder, image_model_config=encoder, fov_model_config=encoder, use_fov_model=True,
        intermediate_hook_ids=[1, 0],
    )  # fmt: skip
    return DepthProForDepthEstimation(config)


def sapiens2_pose() -> Any:
    """The trunk of 0.1B, smaller than any that is published for poses, and a head of about the published width."""
    from transformers import Sapiens2Config, Sapiens2ForPoseEstimation

    head = {"upsample_kernel_sizes": [4, 4], "upsample_out_channels": [768, 768],
            "conv_out_channels": [768, 768], "conv_kernel_sizes": [1, 1]}  # fmt: skip
    config = Sapiens2Config(
        hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12, image_size=[1024, 768],
        num_key_value_heads_per_layer=[12] * 12, num_labels=308, head_config=head,
    )  # fmt: skip
    return Sapiens2ForPoseEstimation(config)


def pose_onnx(path: Path, outputs: dict[str, tuple[int, ...]], hw: tuple[int, int], width: int, layers: int) -> Path:
    """A stack of 3 x 3 convolutions at an eighth of the input, whose mean becomes every output."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    stored = [numpy_helper.from_array((0.02 * rng.normal(size=(width, 3, 8, 8))).astype(np.float32), "stem")]
    nodes = [helper.make_node("Conv", ["input", "stem"], ["x0"], strides=[8, 8])]
    for i in range(layers):
        weights = (0.02 * rng.normal(size=(width, width, 3, 3))).astype(np.float32)
        stored.append(numpy_helper.from_array(weights, f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"y{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"x{layers}"], ["mean"], keepdims=0))
    for name, shape in outputs.items():
        stored.append(numpy_helper.from_array(rng.random((1, *shape), np.float32), f"{name}_values"))
        nodes.append(helper.make_node("Add", [f"{name}_values", "mean"], [name]))
    shown = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, *shape]) for n, shape in outputs.items()]
    shape_in = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *hw])
    graph = helper.make_graph(nodes, "pose", [shape_in], shown, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path
