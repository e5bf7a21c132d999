"""Reading a card: YAML text to plain values under a strict rule, then to its pydantic class.

One pass over the parser's events builds the values, so nothing in the text can name a class, share a node or nest
without bound. Words that YAML 1.1 turns into something else than they look like (``no``, ``012``, ``1:30``, dates) are
refused instead of being guessed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sapiens_bench.cards.explain import Location, explain
from sapiens_bench.cards.schema import (
    Card,
    DatasetCard,
    DetectorCard,
    ModelCard,
    PublishedTable,
    SpaceCard,
    SpaceMapCard,
)
from sapiens_bench.errors import CardError, nearest

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
A_CARD = "a card is a mapping that begins with 'schema:'"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its event parser is used
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_PLAIN_FLOAT = re.compile(r"[-+]?([0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40})([eE][-+][0-9]{1,3})?")
_EXPONENT_WITHOUT_POINT = re.compile(r"[-+]?[0-9]+([eE][-+]?[0-9]+|\.[0-9]*[eE][0-9]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

SCHEMAS: dict[str, type[Card]] = {
    "model/1": ModelCard,
    "dataset/1": DatasetCard,
    "detector/1": DetectorCard,
    "space/1": SpaceCard,
    "space-map/1": SpaceMapCard,
    "published/1": PublishedTable,
}


class _Refused(Exception):
    """A rule of this file was broken at a line (counted from 1)."""

    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason


def _plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar; ValueError when it does not mean what it looks like."""
    if not text:
        return None
    tag = "str"
    for candidate, pattern in _RESOLVERS.get(text[0], ()):
        if pattern.match(text):
            tag = candidate.rpartition(":")[2]
            break
    if tag == "str":
        if _EXPONENT_WITHOUT_POINT.fullmatch(text):
            raise ValueError(f"{text} would be read as text: write the number as 1.0e+3, or put it in quotes")
        return text
    if tag == "null":
        return None
    if tag == "bool" and text in ("true", "false"):
        return text == "true"
    if tag == "int" and _PLAIN_INT.fullmatch(text):
        return int(text)
    if tag == "float" and _PLAIN_FLOAT.fullmatch(text):
        return float(text)
    kind = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date"}.get(tag, "special")
    raise ValueError(f"{text} would be read as {kind}: put it in quotes, or write a decimal number, true or false")


class _Builder:
    """Plain values from parser events. With ``lines`` given, notes where each key and list entry begins."""

    def __init__(self, lines: dict[Location, int] | None = None) -> None:
        self.root: Any = None
        self.lines = lines
        self._stack: list[Any] = []  # open dicts and lists
        self._keys: list[str] = []  # per open container: its last key ("" in a list)
        self._is_waiting: list[bool] = []  # per open container: the last key has no value yet
        self._memo: dict[str, Any] = {}
        self._documents = 0

    def feed(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._value(self._scalar(event), event)
        elif kind is yaml.MappingStartEvent:
            self._open({}, event)
        elif kind is yaml.SequenceStartEvent:
            self._open([], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._stack.pop()
            self._keys.pop()
            self._is_waiting.pop()
        elif kind is yaml.AliasEvent:
            raise _Refused(_line(event), "aliases (*name) are not allowed in a card: write the value out")
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise _Refused(_line(event), "a second document begins here: one card per file")

    def _scalar(self, event: Any) -> Any:
        _check_node(event)
        text: str = event.value
        if not event.implicit[0]:
            if _CONTROL.search(text):
                raise _Refused(_line(event), "the text holds a control character")
            return text
        if text in self._memo:
            return self._memo[text]
        if _CONTROL.search(text):
            raise _Refused(_line(event), "the text holds a control character")
        try:
            value = self._memo[text] = _plain(text)
        except ValueError as error:
            raise _Refused(_line(event), str(error)) from None
        return value

    def _open(self, container: dict[str, Any] | list[Any], event: Any) -> None:
        _check_node(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        self._value(container, event)
        self._stack.append(container)
        self._keys.append("")
        self._is_waiting.append(False)

    def _value(self, value: Any, event: Any) -> None:
        if not self._stack:
            self.root = value
            return
        container = self._stack[-1]
        if type(container) is list:
            container.append(value)
            if self.lines is not None:
                self.lines[self._path(len(container) - 1)] = _line(event)
            return
        if self._is_waiting[-1]:
            container[self._keys[-1]] = value
            self._is_waiting[-1] = False
            return
        if type(value) is not str:
            raise _Refused(_line(event), f"key {value!r:.40} is not text: put it in quotes")
        if value in container:
            raise _Refused(_line(event), f"key {value!r:.60} is written twice")
        self._keys[-1] = value
        self._is_waiting[-1] = True
        if self.lines is not None:
            self.lines[self._path(value)] = _line(event)

    def _path(self, last: str | int) -> Location:
        above = zip(self._stack[:-1], self._keys[:-1])
        return (*(len(c) - 1 if type(c) is list else key for c, key in above), last)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _check_node(event: Any) -> None:
    if event.anchor is not None:
        raise _Refused(_line(event), f"anchors (&{event.anchor}) are not allowed in a card")
    if event.tag is not None:
        raise _Refused(_line(event), f"tags ({event.tag:.60}) are not allowed in a card")


def parse_yaml(text: str, name: str, lines: dict[Location, int] | None = None, *, what: str = A_CARD) -> dict[str, Any]:
    """The mapping that the text holds, of plain dicts, lists, texts, numbers, truth values and None.

    Args:
        name: the file, for messages.
        lines: filled with the line (from 1) of every key and list entry when given.
        what: says what such a file is, for one that holds no mapping.

    Raises:
        CardError: not one YAML mapping, or it uses tags, anchors, aliases, repeated keys, deep nesting or a word that
            YAML would read as something else.
    """
    builder = _Builder(lines)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except _Refused as refused:
        raise CardError(f"{name}, line {refused.line}: {refused.reason}.") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CardError(f"{name}{line}: not valid YAML ({error.problem or error.context}).") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CardError(f"{name}: not valid YAML ({reason}).") from None
    if not isinstance(builder.root, dict):
        raise CardError(f"{name}: {what}; this file holds something else.")
    return builder.root


def read_text(path: Path) -> str:
    """The text of a card file.

    Raises:
        CardError: missing, not a regular file, over 1 MB, not UTF-8.
    """
    try:
        if not path.is_file():
            raise CardError(f"{path} is not a file.")
        with path.open("rb") as f:
            data = f.read(MAX_BYTES + 1)
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise CardError(f"{path} is larger than 1 MB, which no card needs.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CardError(f"{path} is not UTF-8 text (byte {error.start}).") from None


def load_card(path: Path, name: str = "") -> Card:
    """Read one card of any schema; ``name`` replaces the path in messages.

    Raises:
        CardError: names file, line and key, with the nearest valid key where one is misspelt.
    """
    name = name or str(path)
    text = read_text(path)
    data = parse_yaml(text, name)
    schema = data.get("schema")
    if schema is None:
        close = [key for key in data if nearest(key, ["schema"])]
        hint = f" (found {close[0]!r})" if close else ""
        raise CardError(f"{name}: key 'schema' is missing{hint}; write one of {', '.join(SCHEMAS)}.")
    if not isinstance(schema, str) or schema not in SCHEMAS:
        raise CardError(f"{name}: key 'schema': {schema!r:.40} is none of {', '.join(SCHEMAS)}.")
    card_type = SCHEMAS[schema]
    try:
        # JSON mode: lists may become tuples, and nothing else is converted.
        return card_type.model_validate_json(json.dumps(data))
    except ValidationError as error:
        lines: dict[Location, int] = {}
        parse_yaml(text, name, lines)
        raise CardError(explain(error, card_type, lambda place: _where(name, place, lines))) from None


def _where(name: str, location: Location, lines: dict[Location, int]) -> str:
    known = location
    while known and known not in lines:
        known = known[:-1]
    line = f", line {lines[known]}" if known else ""
    key = ".".join(str(part) for part in location)
    return f"{name}{line}, key {key!r:.120}" if key else f"{name}{line}"
