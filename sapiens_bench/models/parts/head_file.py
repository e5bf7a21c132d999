"""The file of a fitted head: float16 safetensors, and in its metadata (key ``probe``) what it was fitted on and how.

Tensors are ``head.*``; of a trunk that was trained or drawn at random, ``trunk.*`` as well. A frozen trunk with weights
of its own is named, with the hash of its file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.parts.dense_head import DenseHead, HeadPlan, Tap
from sapiens_bench.models.parts.rival_heads import RivalHead

FORMAT = "sapiens-bench-probe/1"
Head = DenseHead | RivalHead


@dataclass(frozen=True)
class HeadFile:
    """What a file says beside its tensors."""

    backbone: str  # as given to --backbone
    trunk: str  # ``Trunk.identity``
    input_hw: tuple[int, int]
    plan: HeadPlan
    made: Mapping[str, Any] = field(default_factory=dict)  # data, settings, seed, command; for people


def build_head(plan: HeadPlan) -> Head:
    """The decoder of a plan, its weights drawn. Raises UsageError: see ``RivalHead``."""
    return RivalHead(plan) if plan.arch else DenseHead(plan)


def save_head(about: HeadFile, head: Head, trunk: Mapping[str, Tensor] | None) -> bytes:
    """The file's bytes; ``head`` is folded. Equal inputs give equal bytes."""
    from safetensors.torch import save

    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    tensors |= {f"trunk.{name}": tensor for name, tensor in (trunk or {}).items()}
    half = {name: _half(tensors[name]) for name in sorted(tensors)}
    described = {"format": FORMAT, **asdict(about), "plan": asdict(about.plan)}
    return save(half, {"probe": json.dumps(described, sort_keys=True)})


def _half(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def load_head(path: Path) -> tuple[HeadFile, Head, dict[str, Tensor]]:
    """The description, the head in evaluation mode (float32), and the trunk's tensors, if the file holds any.

    Raises:
        CheckpointRejected: no such file's format, truncated, or tensors that are missing, too many or not finite.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118 (not a dict)
        if "probe" not in metadata:
            raise ValueError("it says nothing of a head; expected a file made by `sapiens-bench probe`")
        about = _described(json.loads(metadata["probe"]))
        bad = [n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
        if bad:
            raise ValueError(f"{len(bad)} tensors hold NaN or infinity, first {bad[0]!r}")
        head = build_head(about.plan).fold()
        head.load_state_dict({n.removeprefix("head."): t.float() for n, t in tensors.items() if n.startswith("head.")})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error).replace("\n", " ")
        raise CheckpointRejected(f"{path} cannot be used: {reason:.300}. Restore the file and run again.") from error
    return about, head, {n.removeprefix("trunk."): t for n, t in tensors.items() if n.startswith("trunk.")}


def _described(found: dict[str, Any]) -> HeadFile:
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']!r}, this version reads {FORMAT!r}")
    plan = found["plan"]
    taps = tuple(Tap(**tap) for tap in plan["taps"])
    return HeadFile(
        backbone=found["backbone"],
        trunk=found["trunk"],
        input_hw=(int(found["input_hw"][0]), int(found["input_hw"][1])),
        plan=HeadPlan(**{**plan, "taps": taps}),
        made=found["made"],
    )
