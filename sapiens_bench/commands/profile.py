"""``sapiens-bench profile`` and ``report --pareto``: what models cost, and accuracy against cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.commands.output import next_commands, say, typed, write
from sapiens_bench.errors import StorageFull, StoreError, UnknownName, UsageError

if TYPE_CHECKING:
    from sapiens_bench.engine.profile import ProfileEvent
    from sapiens_bench.profiling.record import ProfileRecord
    from sapiens_bench.report.sheet import Sheet
    from sapiens_bench.store.record import RunRecord

FORMATS = ("text", "md", "csv", "json")
_EXAMPLES = """Examples:

    sapiens-bench profile --models 'sapiens-*' --counts              # parameters and FLOPs; needs no weights

    sapiens-bench profile --models movenet-thunder --device cpu --batch 1,4 --threads 1

    sapiens-bench profile --models sapiens-0.3b/encoder --device cuda --precision fp32,bf16 --batch 1,8,32
"""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("profile", epilog=_EXAMPLES)(profile)


def profile(
    models: Annotated[
        list[str], typer.Option("--models", help="all, ids, families or globs; ID/encoder for that part alone.")
    ],
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Comma list of fp32, bf16, fp16.")] = "fp32",
    batch: Annotated[str, typer.Option("--batch", help="Comma list; halved where memory runs out.")] = "1",
    input_: Annotated[str | None, typer.Option("--input", metavar="HxW", help="Default: the card's.")] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile; its time is reported apart.")] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Parameters and operations only; nothing is run.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Go through the list so often; keep medians.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Least measured time per row.")] = 3.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: torch's.")] = None,
    weights_root: Annotated[Path | None, typer.Option("--weights-root", help="Where weight files lie.")] = None,
    cards: Annotated[list[Path] | None, typer.Option("--cards", help="Folder with cards of your own.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="NAME=VALUE for the models.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder. Default: results/profiles/<name>.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, md, csv or json.")] = "text",
) -> None:
    """Parameters, FLOPs, latency, memory, and how close a model comes to the machine's limit."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.commands.run import parse_options, split_commas
    from sapiens_bench.engine.profile import run_profile
    from sapiens_bench.engine.profile_request import ProfileRequest, parse_batches, parse_input
    from sapiens_bench.profiling.timing import Budget

    _check_format(format_)
    request = ProfileRequest(
        models=split_commas(models),
        task=task,
        device=device,
        precisions=split_commas([precision]),
        batches=parse_batches(batch),
        input_hw=parse_input(input_) if input_ else None,
        compile=compile_,
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
    record = run_profile(request.to(folder), Catalog.load(request.cards), _watch)
    from sapiens_bench.report.profile_tables import facts, sheets

    found = sheets(record)
    _save(folder / "profile.md", _rendered(found, "md", title="What the models cost", facts=facts(record)))
    write(_json(record) if format_ == "json" else _rendered(found, format_))
    say(f"\nProfile: {folder}", to_stderr=format_ != "text")
    if format_ == "text":
        next_commands([(f"sapiens-bench report RUN {folder} --pareto", "accuracy against cost, with plots")])


def show(folder: Path, *, fmt: str, out: Path | None) -> None:
    """Print or write the tables of a finished profile.

    Raises:
        UnknownName: profiles are written as text, md, csv or json.
        StoreError: the record cannot be read.
    """
    from sapiens_bench.profiling.record import read_profile
    from sapiens_bench.report.profile_tables import facts, sheets

    _check_format(fmt)
    record = read_profile(folder)
    title, about = "What the models cost", facts(record)
    text = _json(record) if fmt == "json" else _rendered(sheets(record), fmt, title=title, facts=about)
    if out is None:
        write(text)
    else:
        _save(out, text)
        say(f"Written: {out}")


def pareto(folders: Sequence[Path], *, fmt: str, out: Path | None, cards: Sequence[Path]) -> None:
    """Join runs and profiles and draw the plots.

    Args:
        folders: of runs and profiles, in any order.
        out: folder for table and plots; None: the table goes to stdout, the plots beside the first profile.

    Raises:
        StoreError: a folder is neither a run nor a profile.
        UsageError: there is no profile among them, or nothing in common.
    """
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.report import pareto as report
    from sapiens_bench.report.plots import draw

    _check_format(fmt)
    runs, profiles, first = _read(folders)
    groups = report.join(runs, profiles, Catalog.load(cards))
    if not groups:
        raise UsageError("No model of these runs has been profiled. Profile the same models: `sapiens-bench profile`.")
    scaling = report.scaling_sheet(groups)
    found = [*(report.sheet(group) for group in groups), *([scaling] if scaling else [])]
    folder = out or first / "pareto"
    written = draw(groups, folder)
    if fmt == "json":
        raise UsageError("--pareto writes text, md or csv.")
    if out is not None:
        name = {"text": "pareto.txt", "md": "pareto.md", "csv": "pareto.csv"}[fmt]
        _save(folder / name, _rendered(found, fmt, title="Accuracy against cost"))
        say(f"Written: {folder / name}")
    else:
        write(_rendered(found, fmt))
    say(f"Plots:   {len(written)} files in {folder}", to_stderr=fmt != "text")


def _read(folders: Sequence[Path]) -> tuple[list[RunRecord], list[ProfileRecord], Path]:
    from sapiens_bench.profiling.record import FILE, read_profile
    from sapiens_bench.store.record import read_run

    runs, profiles, homes = [], [], []
    for folder in folders:
        is_run = (folder / "run.json").exists()
        is_profile = (folder / FILE).exists() or folder.suffix == ".json"
        if is_run and (run := read_run(folder)).cells:
            runs.append(run)
        if is_profile:
            profiles.append(read_profile(folder))
            homes.append(folder if folder.is_dir() else folder.parent)
        if not (is_run or is_profile):
            raise StoreError(f"{folder} holds neither run.json nor {FILE}.")
    if not profiles:
        raise UsageError("--pareto needs at least one folder that `sapiens-bench profile` printed, beside the runs.")
    return runs, profiles, homes[0]


def _check_format(fmt: str) -> None:
    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)


def _rendered(sheets: Sequence[Sheet], fmt: str, title: str = "", facts: Sequence[str] = ()) -> str:
    from sapiens_bench.report import sheet

    if fmt == "md":
        return sheet.markdown(sheets, title, facts)
    return sheet.comma_separated(sheets) if fmt == "csv" else sheet.text(sheets)


def _json(record: ProfileRecord) -> str:
    return json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"


def _save(path: Path, text: str) -> None:
    from sapiens_bench.store.files import write_atomic

    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise StorageFull(f"{path} could not be written: {error.strerror}.") from None


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
