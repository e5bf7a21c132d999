"""Draw every factor of the rendered people at five or all named levels, to be looked at: a row a factor.

python tools/factor_sheet.py OUT.png [--index 9] [--only age,height]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sapiens_bench.render.factors import FACTORS, redraw
from sapiens_bench.render.scene import render

HEIGHT, WIDTH, LEVELS, LABEL = 224, 168, 5, 14


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
            picture = render("study", asked.index, height=HEIGHT, width=WIDTH, redraw=redraw(f"{name}={level}"))
            shown = picture.rgb_HW3.copy()
            for points, flags in zip(picture.keypoints_NK2_px[:, :17], picture.visible_NK[:, :17]):
                for (x, y), flag in zip(np.rint(points).astype(int), flags):
                    if flag:
                        shown[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = (0, 255, 0) if flag == 2 else (255, 80, 0)
            at = (column * WIDTH, row * (HEIGHT + LABEL))
            pen.text((at[0] + 3, at[1] + 1), f"{name} {level}", fill="black")
            sheet.paste(Image.fromarray(shown), (at[0], at[1] + LABEL))
    sheet.save(asked.out)


if __name__ == "__main__":
    main()
