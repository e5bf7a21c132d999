"""``sapiens-bench data prepare``: make the files of a data set that is rendered on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.data_check import open_adapter
from sapiens_bench.cli.flags import (
    Address,
    Cards,
    Engine,
    EngineOption,
    Limit,
    Name,
    Split,
    WorkersOf,
    existing_data,
    parse_workers,
)
from sapiens_bench.cli.output import next_commands, say, stderr
from sapiens_bench.errors import DataMissing, SapiensBenchError, TooManyErrors, UnknownName

if TYPE_CHECKING:
    from sapiens_bench.adapters.prepare import PrepareReport


def prepare(
    name: Name,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", "--root", callback=existing_data, help="Where its files lie.")
    ] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: all of them.")] = None,
    split: Split = "",
    limit: Limit = None,
    engine: EngineOption = Engine.local,
    workers: WorkersOf = "auto",
    address: Address = "",
    cards: Cards = None,
) -> None:
    """Render what is made on this machine; resumes; prints the manifest that two labs can compare."""
    from sapiens_bench.adapters.prepare import prepare_data as render_missing
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.locate import dataset_root
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.choices import Places
    from sapiens_bench.engine.events import DataProgress, Note
    from sapiens_bench.engine.provenance import cores
    from sapiens_bench.engine.ray_cluster import jobs_on

    catalog = Catalog.load(cards or [])
    card = catalog.dataset(name)
    root = dataset_root(card, data_root)
    if protocol is not None and protocol not in card.protocols:
        raise UnknownName(f"protocol of {card.id}", protocol, card.protocols)
    places = Places(engine.value, parse_workers(workers), address=address)
    failed = 0
    # An embedded set is the same pictures under every protocol; scans are rendered per framing.
    for each in [protocol] if protocol else list(card.protocols)[: 1 if card.embedded else None]:
        try:
            adapter = open_adapter(catalog, card, each, data_root, split)
        except SapiensBenchError as error:
            if protocol or not isinstance(error, DataMissing):
                raise
            say(f"{each}: left out: {error}", "yellow", to_stderr=True)
            continue
        with ProgressView(stderr()) as view, jobs_on(places, lambda text: view(Note(text))):
            report = render_missing(
                adapter, places.workers or cores(), lambda n, of: view(DataProgress(card.id, n, of)), limit
            )
        ready = f"images of {card.id} are ready in {root}" if card.embedded else ""
        _tell(report, each, ready)
        failed += report.n_failed
    where = "" if card.embedded else f" --data-root {data_root}"
    task = next(iter(card.protocols.values())).task
    next_commands([(f"sapiens-bench run --task {task} --dataset {card.id}{where}", "evaluate every model on it")])
    if failed:
        raise TooManyErrors(f"{failed} sample(s) of {card.id} could not be made; they will be error rows.")


def _tell(report: PrepareReport, protocol: str, ready: str) -> None:
    """Counts, notes and the first faults; ``ready`` replaces the counts of a set that has nothing else to tell."""
    size = f", {report.bytes / 1e6:.0f} MB written" if report.bytes else ""
    if ready:
        say(f"{report.n_made + report.n_present} {ready}")
    else:
        say(f"{protocol}: {report.n_made} made, {report.n_present} already there, {report.n_failed} failed{size}")
    for note in report.notes[:20]:
        say(f"  {note}", "yellow")
    for fault in report.faults[:20]:
        say(f"  {fault.key}: {fault.code}: {fault.detail}", "red")
    if report.manifest_path:
        say(f"  manifest: {report.manifest_path}")
