"""Weight files for the package's cards: the published layout, a toy network, random weights. One maker a wrapper.

A maker writes the file of a card's variant and says what has to differ in the card: input size, and options that name
a published size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tiny_graphs
import tiny_nets
import tiny_onnx
import torch
from torch import Tensor

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import ModelEntry


class Made(NamedTuple):
    """What a tiny network is, beside its file."""

    input_hw: tuple[int, int] | None = None  # None: the card's own
    options: Mapping[str, Any] = {}


def outputs_of(entry: ModelEntry) -> int:
    """Points, labels or channels of a card's answer."""
    space = entry.card.space_of(entry.variant)
    channels = {"depth": 1, "normal": 3, "pointmap": 3, "matting": 1, "albedo": 3}
    return channels[entry.card.task] if space is None else len(Catalog.load().space(space).names)


def _hub(make: Callable[[], Any], input_hw: tuple[int, int] | None) -> Callable[[ModelEntry, Path], Made]:
    def maker(entry: ModelEntry, path: Path) -> Made:
        make().save_pretrained(path)
        return Made(input_hw)

    return maker


def depth_anything(entry: ModelEntry, path: Path) -> Made:
    """Depth Anything, or the DPT that the card's title names."""
    if "swin" in path.name:
        tiny_nets.dpt_swin2().save_pretrained(path)
    elif "dpt" in path.name:
        tiny_nets.dpt().save_pretrained(path)
    else:
        tiny_nets.depth_anything().save_pretrained(path)
        return Made((28, 28))
    return Made((64, 64))


def depth_anything_3(entry: ModelEntry, path: Path) -> Made:
    """As the hub has it: everything below ``model.``."""
    from safetensors.torch import save_file

    save_file({f"model.{name}": tensor for name, tensor in tiny_nets.depth_anything_3().items()}, path)
    return Made((56, 56))


def torchvision_seg(entry: ModelEntry, path: Path) -> Made:
    torch.save(tiny_nets.torchvision(entry.variant.options["architecture"])().state_dict(), path)
    return Made((64, 64))


def vitpose(entry: ModelEntry, path: Path) -> Made:
    """A hub folder, or the authors' file of six data sets."""
    assert entry.variant.weights is not None
    if entry.variant.weights.format == "hf":
        tiny_nets.vitpose().save_pretrained(path)
        return Made(options={"heads": 2})
    state = official_vitpose()
    torch.save({"state_dict": state if "+" in path.name else of_one_data_set(state)}, path)
    return Made(options={"heads": 4})


def of_one_data_set(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As ``vitpose-*.pth``: the rows of expert 0 below those they share, and one head."""
    kept = {n: t for n, t in state.items() if not n.startswith("associate") and ".experts." not in n}
    for name in [n for n in kept if ".mlp.fc2." in n]:
        kept[name] = torch.cat([kept[name], state[name.replace(".fc2.", ".experts.0.")]])
    return kept


def official_vitpose(width: int = 32, depth: int = 2, part: int = 8) -> dict[str, Tensor]:
    """Names and shapes of ``vitpose+_*.pth``: six experts a block, one head for COCO and five more beside it."""
    torch.manual_seed(0)
    sizes: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed": (1, 16 * 12 + 1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
        "backbone.last_norm.weight": (width,),
        "backbone.last_norm.bias": (width,),
    }
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), "mlp.fc1": (4 * width, width),
              "mlp.fc2": (width - part, 4 * width), "norm1": (width,), "norm2": (width,)}  # fmt: skip
    linear |= {f"mlp.experts.{i}": (part, 4 * width) for i in range(6)}
    for block in range(depth):
        for name, shape in linear.items():
            sizes[f"backbone.blocks.{block}.{name}.weight"] = shape
            sizes[f"backbone.blocks.{block}.{name}.bias"] = shape[:1]
    for index, points in enumerate((17, 14, 16, 17, 17, 133)):
        head = f"associate_keypoint_heads.{index - 1}" if index else "keypoint_head"
        sizes |= {f"{head}.deconv_layers.0.weight": (width, 16, 4, 4), f"{head}.deconv_layers.3.weight": (16, 16, 4, 4),
                  f"{head}.final_layer.weight": (points, 16, 1, 1), f"{head}.final_layer.bias": (points,)}  # fmt: skip
        for norm in (1, 4):
            for name in ("weight", "bias", "running_mean", "running_var"):
                sizes[f"{head}.deconv_layers.{norm}.{name}"] = (16,)
            sizes[f"{head}.deconv_layers.{norm}.num_batches_tracked"] = ()
    state = {name: 0.1 * torch.randn(shape) for name, shape in sizes.items()}
    return {name: value.abs() + 0.5 if name.endswith("running_var") else value for name, value in state.items()}


def heatmap_net(entry: ModelEntry, path: Path) -> Made:
    """MMPose's layout: 0.x called the head ``keypoint_head``, 1.x ``head``."""
    net = tiny_nets.heatmap_net(entry.variant.options["trunk"], outputs_of(entry))
    prefix = "head." if path.name.startswith("td-hm") else "keypoint_head."
    torch.save({"state_dict": tiny_nets.mmpose_names(net.state_dict(), prefix)}, path)
    return Made((64, 64))


def simcc(entry: ModelEntry, path: Path) -> Made:
    tiny_onnx.write(path, "simcc", k=outputs_of(entry))
    return Made((tiny_onnx.H, tiny_onnx.W))


def one_stage(entry: ModelEntry, path: Path) -> Made:
    tiny_graphs.one_stage_file(path, *tiny_graphs.people(0.9, 0.6))
    return Made((tiny_graphs.H, tiny_graphs.W))


def onnx_maps(entry: ModelEntry, path: Path) -> Made:
    """DAViD's one output at the picture's size; BodyPix's person and part maps, every 16 pixels; MoGe-2's points."""
    options = entry.variant.options
    if "numbers" in options:
        tiny_graphs.moge_file(path)
        return Made()
    if "person_output" in options:
        maps = {options["person_output"]: 1, options["output_name"]: outputs_of(entry) - 1}
        tiny_graphs.dense_file(path, maps, (33, 33), stride=16, channels_last=options.get("layout") == "NHWC", batch=1)
        return Made((33, 33))
    tiny_graphs.dense_file(path, {options.get("output_name") or "map": outputs_of(entry)}, (32, 32), batch=1)
    return Made((32, 32))


def pifuhd(entry: ModelEntry, path: Path) -> Made:
    from sapiens_bench.models.pifuhd import PREFIX, Generator, GeneratorConfig

    torch.manual_seed(0)
    state = Generator(GeneratorConfig(width=4, downsamplings=2, blocks=1)).state_dict()
    torch.save({"model_state_dict": {f"{PREFIX}{name}": tensor for name, tensor in state.items()}}, path)
    return Made((64, 64))


def probe_head(entry: ModelEntry, path: Path) -> Made:
    """A head on a tiny transformer of timm, whose own file lies beside it."""
    from safetensors.torch import save_file

    from sapiens_bench.models.parts.dense_head import HeadPlan
    from sapiens_bench.models.parts.head_file import HeadFile, build_head, save_head
    from sapiens_bench.models.parts.trunks import open_trunk

    assert entry.variant.weights is not None
    import timm

    trunk_path = path.with_name(next(iter(entry.variant.weights.also)))
    if trunk_path.suffix == ".safetensors":
        save_file(timm.create_model("test_vit", pretrained=False).state_dict(), trunk_path)
    else:
        torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), trunk_path)
    trunk = open_trunk("timm:test_vit", trunk_path, input_hw=(96, 64))
    plan = HeadPlan(trunk.taps, {entry.card.task: outputs_of(entry)}, width=8, fine_width=8)
    torch.manual_seed(0)
    head = build_head(plan).fold()
    path.write_bytes(save_head(HeadFile("timm:test_vit", trunk.identity, (96, 64), plan), head, None))
    return Made((96, 64))


def sapiens_v1(entry: ModelEntry, path: Path) -> Made:
    """The layout of the official .pth files."""
    from sapiens_bench.models.sapiens_load import patch_padding
    from sapiens_bench.models.sapiens_net import EncoderConfig, HeadConfig, head_config, on_meta
    from sapiens_bench.profiling.subject import randomise

    task: Any = entry.card.task
    outputs = outputs_of(entry)
    padding = entry.variant.options.get("patch_padding", patch_padding(task, outputs))
    published = head_config(task, outputs)
    widths = ((16,) * len(published.deconv_widths), (16,) * len(published.conv_widths))
    net = on_meta(EncoderConfig(64, 2, 4, 128, (8, 6), padding), HeadConfig(task, *widths, outputs))
    randomise(net, "cpu", 0)
    torch.save({"state_dict": net.state_dict()}, path)
    return Made((128, 96), {"heads": 4})


def sapiens2(entry: ModelEntry, path: Path) -> Made:
    """transformers writes the names of the official files."""
    import transformers

    from sapiens_bench.models.sapiens2_load import CLASSES, head_of

    task, input_hw = head_of(entry.card.task), (128, 96)
    heads: dict[str, dict[str, Any]] = {
        "pose": {"upsample_kernel_sizes": [4, 4], "upsample_out_channels": [8, 8]},
        "seg": {"upsample_kernel_sizes": [4, 4], "upsample_out_channels": [8, 8]},
        "normal": {"use_pixel_shuffle": True, "upsample_kernel_sizes": [3, 3], "upsample_out_channels": [8, 8]},
    }
    heads["pointmap"] = heads["normal"] | {
        "scale_conv_out_channels": [4], "scale_conv_kernel_sizes": [1], "scale_final_hidden_sizes": [8, 4],
        "scale_final_input_size": 3 * 4 * 4,
    }  # fmt: skip
    heads["matting"] = heads["albedo"] = heads["normal"]
    outputs = {"pose": outputs_of(entry), "seg": outputs_of(entry), "matting": 4}.get(task, 3)
    config = transformers.Sapiens2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=list(input_hw),
        num_key_value_heads_per_layer=[4, 2], num_labels=outputs,
        head_config=heads[task] | {"conv_out_channels": [8], "conv_kernel_sizes": [1]},
    )  # fmt: skip
    net = tiny_nets.lively(getattr(transformers, CLASSES["normal" if task == "albedo" else task])(config))
    net.save_pretrained(folder := path.with_suffix(".folder"))
    (folder / "model.safetensors").rename(path)
    if task == "albedo":
        as_albedo(path)
    return Made(input_hw)


def as_albedo(path: Path) -> None:
    """A file of normals under the names of an albedo head, which differs from theirs by a norm with weights."""
    from safetensors.torch import load_file, save_file

    head = "decode_head."
    state = {name.replace("conv_normal", "conv_albedo"): tensor for name, tensor in load_file(path).items()}
    norms = {f"{head}input_conv.1": 32, f"{head}conv_layers.1": 8}
    norms |= {f"{head}upsample_blocks.{i}.2": 8 for i in range(2)}
    state |= {f"{name}.norm.weight": torch.linspace(0.5, 1.5, width) for name, width in norms.items()}
    save_file(state, path)


def predictions(entry: ModelEntry, path: Path) -> Made:
    """What another program stored for the first picture of synthetic-humans:tiny: a results file, or a folder of maps
    of another size than the picture's."""
    rng = np.random.default_rng(0)
    if entry.card.task == "pose":
        points = np.concatenate([rng.uniform(50, 200, (outputs_of(entry), 2)), np.ones((outputs_of(entry), 1))], axis=1)
        person = {"image_id": 0, "category_id": 1, "score": 0.9, "keypoints": points.ravel().tolist()}
        path.write_text(json.dumps([person]))
        return Made()
    hw = (64, 48)
    maps: dict[str, Any] = {
        "depth": rng.uniform(2, 3, hw).astype(np.float32),
        "normal": rng.normal(size=(*hw, 3)).astype(np.float32),
        "matting": rng.uniform(0, 1, hw).astype(np.float32),
        "albedo": rng.uniform(0, 1, (*hw, 3)).astype(np.float32),
    }
    if entry.card.task == "seg":
        maps["seg"] = rng.integers(0, outputs_of(entry), hw).astype(np.uint8)
    (file := path / "synthetic-humans" / "tiny" / "000000.npy").parent.mkdir(parents=True)
    np.save(file, maps[entry.card.task])
    return Made(options={"resize": "nearest" if entry.card.task == "seg" else "bilinear"})


MAKERS: dict[str, Callable[[ModelEntry, Path], Made]] = {  # wrapper ->
    "depth_anything": depth_anything,
    "depth_anything_3": depth_anything_3,
    "depth_pro": _hub(tiny_nets.depth_pro, (32, 32)),
    "heatmap_net": heatmap_net,
    "mask2former": _hub(tiny_nets.mask2former, (64, 64)),
    "one_stage": one_stage,
    "onnx": onnx_maps,
    "pifuhd": pifuhd,
    "predictions": predictions,
    "probe_head": probe_head,
    "sam": _hub(tiny_nets.sam, (64, 64)),
    "sapiens2": sapiens2,
    "sapiens_v1": sapiens_v1,
    "segformer": _hub(tiny_nets.segformer, (64, 64)),
    "simcc": simcc,
    "torchvision_seg": torchvision_seg,
    "vitpose": vitpose,
    "zoedepth": _hub(tiny_nets.zoedepth, (64, 96)),
}
