"""A study on disk, told: what ``study`` ends with and ``report STUDY`` shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cli.output import save, say, show, write
from sapiens_bench.errors import StorageFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sapiens_bench.decide.sides import Side
    from sapiens_bench.study.effects import Profile
    from sapiens_bench.study.page import Pictures
    from sapiens_bench.study.stored import StoredStudy


@dataclass(frozen=True)
class Told:
    """What was told."""

    study: StoredStudy
    found: Sequence[Profile]
    files: Sequence[Path]  # of the figure


def tell(
    folder: Path,
    pictures: Pictures,
    *,
    fmt: str,
    out: Path | None = None,
    n_draws: int | None = None,
    score: str = "",
    complaints: Sequence[str] = (),
    beside: Side | None = None,
) -> Told:
    """Draw the figure of a study into its folder, and print or write its tables, as html its page.

    Args:
        n_draws: of the bootstrap; those that the study was made with when None.
        complaints: what kept a condition from being whole.
        beside: a run of the same models on photographs.

    Raises:
        StoreError: it cannot be read, or no condition was run.
        UsageError: a study over time, or runs that were not made alike.
    """
    from sapiens_bench.report.study_page import render
    from sapiens_bench.study import figure, page
    from sapiens_bench.study.stored import measured, read_study, told

    study = read_study(folder)
    n_draws = n_draws or study.draws
    found = measured(study, n_draws=n_draws, score=score)
    try:
        files: Sequence[Path] = figure.draw(found, folder)
    except StorageFull as error:  # a folder of someone else is told all the same
        say(f"The figure is not drawn anew: {error}", "dim", to_stderr=True)
        files = sorted(folder.glob("figure-*"))
    drawn = figure.pictures(found, files, out)
    document = told(
        study, found, n_draws=n_draws, complaints=complaints, beside=beside, pictures=drawn, catalog=pictures.catalog
    )
    if fmt != "html":
        show(document, fmt, out)
    else:
        text = render(page.page(study, found, document, pictures))
        if out is None:
            write(text)
        else:
            save(out, text)
            say(f"Written: {out}")
    return Told(study, found, files)
