"""How much of a score is the draw of the pictures, and how much that of the seed."""

from __future__ import annotations

import statistics
from pathlib import Path

from sapiens_bench.store.record import read_run


def seed_noise(run_folder: Path) -> str:
    """One sentence on the trained rows of a run: mean over seeds, deviation over seeds, half width over pictures.

    The interval of a row is over pictures, for one fixed head; a new seed moves the whole row. Both are needed to say
    that one trunk is better than another.
    """
    record = read_run(run_folder)
    cells = [cell for cell in record.cells if cell.status == "done" and cell.kind == "network"]
    if len(cells) < 2:
        return "How much a seed moves the score is not known: fewer than two of the rows were scored."
    scores = [cell.scores[cell.headline] for cell in cells]
    factor, unit = (100, " %") if scores[0].percent else (1, f" {scores[0].unit}".rstrip())  # as the table above it
    values = [score.value * factor for score in scores]
    halves = [(score.high - score.low) / 2 * factor for score in scores if score.low == score.low]
    pictures = f", 95% half width over pictures {statistics.mean(halves):.4g}{unit}" if halves else ""
    return (
        f"{scores[0].title} over {len(values)} seeds: mean {statistics.mean(values):.4g}{unit}, "
        f"standard deviation over seeds {statistics.stdev(values):.2g}{unit}{pictures}."
    )
