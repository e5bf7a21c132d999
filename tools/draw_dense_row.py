"""The picture of the README: input, then labels, depth and normals of a shipped head, prediction above truth.

    python tools/draw_dense_row.py movenet-lightning docs/dense_row.jpg 3 7 12

The numbers are images of ``synthetic-humans`` (split default), people that no head was fitted on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sapiens_bench.api import load_model  # noqa: E402
from sapiens_bench.cards.catalog import Catalog  # noqa: E402
from sapiens_bench.engine.data_specs import open_named  # noqa: E402
from sapiens_bench.engine.request import Request  # noqa: E402
from sapiens_bench.probe.picture import depth_picture, label_picture, normal_picture, save_rows  # noqa: E402


def main(trunk: str, out: str, numbers: list[int]) -> None:
    """Write the picture."""
    import torch

    catalog = Catalog.load()
    card = catalog.dataset("synthetic-humans")
    colours = catalog.space("body28").colours
    tasks = ("seg", "depth", "normal")
    data = {
        task: open_named(card, card.default_protocol(task) or "", Request(task=task).data(), catalog).open.adapter
        for task in tasks
    }
    models: dict[str, Any] = {task: load_model(f"{trunk}-{task}") for task in tasks}
    predicted, true = [], []
    for number in numbers:
        found = {}
        samples = {task: data[task][number] for task in tasks}
        for task, model in models.items():
            prepared = model.prepare(samples[task].input)
            with torch.inference_mode():
                raw = model.forward({name: torch.from_numpy(array) for name, array in prepared.tensors.items()})
            found[task] = model.finish({name: tensor.numpy() for name, tensor in raw.items()}, prepared.geometry)
        mask = samples["depth"].target.mask_HW
        image = samples["seg"].input.image_HW3
        predicted += [
            image,
            label_picture(found["seg"].labels_HW, colours),
            depth_picture(found["depth"].depth_HW, mask),
            normal_picture(found["normal"].normals_HW3, mask),
        ]
        true += [
            np.full_like(image, 255),
            label_picture(samples["seg"].target.labels_HW, colours),
            depth_picture(samples["depth"].target.depth_HW, mask),
            normal_picture(samples["normal"].target.normals_HW3, mask),
        ]
    save_rows([predicted, true], Path(out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:]])
