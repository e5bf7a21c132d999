"""``sapiens-bench explain-number``: which protocol gave that number?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, Format, FormatOption, OutFile, OwnWeightsRoot, expanded
from sapiens_bench.cli.output import show

EXAMPLES = """Examples:

    sapiens-bench explain-number results/runs/NAME --published 71.2

    sapiens-bench explain-number results/runs/NAME --model sapiens-0.3b --published 'oks/AP=71.2,oks/AR=74.0'

    sapiens-bench explain-number results/runs/NAME --published 'sapiens1-t3-humans-5k:Sapiens-0.3B'

    sapiens-bench explain-number results/runs/NAME --published 71.2 --rerun-model --boxes jitter:0.1
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
    rerun_model: Annotated[
        bool, typer.Option("--rerun-model", help="Also run the model with other boxes, crop paddings, resizing ...")
    ] = False,
    boxes: Annotated[
        list[str] | None, typer.Option("--boxes", help="With --rerun-model: a box source to try, as of run; repeated.")
    ] = None,
    weights_root: OwnWeightsRoot = None,
    n_boot: Annotated[int, typer.Option("--n-boot", min=2, help="Bootstrap draws.")] = 200,
    cards: Cards = None,
    format_: FormatOption = Format.text,
    out: OutFile = None,
) -> None:
    """Score the stored results under every plausible protocol, and name the one whose numbers are nearest."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.decide import explain, explain_run, pairs, rerun_ways
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.errors import UsageError
    from sapiens_bench.store.record import read_run

    if boxes and not rerun_model:
        raise UsageError(
            f"--boxes {boxes[0]}: other boxes need the model to run again. Add --rerun-model, or leave --boxes out."
        )
    catalog = Catalog.load(cards or ())
    root = run.parent if run.name == "run.json" else run
    member = explain_run.only_member(read_side(root), model)
    infos = explain_run.infos_of(pairs.task_of(member))
    if ":" in published:
        given = explain_run.printed(published, member.headline, infos, catalog)
    else:
        given = explain.parse_published(published, member.headline, infos)
    record = read_run(root)
    found, n = explain_run.candidates(root, record, member, given, catalog, n_draws=n_boot, data_root=data_root)
    known = rerun_ways.ways(member, record, catalog, boxes or ())
    notes = [] if rerun_model else [rerun_ways.not_tried(known)]
    if rerun_model:
        places = {"data_root": data_root, "weights_root": weights_root}
        changes = {name: value for name, value in places.items() if value is not None}
        with TemporaryDirectory(prefix="sapiens-bench-rerun-") as folder:
            more, notes = rerun_ways.rerun_candidates(
                record, member, known, given, catalog, Path(folder), n_draws=n_boot, changes=changes
            )
        found += more
        notes = [f"Run again, one change at a time: {', '.join(way.title for way in known) or 'nothing'}.", *notes]
    ranked = explain.rank(found, given)
    if not ranked:
        raise UsageError(f"{run}: none of the ways to score gives numbers for {', '.join(p.key for p in given)}.")
    document = explain.document(member, given, infos, ranked, n)
    show(replace(document, notes=(*document.notes, *notes)), format_.value, out)
