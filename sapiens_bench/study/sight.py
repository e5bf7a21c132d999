"""What a model cannot see: refused before anything is rendered where it is known, left out where rows show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sapiens_bench.adapters.conditions.condition import read_condition
from sapiens_bench.errors import UsageError
from sapiens_bench.render.factors import redraw
from sapiens_bench.store.rows import ATTRIBUTE, BASE
from sapiens_bench.study.design import Study, Trial
from sapiens_bench.tasks import task_kind

if TYPE_CHECKING:
    import pyarrow as pa

    from sapiens_bench.engine.specs import CellSpec

UNSEEN = "every row keeps its bits: nothing that was changed reaches the model or its truth"
_FLOORS, _ORACLES = "floors", ("oracle", "noisy_oracle")  # wrappers


def require_sight(study: Study, cells: Sequence[CellSpec]) -> list[str]:
    """One sentence for each model that cannot see what a study of pictures changes.

    Raises:
        UsageError: no model can.
    """
    if study.base.boxes.startswith("detector:") or not all(changes_pictures_alone(trial) for trial in study.trials):
        return []
    reasons = {spec.cell.model: _blindness(spec) for spec in cells}
    blind = {model: why for model, why in reasons.items() if why}
    if blind and len(blind) == len(reasons):
        model, why = next(iter(blind.items()))
        what = ", ".join(dict.fromkeys(trial.series for trial in study.trials))
        raise UsageError(
            f"{model} {why}, and this study changes pictures alone ({what}): no number could move. Name a model that "
            "looks at them with --models, or a factor that changes the truth, e.g. camera_pitch."
        )
    return [f"{model} {why}: it will be left out of the tables." for model, why in blind.items()]


def changes_pictures_alone(trial: Trial) -> bool:
    """Whether a condition leaves the truth and the boxes as they are."""
    factor, condition = str(trial.change.get("data_options", {}).get("factor", "")), trial.change.get("condition")
    if condition:
        found = read_condition(condition)
        return found is not None and not found.moves_boxes
    return bool(factor) and redraw(factor).is_appearance


def _blindness(spec: CellSpec) -> str:
    """Why a model's answers cannot depend on the picture; empty when they may."""
    card = spec.model.entry.card
    if card.wrapper in _ORACLES:
        return "answers from the truth"
    if card.wrapper == _FLOORS:
        floor = task_kind(card.task).floors[spec.model.options["rule"]]
        if not (floor.needs_mask or floor.needs_picture):
            return "answers without looking at the picture"
    return ""


def is_unseen(reference: pa.Table, changed: pa.Table) -> bool:
    """Whether rows of the same pictures are those of the reference, bit for bit, attributes of the pictures apart.

    Where no picture was answered, equal misses say nothing about sight.
    """
    names = _told_of(reference)
    return (
        "" in reference["error_side"].to_pylist()
        and names == _told_of(changed)
        and all(_same(reference[name], changed[name]) for name in names)
    )


def _told_of(rows: pa.Table) -> list[str]:
    """Columns of what was answered, and whether it was: a miss may have the numbers of a bad answer."""
    kept = ("error_side", "error_code")
    return [n for n in rows.column_names if n in kept or not (n in BASE or n.startswith(ATTRIBUTE))]


def _same(a: Any, b: Any) -> bool:
    """Arrow holds no NaN equal to another."""
    return bool(a.equals(b)) or repr(a.to_pylist()) == repr(b.to_pylist())
