"""Draw ``docs/contact_sheet.jpg``: 24 synthetic humans, and ground truth of eight of them.

python tools/contact_sheet.py [--cache FOLDER] [--out docs/contact_sheet.jpg]
"""

from __future__ import annotations

import argparse
import colorsys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.synthetic.humans import SyntheticHumans, SyntheticTruth
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import cache_root
from sapiens_bench.engine.build import open_data
from sapiens_bench.engine.data_specs import check_options
from sapiens_bench.engine.request import Request

COLUMNS, CELL_WIDTH, CELL_HEIGHT, GAP = 8, 180, 240, 3
N_PICTURES = 24
# pictures whose truth is shown: full bodies, upper bodies, faces, pairs
TRUTH = (1, 2, 5, 6, 9, 14, 15, 20)
SKELETON = ((5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
            (0, 1), (0, 2), (1, 3), (2, 4))  # fmt: skip
Picture = NDArray[np.uint8]


def palette() -> Picture:
    """28 colours; the background is dark, left and right of a pair share a hue."""
    colours = [(24, 24, 28)]
    for i in range(1, 28):
        hue, value = (i * 0.381966) % 1.0, 0.95 if i % 2 else 0.75
        colours.append(tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.62, value)))
    return np.array(colours, np.uint8)


def keypoints(truth: SyntheticTruth) -> Picture:
    """The picture with its COCO-17 skeleton: green visible, orange hidden."""
    scale = 2  # drawn finer, so that lines stay smooth in the small cell
    canvas = cv2.resize(truth.rgb_HW3, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for points, flags in zip(truth.keypoints_NK2_px, truth.visible_NK):
        at = np.rint((points[:, :2] + 0.5) * scale).astype(int)
        for a, b in SKELETON:
            if flags[a] and flags[b]:
                cv2.line(canvas, tuple(map(int, at[a])), tuple(map(int, at[b])), (255, 225, 60), 5, cv2.LINE_AA)
        for k in range(65):
            if flags[k]:
                radius = 8 if k < 23 else 3
                colour = (60, 220, 90) if flags[k] == 2 else (255, 120, 40)
                cv2.circle(canvas, tuple(map(int, at[k])), radius, colour, -1, cv2.LINE_AA)
    return canvas


def depth(truth: SyntheticTruth) -> Picture:
    """Near is bright; each picture has its own range."""
    out = np.full((*truth.mask_HW.shape, 3), 24, np.uint8)
    values = truth.depth_HW_m[truth.mask_HW]
    low, high = np.quantile(values, [0.01, 0.99])
    share = np.clip((high - values) / max(high - low, 1e-6), 0, 1)
    out[truth.mask_HW] = cv2.applyColorMap((30 + 225 * share).astype(np.uint8)[:, None], cv2.COLORMAP_INFERNO)[
        :, 0, ::-1
    ]
    return out


def normals(truth: SyntheticTruth) -> Picture:
    out = np.full((*truth.mask_HW.shape, 3), 24, np.uint8)
    out[truth.mask_HW] = np.rint((truth.normals_HW3[truth.mask_HW] + 1) * 127.5)
    return out


def labels(truth: SyntheticTruth) -> Picture:
    return palette()[truth.labels_HW]


def cell(picture: Picture) -> Picture:
    small = Image.fromarray(picture).resize((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.LANCZOS)
    return np.pad(np.asarray(small), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def sheet(data: SyntheticHumans) -> Picture:
    truths = [data.load_truth(i) for i in range(N_PICTURES)]
    cells = [cell(truth.rgb_HW3) for truth in truths]
    for draw in (keypoints, labels, depth, normals):
        cells += [cell(draw(truths[i])) for i in TRUTH]
    rows = [np.concatenate(cells[i : i + COLUMNS], 1) for i in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows)[:-GAP, :-GAP]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--cache", type=Path, default=cache_root() / "data/synthetic-humans")
    parser.add_argument("--out", type=Path, default=root / "docs/contact_sheet.jpg")
    arguments = parser.parse_args()
    catalog = Catalog.load()
    card = catalog.dataset("synthetic-humans")
    spec = check_options(card, "depth", Request(task="depth").data(), catalog)
    data = open_data(replace(spec, root=arguments.cache)).adapter
    assert isinstance(data, SyntheticHumans)
    data.materialise(range(N_PICTURES), 2, lambda done, total: None)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(data)).save(arguments.out, quality=86, optimize=True, progressive=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
