"""``sapiens-bench explain-number``: which protocol gave that number?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, Format, FormatOption, OutFile, expanded
from sapiens_bench.cli.output import show

EXAMPLES = """Examples:

    sapiens-bench explain-number results/runs/NAME --published 71.2

    sapiens-bench explain-number results/runs/NAME --model sapiens-0.3b --published 'oks/AP=71.2,oks/AR=74.0'

    sapiens-bench explain-number results/runs/NAME --published 'sapiens1-t3-humans-5k:Sapiens-0.3B'
"""


def explain_number(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that `run` printed.", show_default=False, callback=expanded)
    ],
    published: Annotated[
        str,
        typer.Option(
            "--published", help="NUMBER, SCORE=NUMBER,..., or ENTRY:ROW of `list published`.", show_default=False
        ),
    ],
    model: Annotated[str | None, typer.Option("--model", help="Where the run has several.")] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", callback=expanded, help="Of the truth, where it has moved.")
    ] = None,
    n_boot: Annotated[int, typer.Option("--n-boot", min=2, help="Bootstrap draws.")] = 200,
    cards: Cards = None,
    format_: FormatOption = Format.text,
    out: OutFile = None,
) -> None:
    """Score the stored results under every plausible protocol, and name the one whose numbers are nearest."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.decide import explain, explain_run, pairs
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.errors import UsageError
    from sapiens_bench.store.record import read_run

    catalog = Catalog.load(cards or ())
    root = run.parent if run.name == "run.json" else run
    member = explain_run.only_member(read_side(root), model)
    infos = explain_run.infos_of(pairs.task_of(member))
    if ":" in published:
        given = explain_run.printed(published, member.headline, infos, catalog)
    else:
        given = explain.parse_published(published, member.headline, infos)
    found, n = explain_run.candidates(root, read_run(root), member, given, catalog, n_draws=n_boot, data_root=data_root)
    ranked = explain.rank(found, given)
    if not ranked:
        raise UsageError(f"{run}: none of the ways to score gives numbers for {', '.join(p.key for p in given)}.")
    show(explain.document(member, given, infos, ranked, n), format_.value, out)
