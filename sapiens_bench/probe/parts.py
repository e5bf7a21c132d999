"""Feature maps of a block of views as a job, for workers elsewhere: each writes a part beside the cache.

The cache takes parts in order, so its bytes and its resume do not depend on who made them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sapiens_bench.engine.device import resolve_device
from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.trunks import Trunk, open_trunk
from sapiens_bench.store.files import write_atomic
from sapiens_bench.workers import OnDone

Arrays = dict[str, NDArray[Any]]
Send = Callable[[str, Sequence[Any], Path, OnDone], None]  # as ``workers.Elsewhere``


class Elsewhere(NamedTuple):
    """Workers, and what a trunk is opened from there."""

    send: Send
    backbone: str
    weights: str
    input_hw: tuple[int, int]
    identity: str  # of the trunk that the driver has
    device: str

    def make(self, views: Path, folder: Path, blocks: Sequence[tuple[int, int]], on_part: Callable[[], object]) -> None:
        """Parts of the cache ``folder`` for blocks of the rows of ``views`` that have none yet."""
        trunk = {name: value for name, value in self._asdict().items() if name != "send"}
        missing = [block for block in blocks if not part_path(folder, block[0]).is_file()]
        jobs = [{**trunk, "views": str(views), "folder": str(folder), "block": block} for block in missing]

        def took(index: int, value: None) -> None:
            on_part()

        if jobs:
            self.send(f"{__name__}:make_part", jobs, folder, took)


def part_path(folder: Path, first: int) -> Path:
    """Of the block that begins with this row."""
    return folder / f"part-{first:09d}.npz"


def read_part(folder: Path, first: int) -> Arrays | None:
    """A block's feature maps; None where nobody has made them."""
    try:
        with np.load(part_path(folder, first)) as part:
            return dict(part)
    except FileNotFoundError:
        return None


def make_part(job: Mapping[str, Any]) -> None:
    """One block.

    Raises:
        UsageError: the trunk is another one on this machine.
    """
    device = resolve_device(job["device"], "fp32")
    trunk = _opened(job["backbone"], job["weights"], tuple(job["input_hw"]), device)
    if trunk.identity != job["identity"]:
        raise UsageError(f"{job['backbone']} has other weights here than on the driver's machine.")
    first, last = job["block"]
    images = np.load(job["views"], mmap_mode="r")[first:last]
    data = io.BytesIO()
    maps: Any = feature_maps(trunk, images, device)
    np.savez(data, **maps)  # without allow_pickle, which is one more array to NumPy 1
    write_atomic(part_path(Path(job["folder"]), first), data.getbuffer())


@lru_cache(maxsize=1)
def _opened(backbone: str, weights: str, input_hw: tuple[int, int], device: str) -> Trunk:
    torch.backends.cudnn.benchmark = device.startswith("cuda")
    torch.manual_seed(0)  # as for the trunk of the driver: some are drawn
    return open_trunk(backbone, Path(weights) if weights else None, input_hw=input_hw, device=device)


def feature_maps(trunk: Trunk, images: NDArray[Any], device: str) -> Arrays:
    """Tap -> float16 [N, channels, rows, columns] of views uint8 [N, 3, h, w]."""
    with torch.inference_mode():
        maps = trunk(torch.from_numpy(np.array(images)).to(device))
    limit = torch.finfo(torch.float16).max
    found = [m.float().clamp(-limit, limit).half().cpu().contiguous().numpy() for m in maps]
    return {tap.name: m for tap, m in zip(trunk.taps, found, strict=True)}
