"""``sapiens-bench profile``: what models cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import (
    Cards,
    Device,
    Format,
    FormatOption,
    Options,
    TaskFilter,
    WeightsRoot,
    expanded,
    parse_options,
    split_commas,
)
from sapiens_bench.cli.output import next_commands, save, say, show, typed

if TYPE_CHECKING:
    from sapiens_bench.engine.profile import ProfileEvent

EXAMPLES = """Examples:

    sapiens-bench profile --models 'sapiens-*' --counts              # parameters and FLOPs; needs no weights

    sapiens-bench profile --models movenet-thunder --device cpu --batch 1,4 --threads 1

    sapiens-bench profile --models sapiens-0.3b/encoder --device cuda --precision fp32,bf16 --batch 1,8,32
"""


def profile(
    models: Annotated[
        list[str], typer.Option("--models", help="all, ids, families or globs; ID/encoder for that part alone.")
    ],
    task: TaskFilter = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Comma list of fp32, bf16, fp16.")] = "fp32",
    batch: Annotated[str, typer.Option("--batch", help="Comma list; halved where memory runs out.")] = "1",
    input_: Annotated[str | None, typer.Option("--input", metavar="HxW", help="Default: the card's.")] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile; its time is reported apart.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Convolution weights in that order.")] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Parameters and operations only; nothing is run.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Go through the list so often; keep medians.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Least measured time per row.")] = 3.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: torch's.")] = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    option: Options = None,
    out: Annotated[
        Path | None, typer.Option("--out", callback=expanded, help="Folder. Default: results/profiles/<name>.")
    ] = None,
    format_: FormatOption = Format.text,
) -> None:
    """Parameters, FLOPs, latency, memory, and how close a model comes to the machine's limit."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.profile import run_profile
    from sapiens_bench.engine.profile_request import ProfileRequest, parse_batches
    from sapiens_bench.engine.request import parse_input
    from sapiens_bench.profiling.timing import Budget
    from sapiens_bench.report.formats import render
    from sapiens_bench.report.profile_tables import document

    request = ProfileRequest(
        models=split_commas(models),
        task=task,
        device=device,
        precisions=split_commas([precision]),
        batches=parse_batches(batch),
        input_hw=parse_input(input_) if input_ else None,
        compile=compile_,
        channels_last=channels_last,
        counts_only=counts,
        rounds=rounds,
        budget=Budget(min_seconds=seconds),
        threads=threads,
        cards=tuple(cards or ()),
        weights_root=weights_root,
        options=parse_options(option or []),
        command=typed(),
    )
    folder = out or request.default_out()
    tables = document(run_profile(request.to(folder), Catalog.load(request.cards), _watch))
    save(folder / "profile.md", render(tables, "md"))
    fmt = format_.value
    show(tables, fmt)
    if fmt != "text":
        say(f"Profile: {folder}", to_stderr=True)
        return
    say(f"\nProfile: {folder}")
    next_commands([(f"sapiens-bench pareto RUN {folder}", "accuracy against cost, with plots")])


def _watch(event: ProfileEvent) -> None:
    """One line per event on stderr."""
    from sapiens_bench.engine.profile import ProfileNote, RowStarted

    if isinstance(event, ProfileNote):
        say(event.text, "dim", to_stderr=True)
        return
    if isinstance(event, RowStarted):
        least = f", at least {event.least_s:.3g} s per batch" if math.isfinite(event.least_s) else ""
        what = f"[{event.number}/{event.total}] {event.model}, {event.precision}, batch {event.batch}{least}"
        say(what, "dim", to_stderr=True)
        return
    row = event.row
    if row.status in ("failed", "refused"):
        say(f"{row.model}, {row.precision}, batch {row.batch}: {row.status}: {row.how}", "yellow", to_stderr=True)
