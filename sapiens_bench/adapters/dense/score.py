"""Cards for truth and predictions that lie in two folders: ``score --task seg|depth|normal --truth DIR PRED_DIR``.

Everything after the cards is the ordinary run: same rows, tables, intervals and comparisons. Pictures are not needed;
what the truth does not declare is read off it where only one reading makes sense (adapters/dense/infer.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.dense.folder import DECLARED_AS
from sapiens_bench.adapters.dense.frames import FILE, read_frame
from sapiens_bench.adapters.dense.layout import FOLDERS, OPTION
from sapiens_bench.cards.schema import DatasetCard, ModelCard
from sapiens_bench.errors import UsageError

ID = "truth"


def truth_card(
    task: str,
    truth: Path,
    *,
    space: str = "",
    options: Mapping[str, Any] | None = None,
    scoring: Mapping[str, Any] | None = None,
) -> tuple[DatasetCard, Path]:
    """The data-set card of a folder of truth, and the root to open it with.

    Args:
        truth: a plain dense folder, one of its role folders (``DIR/depths``), or a folder of maps.
        space: label set the score is computed in; "" takes the one that frame.json declares.
        options: of the adapter, ``FolderOptions``.
        scoring: of the task, for example ``{"alignment": "none"}``.

    Raises:
        UsageError: another task, no such folder, or labels without a set.
        DatasetRejected: frame.json is malformed.
    """
    if task not in DECLARED_AS:
        raise UsageError(f"folders of maps are scored for {', '.join(DECLARED_AS)}, not for {task!r}.")
    if not truth.is_dir():
        raise UsageError(f"--truth {truth}: no such folder.")
    root, chosen = truth, {"infer": True, "pictures": False, **(options or {})}
    if not (truth / FILE).exists() and truth.name.lower() in FOLDERS[task] and (truth.parent / FILE).is_file():
        root, chosen = truth.parent, {OPTION[task]: truth.name, **chosen}
    if task == "seg":
        declared = read_frame(root, needed=False).labels
        space = space or str(chosen.get("space", "")) or (declared.space if declared else "")
        if not space:
            raise UsageError("labels are scored in a label set: give --space, for example body28 or person2.")
        if declared is None and "space" not in chosen:
            chosen["space"] = space
    protocol = {"task": task, "title": "stored maps against their truth", "default": True, "options": chosen}
    protocol |= {"space": space} if task == "seg" else {}
    protocol |= {"scoring": dict(scoring)} if scoring else {}
    card = {
        "schema": "dataset/1",
        "id": _free_id(root),
        "title": _text(truth.resolve().name),
        "licence": {"name": "as the folder's owner says"},
        "get": "The folder was named on the command line.",
        "adapter": "dense_folder",
        "protocols": {task: protocol},
    }
    return DatasetCard.model_validate(card), root


def results_card(
    task: str, folder: Path, *, space: str = "", options: Mapping[str, Any] | None = None
) -> tuple[ModelCard, Path]:
    """The model card of a folder of predictions, and the weights root to find it under.

    Args:
        space: label set of stored labels.
        options: of the wrapper, models/dense_options.py.

    Raises:
        UsageError: no such folder.
    """
    real = folder.resolve()
    if not real.is_dir():
        raise UsageError(f"{folder}: no such folder of predictions.")
    name = re.sub(r"[^A-Za-z0-9._+-]", "-", real.name).strip("-._+")[:60] or "predictions"
    variant = {
        "id": name,
        "title": _text(real.name),
        "options": dict(options or {}),
        "weights": {
            "file": real.name,
            "format": "predictions",
            "sha256": None,
            "get": {"how": "The folder was named on the command line."},
        },
    }
    card = {
        "schema": "model/1",
        "id": name,
        "title": _text(real.name),
        "task": task,
        "licence": {"name": "as the predictions' owner says"},
        "wrapper": "predictions",
        "trained_on": "not stated",
        "variants": (variant,),
    }
    return ModelCard.model_validate(card | ({"space": space} if task == "seg" and space else {})), real.parent


def _free_id(root: Path) -> str:
    """An id that no folder below the root has: a data set is looked for there first."""
    name = ID
    while (root / name).exists():
        name = f"ground-{name}"
    return name


def _text(name: str) -> str:
    """A folder's name as the title of a row."""
    return "".join(c if c.isprintable() else "?" for c in name)[:80] or "."
