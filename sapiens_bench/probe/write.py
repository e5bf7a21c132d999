"""What a probe leaves: head files and one model card a task, which ``run --cards OUT`` reads."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.models.parts.dense_head import HeadPlan
from sapiens_bench.models.parts.trunks import SHIPPED, Trunk
from sapiens_bench.probe.request import ProbeRequest
from sapiens_bench.store.files import write_atomic

_log = logging.getLogger(__name__)
ARCH_TITLES = {"deeplabv3plus": "DeepLabV3+", "upernet": "UperNet", "dpt": "DPT", "mask2former": "Mask2Former"}
TITLES = {"seg": "segmentation", "depth": "depth", "normal": "normals", "pose": "keypoints"}


@dataclass(frozen=True)
class Fitted:
    """One head file."""

    seed: int
    file: str
    sha256: str
    size_bytes: int
    validation_loss: float


def write_head(request: ProbeRequest, seed: int, data: bytes, loss: float, folder: Path) -> Fitted:
    """Put the file of one seed in place."""
    name = request.model_name + (f"-s{seed}" if request.seeds > 1 else "") + ".safetensors"
    write_atomic(folder / name, data)
    return Fitted(seed, name, hashlib.sha256(data).hexdigest(), len(data), loss)


def write_cards(
    request: ProbeRequest, fitted: Sequence[Fitted], plan: HeadPlan, space: str | None, trunk: Trunk, folder: Path
) -> list[Path]:
    """One card a task, a variant a seed, and a link to the file of a frozen trunk. Returns the cards' paths."""
    if (weights := _trunk_file(request, trunk)) is not None:
        _link(weights, folder / weights.name)
    return [
        write_atomic(folder / f"{request.model_name}-{task}.yaml", card_text(request, fitted, plan, task, space, trunk))
        for task in request.tasks
    ]


def _trunk_file(request: ProbeRequest, trunk: Trunk) -> Path | None:
    """The file that the head needs beside its own: that of a frozen trunk which is not shipped, nor drawn at random."""
    is_random = trunk.identity.startswith("random")
    return None if is_random or request.finetune else request.backbone_weights


def _link(file: Path, link: Path) -> None:
    """Let ``link`` lead to ``file``, so that a run needs the head's folder alone; a copy that lies there stays."""
    if link.exists() and not link.is_symlink():
        return
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(file.absolute())
    except OSError as error:
        _log.warning(f"{link} cannot be made a link to {file} ({error}). Copy the file there to run the head.")


def card_text(
    request: ProbeRequest, fitted: Sequence[Fitted], plan: HeadPlan, task: str, space: str | None, trunk: Trunk
) -> bytes:
    """The card of one task as YAML."""
    backbone = SHIPPED[request.backbone].title if request.backbone in SHIPPED else request.backbone
    how = "fine-tuned trunk" if request.finetune else "frozen trunk"
    row = f"{backbone}, fine-tuned" if request.finetune else backbone
    eyes = "trained head with a small image stem" if plan.stem else "trained head"
    if plan.arch:
        eyes = f"{ARCH_TITLES[plan.arch]} decoder"
    weights = _trunk_file(request, trunk)
    also = {} if weights is None else {weights.name: file_sha256(weights)}
    place = "give its folder as --weights-root."
    if weights is not None:
        place += f" {weights.name} is the frozen trunk's own file: it belongs beside the head, where a link was made."
    card: dict[str, Any] = {
        "schema": "model/1",
        "id": f"{request.model_name}-{task}" + ("-probe" if request.seeds == 1 else ""),
        "title": f"Probe of {backbone}, {TITLES[task]}",
        "task": task,
        "licence": {"name": "see the backbone's and the data set's", "note": "A head fitted on this machine."},
        "wrapper": "probe_pose" if task == "pose" else "probe_head",
        **({"space": space} if task in ("seg", "pose") else {}),
        "input": {"height": request.input_hw[0], "width": request.input_hw[1]},
        "trained_on": str(request.train),
        "in_domain": [request.train.name],
        "notes": " ".join([f"{how.capitalize()}, {eyes}. Made by: {request.command}".strip(), *trunk.notes]),
        "variants": [
            {
                "id": request.model_id(task, each.seed),
                "title": f"{row}, {eyes}" + (f", seed {each.seed}" if request.seeds > 1 else ""),
                **({"options": {"depth_kind": "affine_invariant_depth"}} if task == "depth" else {}),
                "weights": {
                    "file": each.file,
                    "format": "safetensors",
                    "sha256": each.sha256,
                    "size_bytes": each.size_bytes,
                    "get": {"how": f"Made by `{request.command}`; {place}"},
                    **({"also": also} if also else {}),
                },
            }
            for each in fitted
        ],
    }
    return yaml.safe_dump(json.loads(json.dumps(card)), sort_keys=False, allow_unicode=True, width=120).encode()
