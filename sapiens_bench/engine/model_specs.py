"""Which models a choice means: options validated first, weights verified last. No model is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.code import code_hash
from sapiens_bench.cards.folders import existing_weights_root
from sapiens_bench.cards.locate import WeightFiles, weight_files
from sapiens_bench.cards.options import OptionConflict, Options, fitting_options, option_names, overlaid, read_options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.engine.build import model_options
from sapiens_bench.engine.choices import ModelChoice
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.engine.stored import results_root
from sapiens_bench.errors import CardError, DeviceError, SapiensBenchError, UnknownName, UsageError


@dataclass(frozen=True)
class Candidate:
    """A variant that the request means, before its weights are looked for."""

    entry: ModelEntry
    options: dict[str, Any]  # the card's with the request's over them
    refusal: SapiensBenchError | None = None  # why this version cannot run it


@dataclass(frozen=True)
class Candidates:
    """Every variant that the request means, in card order."""

    all: list[Candidate]
    notes: list[str]


def candidates(choice: ModelChoice, catalog: Catalog, spaces: Collection[str] = ()) -> Candidates:
    """The variants that are meant, with their options.

    An option of the request reaches every model that has it; the others keep their card's.

    Args:
        spaces: sets that are scored in; models that join ``all`` only there do.

    Raises:
        UnknownName: no such model, or an option that none of the models has.
        CardError: an option's value is wrong, or see ``with_options``.
    """
    entries = catalog.select(choice.task, choice.patterns)
    if "all" in catalog.names(choice.patterns):
        joining = [e for e in catalog.models.values() if e.card.task == choice.task and _joins(e, spaces)]
        entries += [entry for entry in joining if entry not in entries]
    _check_weights_root(choice.weights_root, entries)
    return with_options(entries, choice.options, catalog.names(choice.patterns), catalog.unusable)


def _joins(entry: ModelEntry, spaces: Collection[str]) -> bool:
    where = entry.variant.in_all
    return not isinstance(where, bool) and not set(where).isdisjoint(spaces)


def with_options(
    entries: Sequence[ModelEntry],
    asked: Mapping[str, Any],
    named: Collection[str],
    unusable: Mapping[str, SapiensBenchError] | None = None,
) -> Candidates:
    """The variants with the options ``asked`` over those of their cards; of a run and of a profile alike.

    Args:
        named: ids of those that were named exactly. An option that does not go with the card of another (``score`` is
            of SimCC, its output are heatmaps) does not reach it.
        unusable: variant id -> what is wrong with the file that it was named by.

    Raises:
        UnknownName: an option that none of them has.
        CardError: an option's value is wrong; or it does not go with a card that was named, or with any card at all.
    """
    classes: dict[str, type[Options]] = {}
    refused = {e.id: unusable[e.variant.id] for e in entries if unusable and e.variant.id in unusable}
    for entry in entries:
        if entry.id in refused:
            continue
        try:
            classes[entry.id] = model_options(entry)
        except SapiensBenchError as error:
            refused[entry.id] = error
    _refuse_unknown(asked, classes)
    found: list[Candidate] = []
    conflicts: dict[str, dict[str, OptionConflict]] = {name: {} for name in asked}  # option -> model -> why
    for entry in entries:
        if entry.id in refused:
            found.append(Candidate(entry, dict(entry.variant.options), refused[entry.id]))
            continue
        kind = classes[entry.id]
        fitting, why = asked, None
        if entry.id not in named:
            fitting, why = fitting_options(kind, entry.variant.options, asked, _where(entry))
        if why is not None:
            for name in asked.keys() - fitting.keys():
                conflicts[name][entry.id] = why
        found.append(_candidate(entry, kind, fitting))
    _refuse_unfit(conflicts, classes)
    return Candidates(found, [*_left_out(asked, classes), *_unfit_notes(conflicts)])


def _refuse_unfit(conflicts: Mapping[str, Mapping[str, OptionConflict]], classes: Mapping[str, type[Options]]) -> None:
    """An option that goes with none of the models that have it is an error, not a note."""
    for name, why in conflicts.items():
        if why and all(model in why for model, kind in classes.items() if name in option_names(kind)):
            raise OptionConflict(f"--option {name} does not go with any of the models. {next(iter(why.values()))}")


def _unfit_notes(conflicts: Mapping[str, Mapping[str, OptionConflict]]) -> list[str]:
    """One note for each option that the cards of some of the models do not go with."""
    return [
        f"--option {name} does not reach {_some(list(why))}: it does not go with their cards "
        f"({next(iter(why.values()))})"
        for name, why in conflicts.items()
        if why
    ]


def _check_weights_root(root: Path | None, entries: Sequence[ModelEntry]) -> None:
    """A folder that is not there matters where weights are looked for in it."""
    if root is not None and any(map(_is_looked_for, entries)):
        existing_weights_root(root)


def _is_looked_for(entry: ModelEntry) -> bool:
    weights = entry.variant.weights
    return weights is not None and not weights.get.embedded and results_root(entry) is None


def _candidate(entry: ModelEntry, kind: type[Options], asked: Mapping[str, Any]) -> Candidate:
    known = option_names(kind)
    reaching = {name: value for name, value in asked.items() if name in known}
    options = overlaid(kind, entry.variant.options, reaching, _where(entry))
    try:
        read_options(kind, options, _where(entry))
    except OptionConflict as error:
        if options != entry.variant.options and not _is_wrong(entry, kind):
            given = ", ".join(f"--option {name}" for name in reaching)
            raise OptionConflict(f"{given}: {error}") from None
        return Candidate(entry, options, error)
    except CardError as error:
        if options != entry.variant.options:
            raise  # what was asked for now is wrong
        return Candidate(entry, options, error)  # its card is wrong: the others go on
    return Candidate(entry, options)


def _is_wrong(entry: ModelEntry, kind: type[Options]) -> bool:
    """Whether the card's options do not go together, whatever is asked."""
    try:
        read_options(kind, entry.variant.options, _where(entry))
    except OptionConflict:
        return True
    except CardError:
        return False
    return False


def _where(entry: ModelEntry) -> str:
    return f"model {entry.id} ({entry.path.name})"


def _refuse_unknown(asked: Mapping[str, Any], classes: Mapping[str, type[Options]]) -> None:
    known = {name for kind in classes.values() for name in option_names(kind)}
    for name in asked:
        if name not in known and classes:
            raise UnknownName("option", name, known, "`sapiens-bench list models --json` shows each model's options.")


def _left_out(asked: Mapping[str, Any], classes: Mapping[str, type[Options]]) -> list[str]:
    """One note for each option that some of the models do not have."""
    notes: list[str] = []
    for name in asked:
        without = [model for model, kind in classes.items() if name not in option_names(kind)]
        if without:
            notes.append(f"--option {name} does not reach {_some(without)}: they have no such option.")
    return notes


def _some(models: Sequence[str]) -> str:
    return ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "")


def model_spec(candidate: Candidate, choice: ModelChoice, catalog: Catalog) -> ModelSpec:
    """The candidate with verified weights.

    Raises:
        WeightsMissing, ChecksumMismatch: its files are not here, or have other bytes.
        UsageError, DeviceError: it cannot be computed in the form that its name says.
        SapiensBenchError: why it was refused before.
    """
    if candidate.refusal is not None:
        raise candidate.refusal
    entry = candidate.entry
    precision = entry.form.precision or choice.precision
    _check_form(entry, precision)
    root = results_root(entry) or choice.weights_root
    files = weight_files(entry.variant, root, choice.trust, further_root=choice.weights_root)
    return with_weights(candidate, files, space_of(entry, catalog), precision, choice.seed)


def _check_form(entry: ModelEntry, precision: str) -> None:
    """Refuse a form that this kind of model cannot have; whether the device can do it is asked when it is built."""
    form = entry.form
    if not form.text:
        return
    weights = entry.variant.weights
    if entry.card.kind != "network" or (weights is not None and weights.format == "predictions"):
        raise UsageError(
            f"{entry.id}: {entry.variant.id} is no network, so it has no other form. Leave out @{form.text}."
        )
    if form.backend is not None and weights is not None and weights.format == "onnx":
        raise UsageError(f"{entry.id}: {entry.variant.id} is an ONNX file already. Leave out @{form.text}.")
    if form.backend == "onnx" and precision != "fp32":
        raise DeviceError(f"{entry.id}: exports to ONNX compute in fp32, not in {precision}.")


def with_weights(
    candidate: Candidate, files: WeightFiles, space: SpaceCard | None, precision: str, seed: int
) -> ModelSpec:
    """What builds the candidate from these files."""
    entry = candidate.entry
    return ModelSpec(
        entry=entry,
        weights=files,
        space=space,
        options=candidate.options,
        precision=precision,
        seed=seed,
        backend=entry.form.backend or "torch",
        code_sha256=code_hash(entry.card.wrapper, entry.path),
    )


def space_of(entry: ModelEntry, catalog: Catalog) -> Any:
    """Keypoint or label set of the raw output, or None."""
    name = entry.card.space_of(entry.variant)
    return None if name is None else catalog.space(name)


def one_model(name: str, choice: ModelChoice, catalog: Catalog) -> ModelSpec:
    """The spec of a single model by its id; every option asked for must be one of its own.

    Raises:
        UnknownName: no such model, or option. WeightsMissing ...: see ``model_spec``.
    """
    entry = catalog.model(name)
    kind = model_options(entry)
    options = overlaid(kind, entry.variant.options, choice.options, f"model {entry.id}")
    read_options(kind, options, f"model {entry.id}")
    return model_spec(Candidate(entry, options), choice, catalog)


def trust_notes(choice: ModelChoice, specs: Sequence[ModelSpec]) -> list[str]:
    """One warning for every file that is opened because the user vouched for it, one for every path that was not."""
    used = {
        str(spec.weights.path.resolve()): spec.id
        for spec in specs
        if spec.weights.trusted and spec.weights.path is not None
    }
    return [
        f"WARNING: {path} (sha256 {sha256}) is trusted (--trust-checkpoint) and may run code of its own: {used[path]}."
        if path in used
        else f"--trust-checkpoint {path}: no model of this run uses the file."
        for path, sha256 in choice.trust.items()
    ]
