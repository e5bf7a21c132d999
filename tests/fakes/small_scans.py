"""A box with six coloured sides as a scan, and how tests open and look at scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.scans.customhumans import CustomHumans
from sapiens_bench.adapters.scans.renderpeople import RenderPeople
from sapiens_bench.adapters.scans.scan_set import ScanSet
from sapiens_bench.adapters.scans.thuman2 import THuman2
from sapiens_bench.adapters.scans.twok2k import TwoK2K
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol

CATALOG = Catalog.load()
SETS: dict[str, type[ScanSet]] = {
    "thuman2": THuman2, "thuman21": THuman2, "customhumans": CustomHumans, "2k2k": TwoK2K, "renderpeople": RenderPeople,
}  # fmt: skip
SMALL = {"size": [64, 48]}
COLOURS = [(220, 30, 30), (30, 200, 40), (40, 60, 220), (220, 210, 40), (200, 40, 200), (40, 210, 210)]
CORNERS = [(x, y, z) for x in (-0.3, 0.3) for y in (0.0, 1.7) for z in (-0.15, 0.15)]
QUADS = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]  # side k has colour k


def box(*, z_up: bool = False, uv: bool = True, head: str = "mtllib material0.mtl\nusemtl material0\n") -> str:
    """A person of 1.7 m: a box with one texture cell a side. z up: the axes of THuman2.1 from 0526 on."""
    lines = [head]
    lines += ["v {} {} {}".format(*((z, x, y) if z_up else (x, y, z))) for x, y, z in CORNERS]
    lines += [f"vt {(k + 0.5) / 6} 0.5" for k in range(6)]
    for k, quad in enumerate(QUADS):
        lines.append("f " + " ".join(f"{i}/{k + 1}" if uv else str(i) for i in quad))
    return "\n".join(lines) + "\n"


def texture() -> Image.Image:
    return Image.fromarray(np.uint8(COLOURS)[None].repeat(4, 0).repeat(4, 1))


def scan(folder: Path, obj: str | None = None, name: str = "", *, image: str = "material0.jpeg") -> Path:
    """A sound scan; JPEG keeps cells of four pixels apart only with full quality, so PNG is written under any name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name or folder.name}.obj").write_text(box() if obj is None else obj)
    (folder / "material0.mtl").write_text(f"newmtl material0\nmap_Kd {image}\n")
    texture().save(folder / image, "PNG")
    return folder


def opened(root: Path, dataset: str = "thuman2", task: str = "depth", protocol: str = "", **options: Any) -> ScanSet:
    card, kind = CATALOG.dataset(dataset), SETS[dataset]
    given = {**(card.protocols[protocol].options if protocol else {}), **({} if protocol else SMALL), **options}
    chosen = EvalProtocol(task=task, title="test", options=given)
    read = read_options(kind.Options, given, dataset)
    return kind(
        DataContext(
            card=card, protocol=chosen, space=None, to_space={}, root=root, split="", boxes="", seed=0, options=read
        )
    )


def picture(data: ScanSet, index: int = 0) -> np.ndarray[Any, Any]:
    return data[index].input.image_HW3.astype(int)


def height_px(data: ScanSet, index: int = 0) -> tuple[int, int]:
    """Rows and columns of the silhouette."""
    mask = data[index].target.mask_HW
    return int(mask.any(1).sum()), int(mask.any(0).sum())


# Which way is up ------------------------------------------------------------------------------------------------------
