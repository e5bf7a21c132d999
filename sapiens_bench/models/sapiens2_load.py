"""From a Sapiens2 weight file to the network of transformers: sizes read off the tensors, names mapped by the library.

The official files (facebookresearch/sapiens2, safetensors) hold ``backbone.`` and ``decode_head.``; the library's
mapping of names is built in. A folder in the library's own layout is opened as it is.

The library computes rotary positions in float32, the official code in bfloat16 by default: with random weights the
outputs differ by 0.02 to 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import only_prefix, open_state
from sapiens_bench.models.parts.hub_folder import ignored, load, open_folder, read_config, transformers_class
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.sapiens2_albedo import build_albedo

SIZES = {  # name -> width, layers
    "0.1b": (768, 12),
    "0.4b": (1024, 24),
    "0.8b": (1280, 32),
    "1b": (1536, 40),
    "5b": (2432, 56),
}
CLASSES = {
    "pose": "Sapiens2ForPoseEstimation",
    "seg": "Sapiens2ForSemanticSegmentation",
    "normal": "Sapiens2ForNormalEstimation",
    "pointmap": "Sapiens2ForPointmapEstimation",
    "matting": "Sapiens2ForImageMatting",
}
PREDICTORS = {  # last layer of each head
    "pose": "conv_pose",
    "seg": "conv_seg",
    "normal": "conv_normal",
    "pointmap": "conv_pointmap",
    "matting": "conv_matting",
    "albedo": "conv_albedo",
}
MATTING_MAPS = 4  # foreground times alpha, RGB, then alpha


@dataclass(frozen=True, slots=True)
class Described:
    """What the tensors, or the config.json, of a checkpoint say about it."""

    task: str
    outputs: int
    width: int
    layers: int

    def __str__(self) -> str:
        size = next((n for n, s in SIZES.items() if s == (self.width, self.layers)), f"width-{self.width}")
        return (
            f"a Sapiens2 {size} {'point map' if self.task == 'pointmap' else self.task} network of {self.outputs} maps"
        )


def head_of(task: str) -> str:
    """The task whose head a task needs: depth is the z of a point map."""
    return "pointmap" if task == "depth" else task


def build_network(context: ModelContext, outputs: int, input_hw: tuple[int, int]) -> nn.Module:
    """The network of one variant on its device, in its precision.

    Args:
        outputs: keypoints, classes or channels that the card asks for.

    Raises:
        WeightsMissing, CheckpointRejected, UntrustedCheckpoint, CardError
    """
    path, task = weights_path(context), head_of(context.card.task)
    if any(side % 16 for side in input_hw):
        raise CardError(f"{context.variant.id}: input {input_hw} is not a multiple of 16 pixels.")
    if path.is_dir():
        if task not in CLASSES:
            raise CheckpointRejected(f"{path}: the library has no {task} network. Give the authors' .safetensors file.")
        found = _described_folder(read_config(path), path)
        _compare(found, context, outputs, path)
        return open_folder(context, {"sapiens2": CLASSES[task]})
    state = open_state(path, trusted=context.trusted).state
    found = described(state, path)
    _compare(found, context, outputs, path)
    # ``config_arguments`` reads positions that ``described`` has seen; a file that lacks others is refused by ``load``.
    arguments = config_arguments(state, input_hw)
    if task == "albedo":
        net: nn.Module = build_albedo(state, arguments, path)
    else:
        config = transformers_class("Sapiens2Config")(**arguments, num_labels=outputs)
        given = {"config": config, "state_dict": state}
        net = load(transformers_class(CLASSES[task]), None, path, ignored(context), given)
    return net.to(device=context.device, dtype=DTYPES[context.precision]).eval()


def described(state: Mapping[str, Tensor], path: Path) -> Described:
    """Task and size of an official file. Raises CheckpointRejected when it is none."""
    head = only_prefix(state, "decode_head.")
    task = next((t for t, name in PREDICTORS.items() if f"{name}.weight" in head), None)
    needed = (
        "patch_embed.projection.weight",
        "storage_tokens",
        "blocks.0.ffn.w3.weight",
        "blocks.0.attn.q_norm.weight",
    )
    missing = [name for name in needed if f"backbone.{name}" not in state]
    if missing or task is None:
        what = f"backbone.{missing[0]}" if missing else "a known decode_head"
        some = ", ".join(list(state)[:3])
        raise CheckpointRejected(f"{path} is no Sapiens2 task file: {what} is missing (it starts with {some}).")
    width = int(state["backbone.patch_embed.projection.weight"].shape[0])
    return Described(task, int(head[f"{PREDICTORS[task]}.weight"].shape[0]), width, _count(state, "backbone.blocks."))


def _described_folder(config: Mapping[str, Any], path: Path) -> Described:
    named = next(iter(config.get("architectures") or ()), None)
    task = next((t for t, name in CLASSES.items() if name == named), None)
    try:
        if config.get("model_type") != "sapiens2" or task is None:
            raise KeyError(f"{named} of type {config.get('model_type')}")
        return Described(task, len(config["id2label"]), config["hidden_size"], config["num_hidden_layers"])
    except (KeyError, TypeError) as error:
        raise CheckpointRejected(f"{path} is no Sapiens2 task folder ({error}). Put the right one there.") from None


def _compare(found: Described, context: ModelContext, outputs: int, path: Path) -> None:
    size = context.options.size
    wrong_size = size is not None and SIZES[size] != (found.width, found.layers)
    if wrong_size or (found.task, found.outputs) != (head_of(context.card.task), outputs):
        raise CheckpointRejected(
            f"{path} is {found}, but {context.variant.id} asks for {context.card.task} with {outputs} maps"
            f"{f', size {size}' if size else ''}. Put the right file there, or run the variant it belongs to."
        )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def config_arguments(state: Mapping[str, Tensor], input_hw: tuple[int, int]) -> dict[str, Any]:
    """Arguments of ``Sapiens2Config`` for the tensors of an official file."""
    backbone = only_prefix(state, "backbone.")
    width, _, patch, _ = backbone["patch_embed.projection.weight"].shape
    layers = _count(backbone, "blocks.")
    head_width = int(backbone["blocks.0.attn.q_norm.weight"].shape[0])
    keys = [f"blocks.{i}.attn.wk.weight" for i in range(layers)]
    key_heads = [int(backbone[k].shape[0]) // head_width if k in backbone else 0 for k in keys]
    return {
        "hidden_size": int(width),
        "patch_size": int(patch),
        "image_size": list(input_hw),
        "num_hidden_layers": layers,
        "num_attention_heads": int(width) // head_width,
        "num_key_value_heads_per_layer": key_heads,
        "intermediate_size": int(backbone["blocks.0.ffn.w3.weight"].shape[1]),
        "num_register_tokens": int(backbone["storage_tokens"].shape[1]),
        "query_bias": "blocks.0.attn.wq.bias" in backbone,
        "key_bias": "blocks.0.attn.wk.bias" in backbone,
        "value_bias": "blocks.0.attn.wv.bias" in backbone,
        "proj_bias": "blocks.0.attn.proj.bias" in backbone,
        "mlp_bias": "blocks.0.ffn.w3.bias" in backbone,
        "use_mask_token": "mask_token" in backbone,
        "head_config": _head(only_prefix(state, "decode_head.")),
    }


def _head(head: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of ``Sapiens2HeadConfig``: widths and kernels of each stage, in file order."""

    def stage(name: str) -> list[tuple[int, ...]]:
        found = {
            int(key.split(".")[1]): tuple(tensor.shape)
            for key, tensor in head.items()
            if key.startswith(f"{name}.") and key.endswith("weight") and tensor.ndim > 1  # not of a norm
        }
        return [found[i] for i in sorted(found)]

    shuffled = stage("upsample_blocks")
    config: dict[str, Any] = {}
    if shuffled:  # a convolution to four times the channels, then pixel shuffle
        config = {"use_pixel_shuffle": True, "upsample_out_channels": [s[0] // 4 for s in shuffled]}
        config["upsample_kernel_sizes"] = [s[2] for s in shuffled]
    else:  # transposed convolutions: [in, out, k, k]
        deconvs = stage("deconv_layers")
        config = {"upsample_out_channels": [s[1] for s in deconvs], "upsample_kernel_sizes": [s[2] for s in deconvs]}
    convs, scale = stage("conv_layers"), stage("scale_conv_layers")
    config |= {"conv_out_channels": [s[0] for s in convs], "conv_kernel_sizes": [s[2] for s in convs]}
    if scale:
        final = stage("scale_final_layer")  # its input width follows from the input size: another size is refused
        config |= {
            "scale_conv_out_channels": [s[0] for s in scale],
            "scale_conv_kernel_sizes": [s[2] for s in scale],
            "scale_final_hidden_sizes": [s[0] for s in final[:-1]],
        }
    return config
