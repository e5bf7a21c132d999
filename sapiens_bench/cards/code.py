"""Names in cards become code: a key of one of our tables, an entry point, or ``./file.py:Class`` beside a card."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from sapiens_bench.errors import CardError, SapiensBenchError, UnknownName

_ABSENT = "This version of sapiens-bench does not have it."


@dataclass(frozen=True)
class CodeTable:
    """Every name of one kind of component."""

    what: str  # "task", "adapter", "wrapper": for messages
    known: Mapping[str, str]  # name -> "module:object", imported on first use
    group: str  # entry points that add to it

    def names(self) -> list[str]:
        """Ours, then those of installed plug-ins."""
        return [*self.known, *(name for name in self._plugins() if name not in self.known)]

    def find(self, name: str, beside: Path | None = None) -> Any:
        """The object behind ``name``.

        Args:
            beside: the card that names it, for ``./file.py:Class``.

        Raises:
            UnknownName: there is no such name.
            CardError: the code is there and cannot be imported; names the module and the reason.
        """
        if name.startswith("./"):
            if beside is None:
                raise CardError(f"{self.what} {name!r}: code beside a card needs the card's folder.")
            return _from_file(self.what, name, beside)
        target = self._target(name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except SapiensBenchError:
            raise
        except (Exception, SystemExit) as error:  # a plug-in may fail in any way while it is imported
            reason = f"{type(error).__name__}: {error}"
            raise CardError(f"{self.what} {name!r} ({target}) cannot be imported: {reason}") from error

    def check(self, name: str) -> None:
        """Like ``find``, without importing it: is there such a name, and a module behind it?

        Raises:
            UnknownName, CardError: no.
        """
        if name.startswith("./"):
            return  # the catalog saw the file when it read the card
        module = self._target(name).partition(":")[0]
        if name not in self.known:
            return
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise CardError(f"{self.what} {name!r}: module {module} is not part of this installation.")

    def _target(self, name: str) -> str:
        if name in self.known:
            return self.known[name]
        plugins = self._plugins()
        if name not in plugins:
            raise UnknownName(self.what, name, [*self.known, *plugins], _ABSENT)
        return plugins[name].value

    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def code_hash(name: str, card: Path) -> str:
    """sha256 of the file that ``./file.py:Class`` names beside a card; "" for code of an installed package."""
    if not name.startswith("./"):
        return ""
    return hashlib.sha256((card.parent / name.partition(":")[0]).read_bytes()).hexdigest()


def _from_file(what: str, name: str, beside: Path) -> Any:
    file, _, attribute = name.partition(":")
    path = (beside.parent / file).resolve()
    if not path.is_relative_to(beside.parent.resolve()):
        raise CardError(f"{beside}: {what} {name!r} leaves the card's folder.")
    unique = f"_sapiens_bench_card_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    try:
        if unique not in sys.modules:
            spec = importlib.util.spec_from_file_location(unique, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[unique] = module
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own file may fail in any way
        sys.modules.pop(unique, None)
        raise CardError(f"{beside}: {what} {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(sys.modules[unique], attribute, None)
    if found is None:
        own = [
            key for key, value in vars(sys.modules.pop(unique)).items() if getattr(value, "__module__", "") == unique
        ]
        raise CardError(f"{beside}: {what} {name!r}: {file} has no {attribute}. It has: {', '.join(own) or 'nothing'}.")
    return found
