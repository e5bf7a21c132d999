"""``sapiens-bench verify coco``: the pose scores of a run, checked by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli.output import grid, say
from sapiens_bench.errors import VerificationFailed
from sapiens_bench.store.record import read_run


def execute(folder: Path, *, out: Path | None, cards: Sequence[Path]) -> None:
    """Compare all statistics of every measured cell; keep the files below ``out`` when it is given.

    Raises:
        UsageError: no pose run.
        DataMissing: the data set, or the predictions of a network, are not there.
        VerificationFailed: a statistic differs.
    """
    from sapiens_bench.checks.coco import check_run

    root = folder.parent if folder.name == "run.json" else folder
    checks = list(check_run(root, read_run(folder), Catalog.load(cards), out))
    rows = [
        (
            check.cell.title,
            check.cell.dataset,
            f"{check.ours('AP'):.6f}",
            f"{check.theirs['AP']:.6f}",
            str(len(check.theirs)),
            f"{check.difference:g}",
        )
        for check in checks
    ]
    heads = ("Model", "Data set", "AP, ours", "AP, pycocotools", "Statistics", "Largest difference")
    grid(heads, rows, right=(2, 3, 4, 5))
    for check in checks:
        for remark in check.remarks:
            say(f"{check.cell.title} on {check.cell.dataset}: {remark}", "dim")
    if out is not None:
        say(f"COCO files: {out}")
    wrong = sum(check.difference > 0 for check in checks)
    if wrong:
        raise VerificationFailed(f"{wrong} of {len(checks)} cells differ from pycocotools.")
    say(f"All ten statistics of {len(checks)} cell(s) equal pycocotools exactly.", "green")
