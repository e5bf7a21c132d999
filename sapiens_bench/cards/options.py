"""The choices that a component offers: one strict class each, read and explained in one place.

A wrapper, an adapter, a detector and the scoring of a task each declare an ``Options`` class. The plan reads what card,
protocol and command line say into it before anything is rendered, fetched or loaded, so a component never meets a
wrong key or a value of the wrong kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError

from sapiens_bench.cards.explain import Location, explain
from sapiens_bench.errors import CardError

_MOST_LEFT_OUT = 3  # options of one request that do not go with a card; more are refused

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(BaseModel):
    """Base of every component's choices: unknown keys are refused, ``"17"`` is not 17, instances are immutable.

    Each field has a default, or the card must give it; ``Field(description=...)`` is what ``list`` and the reference
    print, ``ge`` and ``le`` are its range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
    about_files: ClassVar[frozenset[str]] = frozenset()
    """Options that say how a user's files are stored, where no protocol says it: they change none."""

    @classmethod
    def unfolded(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """``given`` with its shorter ways of writing several options written out.

        (A validator that runs before the fields would make pydantic refuse lists where a tuple is meant.)

        Raises:
            ValueError: a shorter way is used wrongly.
        """
        return given


class OptionConflict(CardError):
    """Each option is right by itself; together they are not."""


class NoOptions(Options):
    """Of a component that has no choices."""


def read_options(kind: type[OptionsT], given: Mapping[str, Any], where: str) -> OptionsT:
    """The options ``given`` as an instance of ``kind``.

    Args:
        given: plain values, as a card or the command line holds them; lists may become tuples, nothing else changes.
        where: the owner, for messages: ``"model movenet-thunder"``.

    Raises:
        CardError: names owner, key and value found, with the nearest valid key where one is misspelt.
        OptionConflict: options that do not go together.
    """
    try:
        text = json.dumps(dict(kind.unfolded(given)))
    except TypeError as error:
        raise CardError(f"{where}: options hold something that is no plain value ({error}).") from None
    except ValueError as error:
        raise CardError(f"{where}: {error}.") from None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        is_conflict = not any(fault["loc"] for fault in error.errors(include_url=False, include_context=False))
        raise (OptionConflict if is_conflict else CardError)(
            explain(error, kind, lambda place: _place(where, place))
        ) from None


def option_names(kind: type[Options]) -> set[str]:
    """Every name that ``kind`` answers to, older spellings included."""
    return set(_fields(kind))


def overlaid(kind: type[Options], base: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``base`` with ``asked`` over it; an older spelling and the present one are the same option.

    An option that ``base`` holds keeps the spelling it has there, so that one question has one form.

    Raises:
        CardError: ``asked`` gives one option under two spellings; ``where`` names the owner.
    """
    fields = _fields(kind)
    spelt = {fields.get(name, name): name for name in base}
    given: dict[str, str] = {}
    result = dict(base)
    for name, value in asked.items():
        field = fields.get(name, name)
        if field in given:
            raise CardError(f"{where}: {given[field]!r} and {name!r} are one option; give it once.")
        given[field] = name
        result[spelt.get(field, field)] = value
    return result


def fitting_options(
    kind: type[Options], base: Mapping[str, Any], asked: Mapping[str, Any], where: str
) -> tuple[Mapping[str, Any], OptionConflict | None]:
    """Those of ``asked`` that go with ``base``, and why the others do not.

    As few as possible are left out. Where that can be done in several ways, ``asked`` contradicts itself, and where
    ``base`` is wrong by itself nothing helps: all of ``asked`` is returned then, for the caller to be refused.
    """
    known = [name for name in asked if name in option_names(kind)]

    def fault(out: tuple[str, ...]) -> CardError | None:
        try:
            kept = {name: asked[name] for name in known if name not in out}
            read_options(kind, overlaid(kind, base, kept, where), where)
        except CardError as error:
            return error
        return None

    first = fault(())
    if not isinstance(first, OptionConflict):
        return asked, None  # a wrong value is not for this function to explain
    for n_out in range(1, min(len(known), _MOST_LEFT_OUT) + 1):
        fits = [out for out in combinations(known, n_out) if fault(out) is None]
        if len(fits) == 1:
            return {name: value for name, value in asked.items() if name not in fits[0]}, first
        if fits:
            break
    return asked, None


def _fields(kind: type[Options]) -> dict[str, str]:
    """Spelling -> the field that it means."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        found |= dict.fromkeys(
            (str(choice) for choice in (alias.choices if isinstance(alias, AliasChoices) else ())), name
        )
        found[name] = name
    return found


def _place(where: str, location: Location) -> str:
    key = ".".join(str(part) for part in location)
    return f"{where}, option {key!r:.120}" if key else where
