"""``sapiens-bench verify golden``: compare this installation with a folder of official inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, JsonOut, WeightsRoot, expanded
from sapiens_bench.cli.output import grid, save, say
from sapiens_bench.errors import VerificationFailed


def golden(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, callback=expanded)],
    json_: JsonOut = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
) -> None:
    """Compare this installation with a folder of official inputs and outputs."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.golden.verify import verify

    checks = list(verify(folder, Catalog.load(cards or []), weights_root))
    rows = [
        ("skip", c.item, "", "", c.note)
        if c.skipped
        else ("ok" if c.passed else "FAIL", c.item, f"{c.difference:.3g}", f"{c.tolerance:.3g}", c.note)
        for c in checks
    ]
    grid(("", "Item", "Difference", "Tolerance", "Note"), rows, right=(2, 3))
    failed, skipped = [c for c in checks if c.failed], [c for c in checks if c.skipped]
    if json_ is not None:
        items = [{**asdict(c), "difference": _finite(c.difference), "passed": c.passed} for c in checks]
        data = {"schema": "golden/1", "folder": str(folder), "checks": items}
        save(json_, json.dumps(data, indent=1, allow_nan=False) + "\n")
    if failed:
        raise VerificationFailed(
            f"{len(failed)} of {len(checks)} items differ: {', '.join(c.item for c in failed[:5])}"
        )
    left = f" {len(skipped)} could not be compared: the fixtures do not hold what they need." if skipped else ""
    say(f"All {len(checks) - len(skipped)} items that could be compared agree.{left}", "green")


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None
