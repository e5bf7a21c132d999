"""Where things lie in a run folder, and which names may become part of a path.

``rows/<task>/<data set>/<protocol>/<model>/shard-00000.parquet``, the same below ``preds/`` and ``maps/``;
``quarantine/`` holds, under the same paths, what was found damaged, ``failed/`` why a shard has only error rows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from sapiens_bench.errors import PathEscape
from sapiens_bench.store.files import refuse_links, storage_error

Kind = Literal["rows", "preds", "maps"]
QUARANTINE = "quarantine"
_MAX_BYTES = 200


def part_fault(name: str) -> str:
    """Why ``name`` cannot be one folder of a path; "" when it can."""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return "it starts with a point"
    if "/" in name or "\\" in name:
        return "it holds a slash"
    if not name.isprintable():
        return "it holds a control character"
    return "" if len(name.encode("utf-8", "surrogatepass")) <= _MAX_BYTES else f"it is longer than {_MAX_BYTES} bytes"


def _checked(name: str) -> str:
    """Ids of a record that was read: an unmeasured row may lack one, none may lead out of a folder."""
    if name and (fault := part_fault(name)):
        raise ValueError(f"{name!r} cannot be a name: {fault}")
    return name


PathPart = Annotated[str, AfterValidator(_checked)]


def cell_folder(root: Path, kind: Kind, task: str, dataset: str, protocol: str, model: str) -> Path:
    """The folder of one cell; may not exist.

    Raises:
        PathEscape: a name that cannot be a folder, or a link on the way.
    """
    for name in (task, dataset, protocol, model):
        if fault := part_fault(name):
            raise PathEscape(f"{name!r} cannot be the name of a folder below {root / kind}: {fault}.")
    folder = root / kind / task / dataset / protocol / model
    refuse_links(root, folder)
    return folder


def cell_folders(root: Path, kind: Kind) -> list[Path]:
    """Every cell folder that is there, in order of its path; links are passed over."""
    level = [root / kind]
    for _ in range(4):
        level = [
            child
            for parent in level
            if parent.is_dir() and not parent.is_symlink()
            for child in sorted(parent.iterdir())
            if child.is_dir() and not child.is_symlink() and not part_fault(child.name)
        ]
    return level


def set_aside(root: Path, path: Path) -> Path:
    """Move a damaged file of a run folder to the same place below ``quarantine/``; earlier ones there are kept.

    Raises:
        StorageFull: no room or no permission.
    """
    place = root / QUARANTINE / path.relative_to(root)
    number, target = 1, place
    while os.path.lexists(target):
        number += 1
        target = place.with_name(f"{place.name}.{number}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    except OSError as error:
        raise storage_error(error, target) from error
    return target
