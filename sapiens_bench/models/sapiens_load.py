"""From a Sapiens v1 weight file to a runnable network: what the file is, whether it is what the card says, and loading.

Every size except the number of attention heads can be read off the tensors; heads follow from the published widths, or
from the card's option ``heads`` for other widths. A file of another task or size than the card says is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.options import SapiensV1Options
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state, sniff
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.models.parts.program import Program
from sapiens_bench.models.sapiens_net import (
    PATCH,
    SIZES,
    Encoder,
    EncoderConfig,
    HeadConfig,
    HeadKind,
    adapt_position_table,
    encoder_config,
    head_config,
    on_meta,
)

SIZE_BY_WIDTH = {width: (name, depth, heads) for name, (width, depth, heads) in SIZES.items()}


@dataclass(frozen=True, slots=True)
class Described:
    """What the tensors of a checkpoint say about it."""

    kind: HeadKind | None  # None: an encoder without head (pre-training)
    outputs: int
    width: int
    depth: int
    mlp_width: int
    tokens: int
    class_token: bool
    deconv_widths: tuple[int, ...]
    conv_widths: tuple[int, ...]

    def __str__(self) -> str:
        name, depth, _ = SIZE_BY_WIDTH.get(self.width, (f"width-{self.width}", self.depth, 0))
        size = name if depth == self.depth else f"width-{self.width}, {self.depth}-layer"
        what = {"pose": f"{self.outputs}-keypoint pose", "seg": f"{self.outputs}-class segmentation"}
        return f"a Sapiens v1 {size} {what.get(self.kind or '', self.kind or 'pre-training encoder')} checkpoint"


def describe(state: Mapping[str, Tensor], path: Path) -> Described:
    """Read sizes off a state dict in the official layout (``backbone.`` + ``head.`` / ``decode_head.``, or flat).

    Raises:
        CheckpointRejected: not a Sapiens v1 layout.
    """
    backbone = only_prefix(state, "backbone.") or dict(state)
    try:
        table = backbone["pos_embed"]
        fc1 = backbone["layers.0.ffn.layers.0.0.weight"]
        _ = backbone["patch_embed.projection.weight"]
    except KeyError as missing:
        some = ", ".join(list(state)[:3])
        raise CheckpointRejected(
            f"{path} is no Sapiens v1 checkpoint: {missing} is missing (it starts with {some})."
        ) from None
    depth = len({name.split(".")[1] for name in backbone if name.startswith("layers.")})
    head = only_prefix(state, "head.")
    decode = only_prefix(state, "decode_head.")
    kind: HeadKind | None = None
    outputs = 0
    if "final_layer.weight" in head:
        kind, outputs = "pose", int(head["final_layer.weight"].shape[0])
    elif "conv_seg.weight" in decode:
        outputs = int(decode["conv_seg.weight"].shape[0])
        kind = "depth" if outputs == 1 else "normal" if outputs == 3 else "seg"
    layers = head or decode
    return Described(
        kind=kind,
        outputs=outputs,
        width=int(table.shape[-1]),
        depth=depth,
        mlp_width=int(fc1.shape[0]),
        tokens=int(table.shape[1]),
        class_token="cls_token" in backbone,
        deconv_widths=_widths(layers, "deconv_layers", 1),
        conv_widths=_widths(layers, "conv_layers", 0),
    )


def _widths(layers: Mapping[str, Tensor], stage: str, axis: int) -> tuple[int, ...]:
    found = {
        int(name.split(".")[1]): int(tensor.shape[axis])
        for name, tensor in layers.items()
        if name.startswith(f"{stage}.") and name.endswith(".weight")
    }
    return tuple(found[i] for i in sorted(found))


def patch_padding(kind: HeadKind | None, outputs: int) -> int:
    """The padding of the official configuration: 2 for pose, normals, LIP and CIHP (20 classes), else 0."""
    return 2 if kind in ("pose", "normal") or (kind == "seg" and outputs == 20) else 0


def build_network(
    task: HeadKind,
    weights: Path | None,
    *,
    input_hw: tuple[int, int],
    outputs: int | None,
    options: SapiensV1Options,
    pinned: bool = False,
    trusted: bool = False,
    device: str = "cpu",
    precision: str = "fp32",
) -> nn.Module:
    """The network of one variant on its device: image [B, 3, H, W] -> raw head output.

    Args:
        weights: a state-dict file (any format of ``checkpoints.open_state``), or a TorchScript / torch.export archive;
            None with device "meta" for counting.
        outputs: keypoints or classes that the card's space has; None when the task has none.
        pinned: the file's sha256 is named by the card or the user, so that its code may run.
        trusted: the user vouched for the file; see ``checkpoints.open_state``.

    Raises:
        CheckpointRejected, UntrustedCheckpoint, CardError
    """
    if weights is None:
        if options.size is None:
            raise CardError("a Sapiens v1 card without weights needs the option 'size'")
        grid = (input_hw[0] // PATCH, input_hw[1] // PATCH)
        wanted = outputs or {"depth": 1, "normal": 3}.get(task, 0)
        padding = patch_padding(task, wanted) if options.patch_padding is None else options.patch_padding
        return on_meta(encoder_config(options.size, grid_hw=grid, patch_padding=padding), head_config(task, wanted))
    kind = sniff(weights)
    if kind in ("torchscript", "export"):
        program = Program(weights, kind, pinned=pinned, input_hw=input_hw, device=device, precision=precision)
        _compare_program(program, task, outputs, options)
        return program
    state = open_state(weights, trusted=trusted).state
    found = describe(state, weights)
    _compare(found, task, outputs, options, weights)
    encoder, head = configs(found, input_hw, options, weights)
    if head is None:
        raise CheckpointRejected(f"{weights} is {found}; it has no {task} head.")
    net = on_meta(encoder, head)
    keep = {name: t for name, t in state.items() if name.split(".")[0] in ("backbone", "head", "decode_head")}
    fill(net, keep, weights, what=f"the {task} network")
    return net.to(device=device, dtype=DTYPES[precision]).eval()


def _compare_program(program: Program, task: HeadKind, outputs: int | None, options: SapiensV1Options) -> None:
    """By the names of its tensors; by a trial run where the names were lost on export."""
    try:
        found = describe(program.named_weights(), program.path)
    except CheckpointRejected:
        wanted = outputs or {"depth": 1, "normal": 3}.get(task, 0)
        given = program.trial_channels()
        if given != wanted:
            raise CheckpointRejected(
                f"{program.path} gives {given} maps, but the card asks for {wanted} ({task}). "
                "Put the right file there, or run the variant that this file belongs to."
            ) from None
        return
    _compare(found, task, outputs, options, program.path)


def _compare(found: Described, task: str, outputs: int | None, options: SapiensV1Options, path: Path) -> None:
    size = options.size
    wrong_size = size is not None and SIZES[size][:2] != (found.width, found.depth)
    wrong_task = found.kind != task or (outputs is not None and found.outputs != outputs)
    if wrong_size or wrong_task:
        count = f" with {outputs} outputs" if outputs else ""
        raise CheckpointRejected(
            f"{path} is {found}, but the card asks for {task}{count}{f', size {size}' if size else ''}. "
            "Put the right file there, or run the variant that this file belongs to."
        )


def configs(
    found: Described, input_hw: tuple[int, int], options: SapiensV1Options, path: Path
) -> tuple[EncoderConfig, HeadConfig | None]:
    """Network configurations for a described checkpoint; the position table's own grid is kept as nominal."""
    heads = options.heads or SIZE_BY_WIDTH.get(found.width, ("", 0, 0))[2]
    if not heads or found.width % heads:
        raise CheckpointRejected(f"{path}: width {found.width} is no published size; give the card option 'heads'.")
    tokens = found.tokens - found.class_token
    grid = (input_hw[0] // PATCH, input_hw[1] // PATCH)
    if grid[0] * grid[1] != tokens:
        grid = _nominal_grid(tokens, path)
    padding = patch_padding(found.kind, found.outputs) if options.patch_padding is None else options.patch_padding
    encoder = EncoderConfig(found.width, found.depth, heads, found.mlp_width, grid, padding, found.class_token)
    if found.kind is None:
        return encoder, None
    return encoder, HeadConfig(found.kind, found.deconv_widths, found.conv_widths, found.outputs)


def _nominal_grid(tokens: int, path: Path) -> tuple[int, int]:
    side = int(tokens**0.5)
    if side * side == tokens:
        return side, side
    if tokens % 12 == 0 and (unit := int((tokens // 12) ** 0.5)) ** 2 * 12 == tokens:
        return 4 * unit, 3 * unit  # the 4:3 portrait grids of all task models
    raise CheckpointRejected(f"{path}: a position table of {tokens} rows fits neither a square nor a 4:3 grid.")


def load_encoder(
    weights: Path,
    *,
    heads: int | None = None,
    task_grid_hw: tuple[int, int] | None = None,
    patch_padding: Literal[0, 2] = 0,
) -> Encoder:
    """The encoder of a pre-training checkpoint (flat ``_clean`` file or full MAE), for features.

    Args:
        heads: attention heads, for widths that are not published sizes.
        task_grid_hw: None keeps the class token and the stored grid, as in pre-training. A grid builds the task form
            instead: class token dropped, position table resized.
        patch_padding: 0 as in pre-training, 2 as in the pose and normal models.

    Raises:
        CheckpointRejected
    """
    state = open_state(weights).state
    state = only_prefix(state, "backbone.") or state
    found = describe(state, weights)
    config, _ = configs(found, (0, 0), SapiensV1Options(heads=heads, patch_padding=patch_padding), weights)
    if task_grid_hw is not None:
        state = {name: tensor for name, tensor in state.items() if name != "cls_token"}
        state["pos_embed"] = adapt_position_table(state["pos_embed"], task_grid_hw)
        config = EncoderConfig(
            config.width, config.depth, config.heads, config.mlp_width, task_grid_hw, config.patch_padding
        )
    net = on_meta(config, None)
    fill(net, state, weights, what="the encoder")
    assert isinstance(net, Encoder)
    return net.eval()


def encoder_as_it_was(state: Mapping[str, Tensor], path: Path, input_hw: tuple[int, int], heads: int | None) -> Encoder:
    """An encoder in its task form from the tensors of one, position table and all.

    Args:
        path: of the file that holds them, for messages.

    Raises:
        CheckpointRejected
    """
    found = describe(state, path)
    config, _ = configs(found, input_hw, SapiensV1Options(heads=heads, patch_padding=0), path)
    net = on_meta(config, None)
    fill(net, state, path, what="the encoder")
    assert isinstance(net, Encoder)
    return net.eval()
