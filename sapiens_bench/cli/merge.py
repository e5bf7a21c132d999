"""``sapiens-bench merge``: one run of several, or of the parts of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, Format, OwnWeightsRoot, expanded
from sapiens_bench.cli.output import typed

EXAMPLES = """Examples:

    sapiens-bench run --task pose --models all --shard 1/4 --out parts/1     # on four machines: 1/4 to 4/4

    sapiens-bench merge parts/1 parts/2 parts/3 parts/4 --out run
"""


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of the same data.", callback=expanded)],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="New run folder.")],
    data_root: DataRoot = None,
    weights_root: OwnWeightsRoot = None,
    cards: Cards = None,
    format_: Annotated[Format, typer.Option("--format", help="Of the table printed.")] = Format.text,
) -> None:
    """Put runs of other models, or parts of one run (--shard), into one folder and score it anew."""
    from sapiens_bench.cli.run import execute
    from sapiens_bench.engine.again import NO_PART, request_of
    from sapiens_bench.store.merge import merge_folders
    from sapiens_bench.store.record import read_run

    records = [read_run(run) for run in runs]
    merge_folders(runs, out)
    asked = [request_of(record) for record in records]
    models = tuple(dict.fromkeys(name for each in asked for name in each.models))
    known = tuple(dict.fromkeys((*(card for each in asked for card in each.cards), *(cards or ()))))
    places = {"data_root": data_root, "weights_root": weights_root}
    request = request_of(
        records[0], models=models, cards=known, out=out, part=NO_PART, command=typed(),
        **{name: value for name, value in places.items() if value is not None},
    )  # fmt: skip
    execute(request, fmt=format_.value)
