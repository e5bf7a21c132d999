"""Draw every factor of ``study factor`` at five or all named levels, to be looked at: a row a factor.

python tools/factor_sheet.py OUT.png [--index 9] [--only age,height]
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sapiens_bench.adapters.conditions.condition import RESOLUTION
from sapiens_bench.adapters.conditions.lens import through_size
from sapiens_bench.render.factors import redraw
from sapiens_bench.render.scene import render
from sapiens_bench.study.design import FACTORS

HEIGHT, WIDTH, LEVELS, LABEL = 224, 168, 5, 14
FULL = 512, 384  # height and width in a study: resolution counts pixels of these


def drawn(name: str, level: str, index: int) -> np.ndarray:
    """A picture, uint8 [HEIGHT, WIDTH, 3]; but for resolution with the 17 points: green seen, orange hidden."""
    if name == RESOLUTION:
        rgb = through_size(_as_drawn(index), int(level), int(level) * FULL[0] / FULL[1])
        return np.asarray(Image.fromarray(rgb).resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    picture = render("study", index, height=HEIGHT, width=WIDTH, redraw=redraw(f"{name}={level}"))
    shown = picture.rgb_HW3.copy()
    for points, flags in zip(picture.keypoints_NK2_px[:, :17], picture.visible_NK[:, :17]):
        for (x, y), flag in zip(np.rint(points).astype(int), flags):
            if flag:
                shown[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = (0, 255, 0) if flag == 2 else (255, 80, 0)
    return shown


@lru_cache(maxsize=1)
def _as_drawn(index: int) -> np.ndarray:
    return render("study", index, height=FULL[0], width=FULL[1]).rgb_HW3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--index", type=int, default=9, help="picture of split study")
    parser.add_argument("--only", default=",".join(FACTORS))
    asked = parser.parse_args()
    names = asked.only.split(",")
    levels = {name: FACTORS[name].names or FACTORS[name].levels(LEVELS) for name in names}
    sheet = Image.new("RGB", (WIDTH * max(map(len, levels.values())), (HEIGHT + LABEL) * len(names)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        for column, level in enumerate(levels[name]):
            at = (column * WIDTH, row * (HEIGHT + LABEL))
            pen.text((at[0] + 3, at[1] + 1), f"{name} {level}", fill="black")
            sheet.paste(Image.fromarray(drawn(name, level, asked.index)), (at[0], at[1] + LABEL))
    sheet.save(asked.out)


if __name__ == "__main__":
    main()
