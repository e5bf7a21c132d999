"""``sapiens-bench data``: where data sets come from, whether they are complete, and making those that are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import cache_root, dataset_root, hub_cache, weights_cache
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.commands.listing import dataset_status
from sapiens_bench.commands.output import grid, next_commands, say, stderr
from sapiens_bench.errors import DataError, DataMissing, SapiensBenchError, UnknownName, UsageError

if TYPE_CHECKING:
    from sapiens_bench.types import Adapter


def show(name: str, *, cards: Sequence[Path], data_root: Path | None) -> None:
    """A data set's licence, protocols, layout and how to obtain it."""
    card = Catalog.load(cards).dataset(name)
    say(f"{card.title} ({card.id})", "bold")
    if card.paper:
        say(f"Paper:    {card.paper.title} ({card.paper.year}) {card.paper.url}".rstrip())
    say(f"Licence:  {card.licence.name} {card.licence.url or ''} {card.licence.note}".rstrip())
    say(f"Files:    {dataset_status(card, data_root)}")
    say(f"Get it:   {' '.join(card.get.split())}")
    if card.layout:
        say("Layout below --data-root (or below a folder with the data set's name in it):")
        for pattern in card.layout:
            say(f"  {pattern}")
    say("Protocols:")
    rows = [(n, p.task, p.space or "", "default" if p.default else "", p.title) for n, p in card.protocols.items()]
    grid(("Name", "Task", "Scored in", "", "Title"), rows)
    for protocol_name, protocol in card.protocols.items():
        if protocol.caveat:
            say(f"{protocol_name}: {' '.join(protocol.caveat.split())}", "dim")
    if card.notes:
        say(" ".join(card.notes.split()), "dim")


def check(name: str, *, cards: Sequence[Path], data_root: Path | None, split: str) -> None:
    """Find a data set, verify its pinned files, open it under every protocol and count its images.

    Raises:
        DataMissing, ChecksumMismatch, DatasetRejected: what is wrong with it.
    """
    catalog = Catalog.load(cards)
    card = catalog.dataset(name)
    root = dataset_root(card, data_root)
    say(f"{card.title}: {root}")
    if card.checksums:
        say(f"  {len(card.checksums)} pinned file(s) have the right sha256")
    for protocol, facts in card.protocols.items():
        try:
            adapter = _open(catalog, card, protocol, root, split)
        except SapiensBenchError as error:
            if facts.default:
                raise
            say(f"  {protocol}: not ready: {error}", "yellow")
            continue
        say(f"  {protocol}: {len(adapter)} images, manifest {adapter.manifest_sha256[:16]}")
    task = next(iter(card.protocols.values())).task
    where = "" if card.embedded else f" --data-root {data_root}"
    next_commands([(f"sapiens-bench run --task {task} --dataset {card.id}{where}", "evaluate every model on it")])


def prepare(
    name: str, *, cards: Sequence[Path], data_root: Path | None, split: str, limit: int | None, workers: int | None
) -> None:
    """Make the files of a data set that is rendered or extracted on this machine; resumes where it stopped.

    Raises:
        UsageError: the data set has nothing to prepare.
    """
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.provenance import cores
    from sapiens_bench.types import Materialised

    catalog = Catalog.load(cards)
    card = catalog.dataset(name)
    protocol = next(n for n, p in card.protocols.items() if p.default)
    adapter = _open(catalog, card, protocol, dataset_root(card, data_root), split)
    if not isinstance(adapter, Materialised):
        raise UsageError(f"{card.title} is read as it lies on disk; there is nothing to prepare.")
    total = min(len(adapter), limit or len(adapter))
    with Watcher(stderr(), 0, 0) as watcher:
        adapter.materialise(range(total), workers or cores(), lambda done, of: watcher(DataProgress(card.id, done, of)))
    say(f"{total} images of {card.id} are ready in {dataset_root(card, data_root)}")


def path(*, cards: Sequence[Path], data_root: Path | None) -> None:
    """The folders in use."""
    catalog = Catalog.load(cards)
    rows = [
        ("cache", str(cache_root()), "$SAPIENS_BENCH_CACHE"),
        ("weights", str(weights_cache()), "--weights-root is searched first"),
        ("hub", str(hub_cache()), "$HF_HUB_CACHE, $HF_HOME"),
    ]
    for card in catalog.datasets.values():
        try:
            rows.append((card.id, str(dataset_root(card, data_root)), "made on first use" if card.embedded else ""))
        except DataError:
            continue
    grid(("What", "Folder", ""), rows)


def _open(catalog: Catalog, card: DatasetCard, protocol: str, root: Path, split: str) -> Adapter:
    from sapiens_bench.adapters.options import AdapterOptions
    from sapiens_bench.engine.build import adapter_for

    chosen = card.protocols.get(protocol)
    if chosen is None:
        raise UnknownName(f"protocol of {card.id}", protocol, card.protocols)
    space = None if chosen.space is None else catalog.space(chosen.space)
    adapter = adapter_for(card, chosen, space, root, AdapterOptions(split=split), catalog.card_paths[card.id])
    if len(adapter) == 0:
        raise DataMissing(f"{card.title} holds no image under {root} (protocol {protocol}).")
    return adapter
