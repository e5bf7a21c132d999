"""The scores of a run made once more from its rows, and compared with those that run.json tells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.engine.scores import Draws, excluded, score, scored_rows
from sapiens_bench.errors import SapiensBenchError, UnknownName
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord
from sapiens_bench.tasks import task_for
from sapiens_bench.types import Task

# Sums in another order, as another machine's library may make them, move a score by less.
TOLERANCE = 1e-9


class Scored(NamedTuple):
    """Scores of one cell from its rows, and in what run.json differs from them."""

    cell: CellRecord
    scores: dict[str, ScoreRecord]
    faults: list[str]


def task_of(record: RunRecord, cell: CellRecord, catalog: Catalog) -> Task:
    """The task of a cell, by the protocol as the record keeps it; today's card may say something else.

    Raises:
        UnknownName: neither the record nor a card knows the protocol, its task, or its keypoint or label set.
    """
    protocol = _protocol(record, cell, catalog)
    return task_for(protocol, None if protocol.space is None else catalog.space(protocol.space))


def score_again(
    record: RunRecord, cells: Sequence[tuple[CellRecord, pa.Table]], catalog: Catalog
) -> tuple[list[Scored], list[str]]:
    """Score the cells of ONE data set again: images at fault for any of them leave all.

    Returns:
        Per cell what was found, and notes on cells that this installation cannot score.
    """
    left_out = excluded([rows for _, rows in cells])
    n_boot = record.request.get("n_boot", 0)
    weights = Draws(int(n_boot), record.seeds.get("bootstrap", 0)) if n_boot else None
    found: list[Scored] = []
    notes: list[str] = []
    for cell, rows in cells:
        try:
            fresh = score(scored_rows(rows, left_out), task_of(record, cell, catalog), weights)
        except (
            SapiensBenchError,
            KeyError,
        ) as error:  # KeyError: columns that this version's metric needs and rows lack
            notes.append(f"{cell.model} on {cell.dataset}: the scores could not be made again: {error}")
            continue
        found.append(Scored(cell, fresh, differences(cell.scores, fresh)))
    return found, notes


def differences(told: Mapping[str, ScoreRecord], fresh: Mapping[str, ScoreRecord]) -> list[str]:
    """One sentence per score that run.json has otherwise."""
    found = [f"run.json has a score {key} that the rows do not give" for key in told if key not in fresh]
    found += [f"run.json lacks the score {key}" for key in fresh if key not in told]
    for key in told.keys() & fresh.keys():
        for name in ScoreRecord.model_fields:
            a, b = getattr(told[key], name), getattr(fresh[key], name)
            if not _same(a, b):
                found.append(f"{key}: {name} is {_text(a)} in run.json, the rows give {_text(b)}")
    return sorted(found)


def _protocol(record: RunRecord, cell: CellRecord, catalog: Catalog) -> EvalProtocol:
    kept = record.cards.get(cell.dataset, {}).get("protocols", {})
    if isinstance(kept, dict) and cell.protocol in kept:
        with suppress(ValueError):  # of a version whose protocols had other keys: today's card decides
            return EvalProtocol.model_validate_json(json.dumps(kept[cell.protocol]))
    card = catalog.dataset(cell.dataset)
    if cell.protocol not in card.protocols:
        raise UnknownName(f"protocol of {card.id}", cell.protocol, card.protocols)
    return card.protocols[cell.protocol]


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return a == b


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
