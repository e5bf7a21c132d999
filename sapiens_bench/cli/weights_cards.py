"""``sapiens-bench weights``: which weight files there are, and fetching one after its licence was accepted."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cards.catalog import Catalog, DetectorEntry, ModelEntry
from sapiens_bench.cards.locate import is_here, weight_files
from sapiens_bench.cards.schema import Weights
from sapiens_bench.cli import listing
from sapiens_bench.cli.licences import licence_brief, licence_line
from sapiens_bench.cli.output import grid, say, stderr
from sapiens_bench.errors import UsageError, WeightsMissing
from sapiens_bench.report.numbers import size
from sapiens_bench.tasks import task_kind, task_names

if TYPE_CHECKING:
    from sapiens_bench.fetch.download import Progress

_LINE_EVERY_S = 10.0


def show_list(*, task: str | None, cards: Sequence[Path], weights_root: Path | None) -> None:
    """Every variant that has weights: here or not, how large, pinned or not, from where, under which terms."""
    catalog = Catalog.load(cards)
    catalog.refuse_unknown_tasks(task_names())
    if task is not None:
        task_kind(task)
    rows = [
        (entry.variant.id, what, listing.variant_status(entry.variant, weights_root), size(weights.size_bytes),
         _pinned(weights), source(weights), licence_brief(entry.card.licence))
        for entry, what in _entries(catalog)
        if (weights := entry.variant.weights) is not None and task in (None, what)
    ]  # fmt: skip
    grid(("Model", "Task", "Weights", "Size", "Pinned", "Source", "Licence"), rows, right=(3,))
    say("`sapiens-bench weights show NAME` tells how to get one; `weights get NAME` fetches it.")
    listing.warn_of_broken(catalog)


def _entries(catalog: Catalog) -> Iterator[tuple[ModelEntry | DetectorEntry, str]]:
    yield from ((entry, entry.card.task) for entry in listing.in_task_order(catalog))
    yield from ((entry, "boxes") for entry in catalog.detectors.values())


def _pinned(weights: Weights) -> str:
    return "yes" if weights.sha256 and all(weights.also.values()) else "no"


def source(weights: Weights) -> str:
    """Where a program gets the file, in a word."""
    if weights.get.embedded:
        return "package"
    if weights.get.hub is not None:
        return f"hub {weights.get.hub.repo}"
    return "address" if weights.get.url is not None else "by hand"


def show(name: str, *, cards: Sequence[Path], weights_root: Path | None) -> None:
    """File, format, hash, licence and how to obtain them."""
    entry = _entry(Catalog.load(cards), name)
    weights = entry.variant.weights
    say(f"{entry.variant.title} ({entry.variant.id})", "bold")
    say(f"Licence:  {licence_line(entry.card.licence)}")
    if weights is None:
        say("Weights:  none needed")
        return
    say(f"File:     {weights.file} ({weights.format}{', ' + size(weights.size_bytes) if weights.size_bytes else ''})")
    for extra in weights.also:
        say(f"Also:     {extra}")
    say(f"sha256:   {weights.sha256 or 'not pinned: the publisher gives none that is known to us'}")
    if weights.get.hub is not None:
        say(f"Hub:      {weights.get.hub.repo}, revision {weights.get.hub.revision}")
    if weights.get.url is not None:
        member = f", {weights.get.archive_member} in it" if weights.get.archive_member else ""
        say(f"Address:  {weights.get.url}{member}")
    say(f"Get it:   {' '.join(weights.get.how.split())}")
    try:
        say(f"Here:     {weight_files(entry.variant, weights_root).path}")
    except WeightsMissing:
        say("Here:     no")


def get(name: str, *, cards: Sequence[Path], accept_licence: str) -> None:
    """Fetch the files of one variant: https only, checked by size and sha256, put in place by rename.

    Raises:
        UsageError: the licence was not accepted, downloads are switched off, or there is no address to fetch from.
        WeightsMissing, ChecksumMismatch, SecurityRefusal, StorageFull: see ``fetch.recipe.fetch``.
    """
    entry = _entry(Catalog.load(cards), name)
    variant, weights = entry.variant, entry.variant.weights
    if weights is None:
        say(f"{variant.id} needs no weights.")
        return
    if is_here(variant):
        say(f"{variant.id} is here already: {weight_files(variant).path}")
        return
    from sapiens_bench.fetch import recipe
    from sapiens_bench.fetch.transport import check_online

    if not recipe.is_fetchable(variant):
        raise UsageError(f"{variant.id} cannot be fetched by a program: {' '.join(weights.get.how.split())}")
    _accept(entry, accept_licence)
    check_online()
    try:
        with _progress() as progress:
            came_from = recipe.fetch(variant, progress, show=sys.stderr.isatty())
    except WeightsMissing as error:
        raise WeightsMissing(f"{error} {' '.join(weights.get.how.split())}") from None
    here = weight_files(variant)
    pinned = "as the card pins it" if here.pinned else "not pinned: keep this hash"
    say(f"{here.path}\nsha256 {here.sha256} ({pinned})\nfrom {came_from}")


def _entry(catalog: Catalog, name: str) -> ModelEntry | DetectorEntry:
    """A model or a person detector; raises UnknownName with the nearest of both."""
    if name in catalog.detectors:
        return catalog.detectors[name]
    if name not in catalog.models:
        raise catalog.unknown("model or detector", name, [*catalog.models, *catalog.detectors], "models")
    return catalog.models[name]


def _accept(entry: ModelEntry | DetectorEntry, accepted: str) -> None:
    """Show the licence; go on only where its name was given, or where a person says yes.

    Raises:
        UsageError: it was not accepted.
    """
    licence = entry.card.licence
    say(f"Licence of {entry.variant.title}: {licence_line(licence)}", to_stderr=True)
    if accepted.casefold() == licence.name.casefold():
        return
    if not accepted and sys.stdin.isatty():
        import typer

        if typer.confirm("Have you read it, and do you accept it?", err=True):
            return
    raise UsageError(
        f"The licence of {entry.variant.title} is {licence_line(licence).rstrip('.')}. Read it, then run "
        f"`sapiens-bench weights get {entry.variant.id} --accept-licence {shlex.quote(licence.name)}`."
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for a person, a line now and then for a log."""
    console = stderr()
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn(compact=True))  # fmt: skip
    with Bars(*columns, console=console, transient=True) as bars:
        known = {}

        def draw(name: str, done: int, total: int) -> None:
            if name not in known:
                known[name] = bars.add_task(name, total=total)
            bars.update(known[name], completed=done)

        yield draw


class _Lines:
    """Says every ten seconds how far a download is, and once when it is done."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY_S or done == total:
            self._said = now
            say(f"{name}: {size(done)} of {size(total)}", to_stderr=True)
