"""A card for truth that lies in a folder: ``truth:DIR`` of a run, ``score --task seg|depth|normal --truth DIR``.

Everything after the card is the ordinary run: same rows, tables, intervals and comparisons. What the truth does not
declare is read off it where only one reading makes sense (adapters/dense/infer.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.dense.folder import DECLARED_AS
from sapiens_bench.adapters.dense.frames import FILE, read_frame
from sapiens_bench.adapters.dense.layout import FOLDERS, OPTION
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.errors import UsageError
from sapiens_bench.tasks import task_kind, task_names
from sapiens_bench.tasks.depth.alignment import Alignment
from sapiens_bench.types import StoredMaps

_DECLARED = frozenset(DECLARED_AS)
FITS: dict[Alignment, str] = {  # protocols of depth; the first is the default
    "scale_shift": "scale and shift fitted per image",
    "scale_shift_l1": "scale and shift fitted per image by least absolute errors",
    "scale": "scale fitted per image",
    "median": "medians matched per image",
    "none": "as it is, nothing fitted",
}


def is_scored(task: str) -> bool:
    """Whether folders of predicted maps are read for a task of this name; False where there is no such task."""
    return task in _DECLARED or (task in task_names() and task_kind(task).stored is not None)


def truth_root(task: str, truth: Path) -> tuple[Path, dict[str, Any]]:
    """The data set's root for a folder that was named, and the adapter options that lead from there to the files.

    Args:
        truth: a plain dense folder, one of its role folders (``DIR/depths``), or a folder of maps.

    Raises:
        UsageError: no such folder.
    """
    real = Path(os.path.realpath(truth))
    if not real.is_dir():
        raise UsageError(f"{truth} is no folder: ground truth for {task} is a folder of maps, or a plain dense folder.")
    is_role = real.name.lower() in FOLDERS.get(task, ())
    if task in _DECLARED and not (real / FILE).exists() and is_role and (real.parent / FILE).is_file():
        return real.parent, {OPTION[task]: real.name}
    return real, {}


def truth_space(truth: Path, given: str, options: Mapping[str, Any]) -> str:
    """The label set that a folder of label maps is scored in: the one given, else the one it declares.

    Raises:
        UsageError: neither. DatasetRejected: frame.json is malformed.
    """
    root, _ = truth_root("seg", truth)
    declared = read_frame(root, needed=False).labels
    space = given or str(options.get("space", "")) or (declared.space if declared else "")
    if not space:
        raise UsageError(
            f"{truth}: numbers alone do not say which label set they index. Give it: --space body28 or --space person2 "
            "of `score`, truth[body28]:DIR of `run`."
        )
    return space


def truth_card(
    task: str, truth: Path, card_id: str, *, space: str = "", options: Mapping[str, Any], pictures: bool
) -> DatasetCard:
    """The data-set card of a folder of truth; its root is ``truth_root``.

    Args:
        space: label set the score is computed in (``truth_space``).
        options: of the adapter as the request gives them, ``FolderOptions``.
        pictures: whether any model looks at pictures; they need not be there otherwise.

    Raises:
        UsageError: no such folder. DatasetRejected: frame.json is malformed.
    """
    root, chosen = truth_root(task, truth)
    stored = None if task in _DECLARED else task_kind(task).stored
    if stored is not None and not stored.adapter:
        raise UsageError(f"{truth}: truth for {task} is not read from folders; name a data set (--dataset).")
    if stored is not None:
        return _card_of(task, stored, truth, card_id, pictures)
    chosen |= {"infer": True, "pictures": pictures}
    if task == "seg" and "space" not in options and read_frame(root, needed=False).labels is None:
        chosen["space"] = space
    common: dict[str, Any] = {"task": task, "options": chosen} | ({"space": space} if task == "seg" else {})
    protocols: dict[str, dict[str, Any]] = {task: common | {"title": "stored maps"}}
    if task == "depth":
        protocols = {fit: common | {"title": title, "scoring": {"alignment": fit}} for fit, title in FITS.items()}
    return _card(truth, card_id, "dense_folder", protocols)


def _card_of(task: str, stored: StoredMaps, truth: Path, card_id: str, pictures: bool) -> DatasetCard:
    """Of a task that says itself how its maps are stored."""
    common = {"task": task, "options": {"pictures": pictures}}
    protocols = {
        name: common | {"title": name, "scoring": dict(scoring)}
        for name, scoring in (stored.protocols or {task: {}}).items()
    }
    return _card(truth, card_id, stored.adapter, protocols)


def _card(truth: Path, card_id: str, adapter: str, protocols: dict[str, dict[str, Any]]) -> DatasetCard:
    next(iter(protocols.values()))["default"] = True
    title = "".join(c if c.isprintable() else "?" for c in os.path.basename(os.path.realpath(truth)))[:80] or "."
    card = {
        "schema": "dataset/1",
        "id": card_id,
        "title": title,
        "licence": {"name": "not stated"},
        "get": f"It is the folder {title}.",
        "adapter": adapter,
        "protocols": protocols,
    }
    return DatasetCard.model_validate(card)
