"""``sapiens-bench data``: where data sets come from, whether they are complete, and making those that are rendered."""

from __future__ import annotations

import typer

from sapiens_bench.cli import data_check, data_export, data_prepare
from sapiens_bench.cli.flags import Cards, DataRoot, ManifestFile, Name
from sapiens_bench.cli.output import grid, say
from sapiens_bench.errors import DataError, VerificationFailed

app = typer.Typer(no_args_is_help=True, help="Data sets: where they come from, whether they are complete.")
manifest_app = typer.Typer(no_args_is_help=True, help="What was rendered from what: comparable hashes.")


@app.command("show")
def show(name: Name, data_root: DataRoot = None, cards: Cards = None) -> None:
    """Licence, protocols, expected folders, and how to obtain it."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.licences import licence_line
    from sapiens_bench.cli.listing import dataset_status

    card = Catalog.load(cards or []).dataset(name)
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


app.command("check")(data_check.check)
app.command("prepare")(data_prepare.prepare)
app.command("export")(data_export.export)
app.add_typer(manifest_app, name="manifest")


@manifest_app.command("compare")
def compare_manifests(first: ManifestFile, second: ManifestFile) -> None:
    """Whether two people hold the same ground truth, without exchanging it. Exit 1 when they do not."""
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


@app.command("path")
def path(data_root: DataRoot = None, cards: Cards = None) -> None:
    """The folders in use."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.locate import cache_root, dataset_root, hub_cache, weights_cache

    catalog = Catalog.load(cards or [])
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
