"""Sapiens v1 networks with random weights as files with cards: a whole run needs no download, and times are real ones.

Scores of such networks mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from sapiens_bench.models.sapiens_load import patch_padding
from sapiens_bench.models.sapiens_net import (
    PATCH,
    EncoderConfig,
    HeadConfig,
    HeadKind,
    encoder_config,
    head_config,
    on_meta,
)
from sapiens_bench.profiling.subject import randomise

TASKS: tuple[HeadKind, ...] = ("pose", "seg", "depth", "normal")
SPACES = {"pose": "goliath308", "seg": "body28"}
OUTPUTS = {"pose": 308, "seg": 28, "depth": 1, "normal": 3}
TINY = "tiny"  # of four heads, for tests
TINY_HW, FULL_HW = (128, 96), (1024, 768)


def write(folder: Path, size: str = TINY, tasks: Sequence[HeadKind] = TASKS, seed: int = 0) -> list[str]:
    """One network a task: its file in ``folder/weights``, its card in ``folder/cards``.

    Args:
        size: "tiny", or a published one ("0.3b" ...).

    Returns:
        The models' ids, in the order of ``tasks``.
    """
    for name in ("weights", "cards"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    height, width = TINY_HW if size == TINY else FULL_HW
    for task in tasks:
        grid, padding = (height // PATCH, width // PATCH), patch_padding(task, OUTPUTS[task])
        head = head_config(task, OUTPUTS[task])
        if size == TINY:
            encoder = EncoderConfig(64, 2, 4, 128, grid, padding)
            widths = ((16,) * len(head.deconv_widths), (16,) * len(head.conv_widths))
            head = HeadConfig(task, *widths, head.outputs)
        else:
            encoder = encoder_config(size, grid_hw=grid, patch_padding=padding)
        net = on_meta(encoder, head)
        randomise(net, "cpu", seed)
        save_file(net.state_dict(), folder / "weights" / f"{_name(size, task)}.safetensors")
        card = _card(size, task, (height, width), encoder.heads)
        (folder / "cards" / f"{_name(size, task)}.yaml").write_text(json.dumps(card))  # JSON is YAML
    return [_name(size, task) for task in tasks]


def _name(size: str, task: str) -> str:
    return f"random-{size}-{task}"


def _card(size: str, task: str, input_hw: tuple[int, int], heads: int) -> dict[str, Any]:
    name, title = _name(size, task), f"Sapiens {size}, random weights"
    weights = {"file": f"{name}.safetensors", "format": "safetensors", "sha256": None, "get": {"how": "made here"}}
    return {
        "schema": "model/1", "id": name, "title": title, "task": task,
        "wrapper": "sapiens_v1", "licence": {"name": "CC0-1.0"}, "trained_on": "nothing",
        "input": {"height": input_hw[0], "width": input_hw[1]},
        **({"space": SPACES[task]} if task in SPACES else {}),
        "variants": [{"id": name, "title": title, "options": {"heads": heads}, "weights": weights}],
    }  # fmt: skip
