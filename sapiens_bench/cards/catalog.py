"""Catalog: every card this installation knows, found by name. It knows no code and opens no data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sapiens_bench.cards.entries import MARK, Form, parse_form, without_form
from sapiens_bench.cards.entries import DetectorEntry as DetectorEntry
from sapiens_bench.cards.entries import ModelEntry as ModelEntry
from sapiens_bench.cards.loading import load_card
from sapiens_bench.cards.schema import (
    Card,
    DatasetCard,
    DetectorCard,
    EvalProtocol,
    ModelCard,
    PublishedEntry,
    PublishedTable,
    SpaceCard,
    SpaceMapCard,
    Variant,
)
from sapiens_bench.cards.sources import CardFolders, card_files, check_code, outside_cards, package_folders
from sapiens_bench.errors import CardError, LabelSpaceMismatch, SapiensBenchError, UnknownName, UsageError

if TYPE_CHECKING:  # index tables need numpy, a third of what `list` takes: imported where a map is built
    from sapiens_bench.cards.spaces import SourceSpace, SpaceMap

C = TypeVar("C", bound=Card)
Table = tuple[PublishedTable, PublishedEntry]
_SHOWN = 5  # refused cards in a message
_RANK: dict[type[Card], int] = {SpaceCard: 0, SpaceMapCard: 1}


@dataclass(frozen=True)
class PublishedRow:
    """A printed row that may stand beside a result."""

    table: PublishedTable
    entry: PublishedEntry
    name: str  # as printed

    def scores(self) -> dict[str, float]:
        """Printed numbers under our score keys and in our units; cells that are empty or text are left out."""
        found: dict[str, float] = {}
        for ours, theirs in self.entry.metrics.items():
            cell = self.entry.rows[self.name].get(theirs)
            if cell is not None and isinstance(cell.value, float):
                # Rounded, so that 79.6 per cent is 0.796 and not its neighbour.
                found[ours] = round(cell.value * self.entry.scale.get(ours, 1.0), 12)
        return found


@dataclass
class Catalog:
    """Cards by id. Build it with ``Catalog.load``; sets, maps and published tables are read when first asked for."""

    folders: CardFolders
    models: dict[str, ModelEntry] = field(default_factory=dict)  # by variant id, in card order
    datasets: dict[str, DatasetCard] = field(default_factory=dict)
    detectors: dict[str, DetectorEntry] = field(default_factory=dict)  # by variant id; no rows of a table
    card_paths: dict[str, Path] = field(default_factory=dict)  # card id -> file
    broken: dict[str, str] = field(default_factory=dict)  # file or plug-in that was refused -> reason
    aliases: dict[str, str] = field(default_factory=dict)  # how a request names a card made for it -> the card's id
    unusable: dict[str, SapiensBenchError] = field(default_factory=dict)  # such a card -> what is wrong with its file
    _outside: list[tuple[Path, Card]] = field(default_factory=list)  # sets, maps and tables from outside the package

    @classmethod
    def load(cls, extra: Sequence[Path] = ()) -> Catalog:
        """Cards of the package, of installed plug-ins and of the folders (or files) in ``extra``.

        A faulty card is left out and listed in ``broken``; the others go on.

        Raises:
            UsageError: a path in ``extra`` does not exist.
            CardError: a folder of the package is missing, which is a defect of the installation.
        """
        catalog = cls(package_folders())
        for path in (*card_files(catalog.folders.baselines), *card_files(catalog.folders.datasets)):
            try:
                catalog._add(load_card(path), path)
            except CardError as error:
                catalog.broken[str(path)] = str(error)
        catalog._add_outside(extra)
        return catalog

    def _add_outside(self, extra: Sequence[Path]) -> None:
        outside = outside_cards(extra)
        self.broken.update(outside.broken)
        loaded: list[tuple[Path, Card]] = []
        for path, may_name_code in outside.files:
            try:
                card = load_card(path)
                check_code(card, path, may_name_code)
                loaded.append((path, card))
            except CardError as error:
                self.broken[str(path)] = str(error)
        # Sets, then maps, then the rest: cards of one folder may use each other.
        for path, card in sorted(loaded, key=lambda item: _RANK.get(type(item[1]), len(_RANK))):
            try:
                self._check_outside(card, path)
                self._add(card, path)
            except CardError as error:
                self.broken[str(path)] = str(error)

    @property
    def tasks(self) -> set[str]:
        """Every task that a model card has."""
        return {entry.card.task for entry in self.models.values()}

    @property
    def model_names(self) -> set[str]:
        """What a pattern may mean already: ids of variants and of families, and ``all``."""
        return {"all", *self.models, *(entry.card.id for entry in self.models.values())}

    def _check_outside(self, card: Card, path: Path) -> None:
        """Ids must be new and every set that is named must exist."""
        if isinstance(card, SpaceCard) and card.id in self.spaces:
            raise CardError(f"{path}: a set with id {card.id!r} exists already.")
        if isinstance(card, SpaceMapCard):
            if (card.source, card.target) in self.maps:
                raise CardError(f"{path}: a map from {card.source!r} to {card.target!r} exists already.")
            from sapiens_bench.cards.spaces import build_map

            ends = self._named(path, "source", card.source), self._named(path, "target", card.target)
            build_map(card, *ends)
        if isinstance(card, PublishedTable):
            taken = [entry.id for entry in card.entries if entry.id in self.published]
            if taken:
                raise CardError(f"{path}: published entry {taken[0]!r} exists already.")
        if isinstance(card, ModelCard):
            for variant in card.variants:
                self._named(path, "space", card.space_of(variant))
        if isinstance(card, DatasetCard):
            for name, protocol in card.protocols.items():
                self._named(path, f"protocols.{name}.space", protocol.space)

    def _named(self, path: Path, key: str, space: str | None) -> SpaceCard:
        if space is None:
            return next(iter(self.spaces.values()))
        if space not in self.spaces:
            raise CardError(f"{path}, key {key!r}: {UnknownName('keypoint or label set', space, self.spaces)}")
        return self.spaces[space]

    def _add(self, card: Card, path: Path) -> None:
        identity = str(getattr(card, "id", ""))
        if isinstance(card, ModelCard):
            ids = [variant.id for variant in card.variants]
            repeated = [i for i in ids if i in self.models or ids.count(i) > 1]
            if repeated or any(entry.card.id == identity for entry in self.models.values()):
                raise _taken(path, "variants" if repeated else "id", (repeated or [identity])[0])
            self.models.update((variant.id, ModelEntry(card, variant, path)) for variant in card.variants)
        elif isinstance(card, DetectorCard):
            taken = {*self.models, *self.detectors}
            if repeated := [variant.id for variant in card.variants if variant.id in taken]:
                raise _taken(path, "variants", repeated[0])
            self.detectors.update((variant.id, DetectorEntry(card, variant)) for variant in card.variants)
        elif isinstance(card, DatasetCard):
            if identity in self.datasets:
                raise CardError(f"{path}: data set {identity!r} exists already ({self.card_paths[identity]}).")
            self.datasets[identity] = card
        else:
            self._outside.append((path, card))
        self.card_paths[identity] = path

    def add(self, card: Card, path: Path, alias: str, unusable: SapiensBenchError | None = None) -> None:
        """Add a card that was made for one request, which names it ``alias``.

        Args:
            card: of a model or a data set.
            path: the file it stands for.
            unusable: why the model of the file cannot run; it keeps its row, which says so.

        Raises:
            CardError: its id is taken.
        """
        self._add(card, path)
        self.aliases[alias] = card.variants[0].id if isinstance(card, ModelCard) else str(getattr(card, "id", ""))
        if unusable is not None:
            self.unusable[self.aliases[alias]] = unusable

    def _cards(self, kind: type[C], own: Sequence[C]) -> list[C]:
        return [*own, *(card for _, card in self._outside if isinstance(card, kind))]

    @property
    def spaces(self) -> dict[str, SpaceCard]:
        """Keypoint and label sets by id."""
        return {card.id: card for card in self._cards(SpaceCard, self._own_spaces)}

    @property
    def maps(self) -> dict[tuple[str, str], SpaceMapCard]:
        """Map cards by (source, target)."""
        return {(card.source, card.target): card for card in self._cards(SpaceMapCard, self._own_maps)}

    @property
    def published(self) -> dict[str, Table]:
        """Published entries with their table, by entry id."""
        tables = self._cards(PublishedTable, self._own_tables)
        return {entry.id: (table, entry) for table in tables for entry in table.entries}

    @cached_property
    def _own_spaces(self) -> list[SpaceCard]:
        return self._load_all(self.folders.spaces, SpaceCard)

    @cached_property
    def _own_maps(self) -> list[SpaceMapCard]:
        return self._load_all(self.folders.maps, SpaceMapCard)

    @cached_property
    def _own_tables(self) -> list[PublishedTable]:
        return self._load_all(self.folders.published, PublishedTable)

    def _load_all(self, folder: Path, kind: type[C]) -> list[C]:
        found = []
        for path in card_files(folder):
            try:
                card = load_card(path)
                if not isinstance(card, kind):
                    raise CardError(f"{path}: this folder holds cards of another schema.")
                found.append(card)
            except CardError as error:
                self.broken[str(path)] = str(error)
        return found

    def model(self, name: str) -> ModelEntry:
        """The variant with this id, in the form that it ends in; raises UnknownName with the nearest ids."""
        base, form = without_form(name)
        if base not in self.models:
            raise self.unknown("model", base, self.models, "models")
        return replace(self.models[base], form=parse_form(form))

    def of_row(self, name: str) -> ModelEntry | None:
        """The variant that a row of a run is of, whatever its form; None when no card here has it."""
        return self.models.get(without_form(name)[0])

    def detector(self, name: str) -> DetectorEntry:
        """The person detector with this id; raises UnknownName with the nearest ids."""
        if name not in self.detectors:
            raise self.unknown("person detector", name, self.detectors, "detectors")
        return self.detectors[name]

    def dataset(self, name: str) -> DatasetCard:
        """The data set with this id; raises UnknownName with the nearest ids."""
        name = self.aliases.get(name, name)
        if name not in self.datasets:
            raise self.unknown("data set", name, self.datasets, "data sets")
        return self.datasets[name]

    def space(self, name: str) -> SpaceCard:
        """The keypoint or label set with this id; raises UnknownName with the nearest ids."""
        spaces = self.spaces
        if name not in spaces:
            raise UnknownName("keypoint or label set", name, spaces)
        return spaces[name]

    def unknown(self, kind: str, name: str, known: Iterable[str], listed: str) -> UnknownName:
        """The error for a name that no card has. Refused cards come first: one of them may be the one that has it."""
        error = UnknownName(kind, name, known, f"`sapiens-bench list` shows all {listed}.")
        if self.broken:
            reasons = [reason if reason.startswith(at) else f"{at}: {reason}" for at, reason in self.broken.items()]
            more = [f"and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
            lines = "".join(f"\n  - {reason}" for reason in (*reasons[:_SHOWN], *more))
            error.args = (f"{kind} {name!r} was not found, and {len(reasons)} card(s) were refused:{lines}\n{error}",)
        return error

    def refuse_unknown_tasks(self, known: Sequence[str]) -> None:
        """Leave out models and data sets of tasks that nobody has, each with its reason in ``broken``."""
        for entry in [e for e in self.models.values() if e.card.task not in known]:
            del self.models[entry.id]
            self.broken[str(entry.path)] = str(UnknownName("task", entry.card.task, known))
        for card in list(self.datasets.values()):
            if wrong := next((p.task for p in card.protocols.values() if p.task not in known), None):
                del self.datasets[card.id]
                self.broken[str(self.card_paths[card.id])] = str(UnknownName("task", wrong, known))

    def select(self, task: str, patterns: Sequence[str]) -> list[ModelEntry]:
        """Variants of a task, in card order, each once.

        A pattern is ``all`` (networks and floors that are part of the default), a variant's or family's id, or a
        glob over variant ids; one text may hold several, separated by commas. Diagnostics are chosen by name or glob,
        never by ``all``. Any of them may end in a form (``movenet-*@bf16``), which is a row of its own.

        Raises:
            UsageError: no pattern, or the id of a model for another task.
            UnknownName: no model card of this task, a pattern that matches nothing, or no such form.
        """
        entries = [entry for entry in self.models.values() if entry.card.task == task]
        if not entries:
            raise UnknownName("task", task, self.tasks, "No model card has it.")
        wanted = self._named_forms(patterns)
        if not wanted:
            raise UsageError("No model was named. Use --models all, an id, or a pattern such as 'sapiens-*'.")
        chosen: dict[str, dict[Form, None]] = {}  # variant id -> its forms, in the order asked for
        for pattern, form in wanted:
            found = [entry.id for entry in entries if _matches(entry, pattern)]
            if not found:
                if pattern in self.models:
                    hint = next((f" Did you mean {e.id!r}?" for e in entries if e.id == f"{pattern}-{task}"), "")
                    other = self.models[pattern].card.task
                    raise UsageError(f"{pattern!r} is a model for {other}, not for {task}.{hint}")
                if pattern == "all":
                    known = ", ".join(entry.id for entry in entries)
                    raise UsageError(f"No {task} model is part of `--models all`: name some. Known: {known}.")
                raise self.unknown(f"{task} model", pattern, [entry.id for entry in entries], "models")
            for name in found:
                chosen.setdefault(name, {})[form] = None
        return [replace(entry, form=form) for entry in entries for form in chosen.get(entry.id, ())]

    def _named_forms(self, patterns: Sequence[str]) -> list[tuple[str, Form]]:
        """Every single pattern with its form; files and the like by the id of the card that was made for them."""
        found: list[tuple[str, Form]] = []
        for pattern in patterns:
            parts = [pattern] if without_form(pattern)[0] in self.aliases else pattern.split(",")
            for part in filter(None, map(str.strip, parts)):
                name, form = (part, "") if part in self.aliases else without_form(part)
                found.append((self.aliases.get(name, name), parse_form(form)))
        return found

    def names(self, patterns: Sequence[str]) -> set[str]:
        """Row names in ``patterns``, forms included; what ``all``, a glob or a family brings in is not among them."""
        return {name + (f"{MARK}{form.text}" if form.text else "") for name, form in self._named_forms(patterns)}

    def space_map(self, source: str, target: str) -> SpaceMap:
        """How a prediction or label of one set becomes one of another.

        Raises:
            UnknownName: no such set.
            LabelSpaceMismatch: no map card joins the two.
        """
        from sapiens_bench.cards.spaces import build_map, identity_map

        first, last = self.space(source), self.space(target)
        if source == target:
            return identity_map(first)
        card = self.maps.get((source, target))
        if card is None:
            targets = sorted(t for s, t in self.maps if s == source)
            known = f"{source} can be mapped to {', '.join(targets)}" if targets else f"{source} has no map at all"
            raise LabelSpaceMismatch(
                f"No map from {source!r} to {target!r}: {known}. A map is a card of its own "
                f"(schema space-map/1, by name) and is never guessed from the order of points."
            )
        return build_map(card, first, last)

    def sources_of(self, target: str | None) -> dict[str, SourceSpace]:
        """Every set that can become ``target``, itself included, by id; empty for None.

        Raises:
            UnknownName: no such set.
        """
        if target is None:
            return {}
        from sapiens_bench.cards.spaces import SourceSpace, build_map, identity_map

        last = self.space(target)
        spaces = self.spaces
        joined = {source: card for (source, end), card in self.maps.items() if end == target}
        found = {
            source: SourceSpace(spaces[source], build_map(card, spaces[source], last))
            for source, card in joined.items()
        }
        return {target: SourceSpace(last, identity_map(last)), **found}

    def published_rows(self, variant: Variant, protocol: EvalProtocol) -> list[PublishedRow]:
        """Printed rows of this very variant under this very protocol; empty when there is none."""
        if not protocol.published or not variant.published_as:
            return []
        known = self.published
        return [
            PublishedRow(*known[entry], name)
            for entry in protocol.published
            if entry in known and (not variant.published_in or entry in variant.published_in)
            for name in variant.published_as
            if name in known[entry][1].rows
        ]


def _taken(path: Path, key: str, name: str) -> CardError:
    return CardError(f"{path}, key {key!r}: {name!r} exists already; every id is unique, so give yours another one.")


def _matches(entry: ModelEntry, pattern: str) -> bool:
    if pattern == "all":
        return entry.variant.in_all is True and entry.card.kind != "diagnostic"
    return pattern in (entry.id, entry.card.id) or fnmatchcase(entry.id, pattern)
