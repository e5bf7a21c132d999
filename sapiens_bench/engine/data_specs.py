"""Which data sets a choice means, checked and opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sapiens_bench.adapters.conditions.condition import read_condition
from sapiens_bench.adapters.selection.rule import read_selection
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.code import code_hash
from sapiens_bench.cards.folders import existing_data_root
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.cards.options import option_names
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.engine import declared
from sapiens_bench.engine.build import OpenData, adapter_options, build_task, open_data
from sapiens_bench.engine.choices import DataChoice
from sapiens_bench.engine.specs import DataFacts, DataSpec
from sapiens_bench.engine.stored import truth_root
from sapiens_bench.errors import CardError, DataMissing, SapiensBenchError, UnknownName, UsageError

NOWHERE = Path()  # of a data set that has not been looked for


@dataclass(frozen=True)
class FoundData:
    """A data set of the request, opened here; the spec opens it anywhere."""

    open: OpenData
    facts: DataFacts

    @property
    def spec(self) -> DataSpec:
        return self.open.spec


@dataclass(frozen=True)
class DataSearch:
    """What came of looking."""

    found: list[FoundData]
    missing: dict[str, DataMissing]  # sets asked for by name that are not here
    notes: list[str]


def check_options(card: DatasetCard, protocol: str, choice: DataChoice, catalog: Catalog) -> DataSpec:
    """The spec of a data set that has not been looked for yet, its options and scoring keys validated.

    Raises:
        UnknownName: no such protocol, adapter, task or set.
        CardError: a wrong option or scoring key.
    """
    of_task = {name for name, p in card.protocols.items() if p.task == choice.task}
    if protocol not in of_task:
        if not of_task:
            tasks = sorted({p.task for p in card.protocols.values()})
            raise UsageError(f"{card.id} has no {choice.task}; it has {', '.join(tasks)}.")
        raise UnknownName(f"{choice.task} protocol of {card.id}", protocol, of_task)
    about = card.protocols[protocol]
    if choice.options:
        about = about.model_copy(update={"options": {**about.options, **choice.options}})
    if choice.scoring:
        about = about.model_copy(update={"scoring": {**about.scoring, **choice.scoring}})
    path = catalog.card_paths[card.id]
    spec = DataSpec(
        card=card,
        path=path,
        protocol_name=protocol,
        protocol=about,
        space=None if about.space is None else catalog.space(about.space),
        to_space=catalog.sources_of(about.space),
        root=NOWHERE,
        split=choice.split,
        boxes=choice.boxes,
        seed=choice.seed,
        max_pixels=choice.max_pixels,
        code_sha256=code_hash(card.adapter, path),
        condition=read_condition(choice.condition),
        select=read_selection(choice.select),
    )
    adapter_options(spec)
    build_task(spec)
    return spec


def open_named(card: DatasetCard, protocol: str, choice: DataChoice, catalog: Catalog) -> FoundData:
    """Find and open one data set.

    Raises:
        DataMissing, DatasetRejected: its files are absent or malformed.
        UsageError: it holds no sample. UnknownName, CardError: see ``check_options``.
    """
    return _opened(check_options(card, protocol, choice, catalog), choice)


def _opened(unrooted: DataSpec, choice: DataChoice) -> FoundData:
    root = truth_root(unrooted.card, unrooted.path, choice.root)
    was = unrooted.card.protocols[unrooted.protocol_name].options
    instead = [str(was[name]) for name in choice.options if name in was]  # annotations, images: others were named
    found = root or dataset_root(unrooted.card, choice.root, pictures=choice.pictures, without=instead)
    spec = replace(unrooted, root=found)
    opened = open_data(spec)
    facts = DataFacts.of(opened.adapter, choice.limit)
    if facts.n_samples == 0:
        raise UsageError(f"{spec.card.title} ({spec.id}) holds no sample under {spec.root}.")
    return FoundData(opened, facts)


def scored_in(choice: DataChoice, catalog: Catalog) -> set[str]:
    """Sets that the data sets asked for, by name or by that of a protocol, are scored in.

    Names that do not exist are told of elsewhere.
    """
    asked = choice.names or (catalog.datasets if choice.protocol else ())
    cards = [catalog.datasets[name] for name in asked if name in catalog.datasets]
    names = [(card, choice.protocol or card.default_protocol(choice.task) or "") for card in cards]
    protocols = [card.protocols[name] for card, name in names if name in card.protocols]
    found = [protocol.space for protocol in protocols if protocol.task == choice.task]
    return {space for space in found if space}


def find_data(choice: DataChoice, catalog: Catalog, boxes: Mapping[str, Path]) -> DataSearch:
    """Data sets that are here, those asked for by name that are not, and notes on the others.

    Everything is validated before the first data set is opened.

    Args:
        boxes: data set -> box file, where a detector card makes the boxes (``detect.make_box_files``).

    Raises:
        UnknownName, CardError: a name, option or key that does not exist, of a data set asked for by name.
        UnknownName: no data set was named, and none of the task has an option that was asked for.
        UsageError: none of them has all the options that were asked for.
        DatasetRejected: an annotation file is malformed.
        DataMissing: no data set of the task is on this machine.
    """
    if choice.root is not None:
        existing_data_root(choice.root)
    cards, lacking = _with_options(_cards(choice, catalog), choice, catalog)
    unrooted, unusable, foreign = _checked(cards, choice, catalog)
    found: list[FoundData] = []
    missing: dict[str, DataMissing] = {}
    notes = [f"Data set {name} is left out: it has no option {said}." for name, said in lacking.items()]
    for spec in unrooted:
        try:
            data, note = _with_fallback(_boxed(spec, choice, boxes), choice, catalog)
            found.append(data)
            notes += note
        except DataMissing as error:
            missing[spec.id] = error
        except (CardError, UnknownName) as error:
            if choice.names:
                raise
            unusable[spec.id] = error
    if not found:
        here = [name for name in unusable if catalog.dataset(name).embedded]  # the others may not be on this machine
        unusable = {name: unusable[name] for name in (*here, *unusable)}
        raise _nothing_found(choice, missing, unusable, foreign)
    notes += [f"Data set {name} is left out: {error}" for name, error in unusable.items()]
    if choice.names:
        return DataSearch(found, missing, notes)
    absent = [f"Not on this machine, so not run: {', '.join(missing)} (see --data-root)."] if missing else []
    return DataSearch(found, {}, [*notes, *absent])


def _cards(choice: DataChoice, catalog: Catalog) -> list[DatasetCard]:
    return [catalog.dataset(name) for name in choice.names] or [
        card for card in catalog.datasets.values() if card.default_protocol(choice.task) is not None
    ]


def _with_options(
    cards: list[DatasetCard], choice: DataChoice, catalog: Catalog
) -> tuple[list[DatasetCard], dict[str, str]]:
    """The data sets that have the options asked for, and what the others lack.

    Data sets asked for by name all stay: an option that one of them lacks is refused when its options are read.
    """
    if choice.names or not choice.options:
        return cards, {}
    names: dict[str, set[str]] = {}
    for card in cards:
        with suppress(CardError, UnknownName):  # its adapter is not part of this version: said when it is checked
            names[card.id] = option_names(declared.adapter_options(card, catalog.card_paths[card.id]))
    known = set().union(*names.values())
    for option in choice.options:
        if option not in known:
            hint = f"It was looked for among the options of every data set for {choice.task}."
            raise UnknownName("data option", option, known, hint)
    lacking = {
        name: ", ".join(repr(option) for option in choice.options if option not in has)
        for name, has in names.items()
        if not has >= choice.options.keys()
    }
    kept = [card for card in cards if card.id not in lacking]
    if not any(card.id in names for card in kept):
        raise UsageError(f"No data set for {choice.task} has all of the options {', '.join(choice.options)}.")
    return kept, lacking


def _checked(
    cards: Sequence[DatasetCard], choice: DataChoice, catalog: Catalog
) -> tuple[list[DataSpec], dict[str, SapiensBenchError], set[str]]:
    """Specs of the data sets that are meant, those of them that cannot be used, and the protocols there are."""
    specs: list[DataSpec] = []
    unusable: dict[str, SapiensBenchError] = {}
    known: set[str] = set()
    for card in cards:
        of_task = {name for name, p in card.protocols.items() if p.task == choice.task}
        known |= of_task
        protocol = choice.protocol or card.default_protocol(choice.task) or ""
        if not choice.names and protocol not in of_task:
            continue  # another data set may have the protocol that was asked for
        try:
            specs.append(check_options(card, protocol, choice, catalog))
        except (CardError, UnknownName) as error:  # its adapter is not part of this version, or its card is wrong
            if choice.names:
                raise
            unusable[card.id] = error
    return specs, unusable, known


def _boxed(spec: DataSpec, choice: DataChoice, boxes: Mapping[str, Path]) -> DataSpec:
    """The spec with the file that its detector made."""
    return replace(spec, boxes=str(boxes[spec.id])) if choice.detector and spec.id in boxes else spec


def _with_fallback(spec: DataSpec, choice: DataChoice, catalog: Catalog) -> tuple[FoundData, list[str]]:
    """The data set under its protocol, or, when that is only its default and finds no files, under its fallback."""
    if choice.detector and spec.boxes == choice.boxes:
        raise DataMissing(
            f"The boxes of {choice.detector} for {spec.id} are not made yet; `sapiens-bench run` without --dry-run "
            "makes them first."
        )
    try:
        return _opened(spec, choice), []
    except DataMissing as error:
        fallback = spec.protocol.fallback
        if fallback is None or choice.protocol is not None:
            raise
        reason = error
    try:
        other = check_options(spec.card, fallback, choice, catalog)
        data = _opened(replace(other, boxes=spec.boxes), choice)
    except DataMissing:
        raise reason from None
    return data, [f"{spec.id}: {reason} Scored under protocol {fallback!r} instead of {spec.protocol_name!r}."]


def _nothing_found(
    choice: DataChoice,
    missing: Mapping[str, DataMissing],
    unusable: Mapping[str, SapiensBenchError],
    protocols: set[str],
) -> SapiensBenchError:
    """Why there is no data set to run on."""
    reasons: list[SapiensBenchError] = [*unusable.values(), *missing.values()]
    if len(reasons) == 1 or (choice.names and reasons):
        return reasons[0]
    if unusable:  # one that is here refused what was asked: that says more than those that are absent
        return next(iter(unusable.values()))
    if missing:
        having = f" that has {', '.join(map(repr, choice.options))}" if choice.options else ""
        return DataMissing(f"No data set for {choice.task}{having} is on this machine: {'; '.join(map(str, reasons))}")
    return UnknownName(f"{choice.task} protocol", str(choice.protocol), protocols)
