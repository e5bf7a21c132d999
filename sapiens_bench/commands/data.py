"""``sapiens-bench data``: where data sets come from, whether they are complete, and making those that are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import cache_root, dataset_root, hub_cache, weights_cache
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.commands.licences import licence_line
from sapiens_bench.commands.listing import dataset_status
from sapiens_bench.commands.output import grid, next_commands, say, stderr
from sapiens_bench.errors import (
    DataError,
    DataMissing,
    SapiensBenchError,
    TooManyErrors,
    UnknownName,
    VerificationFailed,
)

if TYPE_CHECKING:
    from sapiens_bench.types import Adapter


def show(name: str, *, cards: Sequence[Path], data_root: Path | None) -> None:
    """A data set's licence, protocols, layout and how to obtain it."""
    card = Catalog.load(cards).dataset(name)
    say(f"{card.title} ({card.id})", "bold")
    if card.paper:
        say(f"Paper:    {card.paper.title} ({card.paper.year}) {card.paper.url}".rstrip())
    say(f"Licence:  {licence_line(card.licence)}")
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
            adapter = _open(catalog, card, protocol, data_root, split)
        except SapiensBenchError as error:
            if facts.default:
                raise
            say(f"  {protocol}: not ready: {error}", "yellow")
            continue
        say(f"  {protocol}: {len(adapter)} images, manifest {adapter.manifest_sha256[:16]}")
    if card.embedded:
        _check_renders(catalog, card, root, split)
    task = next(iter(card.protocols.values())).task
    where = "" if card.embedded else f" --data-root {data_root}"
    next_commands([(f"sapiens-bench run --task {task} --dataset {card.id}{where}", "evaluate every model on it")])


def _check_renders(catalog: Catalog, card: DatasetCard, root: Path, split: str) -> None:
    """Render what is missing of an embedded set and compare it with the manifest shipped with the package.

    Raises:
        VerificationFailed: this machine draws something else.
    """
    from sapiens_bench.adapters.prepare import prepare as make
    from sapiens_bench.adapters.synthetic.humans import SyntheticHumans
    from sapiens_bench.engine.provenance import cores

    adapter = _open(catalog, card, next(iter(card.protocols)), None, split)
    if not isinstance(adapter, SyntheticHumans):
        return
    make(adapter, cores())
    found = adapter.verify_manifest()
    for difference in found.differences[:20]:
        say(f"  {difference.verdict} {difference.key}: {'; '.join(difference.reasons)}", "yellow")
    if found.verdict == "different":
        raise VerificationFailed(
            f"{card.id}: the images under {root} are not those of the shipped manifest. If an older version made them, "
            "delete that folder and check again; if they are new, this machine computes differently: please report it."
        )
    say(f"  {found.n_equal} images equal to the shipped manifest, {len(found.differences)} within tolerance")


def prepare(
    name: str,
    *,
    cards: Sequence[Path],
    data_root: Path | None,
    protocol: str | None,
    split: str,
    limit: int | None,
    workers: int | None,
) -> None:
    """Make the files of a data set that is rendered on this machine; resumes where it stopped.

    Without ``protocol`` every protocol is prepared whose files are there; protocols share renders.

    Raises:
        UsageError: the data set has nothing to prepare.
        TooManyErrors: a sample could not be made; the others are ready.
    """
    from sapiens_bench.adapters.prepare import prepare as make
    from sapiens_bench.commands.progress import Watcher
    from sapiens_bench.engine.events import DataProgress
    from sapiens_bench.engine.provenance import cores

    catalog = Catalog.load(cards)
    card = catalog.dataset(name)
    root = dataset_root(card, data_root)
    if protocol is not None and protocol not in card.protocols:
        raise UnknownName(f"protocol of {card.id}", protocol, card.protocols)
    failed = 0
    # An embedded set is the same pictures under every protocol; scans are rendered per framing.
    for each in [protocol] if protocol else list(card.protocols)[: 1 if card.embedded else None]:
        try:
            adapter = _open(catalog, card, each, data_root, split)
        except SapiensBenchError as error:
            if protocol or not isinstance(error, DataMissing):
                raise
            say(f"{each}: left out: {error}", "yellow", to_stderr=True)
            continue
        with Watcher(stderr(), 0, 0) as watcher:
            report = make(adapter, workers or cores(), lambda n, of: watcher(DataProgress(card.id, n, of)), limit)
        size = f", {report.bytes / 1e6:.0f} MB written" if report.bytes else ""
        if card.embedded:
            say(f"{report.n_made + report.n_present} images of {card.id} are ready in {root}")
        else:
            say(f"{each}: {report.n_made} made, {report.n_present} already there, {report.n_failed} failed{size}")
        for note in report.notes[:20]:
            say(f"  {note}", "yellow")
        for fault in report.faults[:20]:
            say(f"  {fault.key}: {fault.code}: {fault.detail}", "red")
        if report.manifest_path:
            say(f"  manifest: {report.manifest_path}")
        failed += report.n_failed
    where = "" if card.embedded else f" --data-root {data_root}"
    task = next(iter(card.protocols.values())).task
    next_commands([(f"sapiens-bench run --task {task} --dataset {card.id}{where}", "evaluate every model on it")])
    if failed:
        raise TooManyErrors(f"{failed} sample(s) of {card.id} could not be made; they will be error rows.")


def compare_manifests(first: Path, second: Path) -> None:
    """Whether two people hold the same ground truth, from their manifests alone.

    Raises:
        VerificationFailed: they do not.
    """
    from sapiens_bench.render.manifest import compare, read_manifest

    found = compare(read_manifest(first), read_manifest(second))
    for difference in found.differences[:40]:
        say(f"{difference.verdict:<9} {difference.key}: {'; '.join(difference.reasons)}")
    if len(found.differences) > 40:
        say(f"... and {len(found.differences) - 40} more")
    counts = f"{found.n_equal} entries equal, {len(found.differences)} not"
    if found.verdict == "different":
        raise VerificationFailed(f"The manifests differ: {counts}.")
    say(f"{'Equal' if found.verdict == 'equal' else 'Equal within tolerance'}: {counts}.", "green")


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


def _open(catalog: Catalog, card: DatasetCard, protocol: str, data_root: Path | None, split: str) -> Adapter:
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.engine.request import Request

    if protocol not in card.protocols:
        raise UnknownName(f"protocol of {card.id}", protocol, card.protocols)
    request = Request(task=card.protocols[protocol].task, data_root=data_root, split=split)
    return open_named(card, protocol, request.data(), catalog).open.adapter
