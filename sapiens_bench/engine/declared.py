"""What a wrapper or an adapter declares, checked where it is found: before anything is fetched, rendered or opened."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sapiens_bench import adapters, models
from sapiens_bench.cards.catalog import DetectorEntry, ModelEntry
from sapiens_bench.cards.options import NoOptions, Options
from sapiens_bench.cards.schema import DatasetCard
from sapiens_bench.errors import CardError
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.tasks import task_kind

MODEL_METHODS = ("prepare", "forward", "finish")
ADAPTER_METHODS = ("__len__", "__getitem__")
_BASE = "sapiens_bench.cards.options.Options"


def model_options(entry: ModelEntry) -> type[Options]:
    """The options class of a variant's wrapper; a wrapper without one has no options.

    Raises:
        UnknownName, CardError: no such wrapper or task; the wrapper lacks a method, or its options are no ``Options``.
    """
    wrapper = entry.card.wrapper
    models.TABLE.check(wrapper)  # first: nobody should fetch weights that this version cannot run
    kind = task_kind(entry.card.task)
    if wrapper in OPTIONS:
        return options_class(OPTIONS[wrapper], kind) or NoOptions
    code = models.TABLE.find(wrapper, entry.path)
    where = f"{entry.path}: wrapper {wrapper!r}"
    check_methods(code, MODEL_METHODS, where)
    declared = getattr(code, "Options", None)
    if declared is None:
        _refuse_forgotten(code, where)
        return NoOptions
    if not isinstance(declared, type | Mapping) and not callable(declared):
        raise _no_options(declared, code, where)
    found = options_class(declared, kind)
    return NoOptions if found is None else _checked(found, code, where)


def adapter_options(card: DatasetCard, path: Path) -> type[Options]:
    """The options class of a data set's adapter; an adapter without one has no options.

    Args:
        path: of the card, for code beside it.

    Raises:
        UnknownName, CardError: as for ``model_options``.
    """
    code = adapters.TABLE.find(card.adapter, path)
    where = f"{path}: adapter {card.adapter!r}"
    check_methods(code, ADAPTER_METHODS, where)
    declared = getattr(code, "Options", None)
    if declared is None:
        _refuse_forgotten(code, where)
        return NoOptions
    return _checked(declared, code, where)


def detector_options(entry: DetectorEntry) -> type[Options]:
    """The options class of a person detector."""
    found = OPTIONS.get(entry.card.wrapper)
    return found if isinstance(found, type) else NoOptions


def check_methods(code: Any, methods: tuple[str, ...], where: str) -> None:
    """Refuse a component that lacks a method.

    A function makes its component later, and a class may set a method on itself: what is made is checked once more.

    Args:
        code: the component, its class, or a function that makes it.
        where: file and name, for messages.

    Raises:
        CardError: names the file, the class and the methods.
    """
    if inspect.isroutine(code):
        return
    is_class = isinstance(code, type)
    touched = _names_in(code) if is_class else frozenset()
    lacking = [name for name in methods if not callable(getattr(code, name, None)) and name not in touched]
    if lacking and not (is_class and _delegates(code)):
        name = code.__name__ if is_class else type(code).__name__
        raise CardError(
            f"{where}: class {name} ({_file(code)}) has no method {', '.join(lacking)}; it needs {', '.join(methods)}."
        )


def _checked(declared: Any, code: Any, where: str) -> type[Options]:
    if not (isinstance(declared, type) and issubclass(declared, Options)):
        raise _no_options(declared, code, where)
    return declared


def _no_options(declared: Any, code: Any, where: str) -> CardError:
    name = declared.__name__ if isinstance(declared, type) else repr(declared)[:60]
    fix = f"write `class {name}(Options)`" if isinstance(declared, type) else "give it a class derived from Options"
    return CardError(
        f"{where}: Options of {_name(code)} is {name} ({_file(code)}), which is not derived from {_BASE}: {fix}."
    )


def _refuse_forgotten(code: Any, where: str) -> None:
    """A class that reads ``.options`` and declares none, beside an options class that nobody in its file declares."""
    if "options" not in _names_in(code):
        return
    inside = list(vars(sys.modules.get(getattr(code, "__module__", ""), object)).values())
    declared = [kind for thing in inside for kind in _values(getattr(thing, "Options", None))]
    own = [k for k in inside if isinstance(k, type) and issubclass(k, Options) and k.__module__ == code.__module__]
    free = [k.__name__ for k in own if not any(k is d for d in declared) and not k.__subclasses__()]
    if free:
        raise CardError(
            f"{where}: {_name(code)} ({_file(code)}) reads its options and declares none: "
            f"write `Options = {free[0]}` in it."
        )


def _values(declared: Any) -> list[Any]:
    return list(declared.values()) if isinstance(declared, Mapping) else [declared]


def _names_in(code: Any) -> frozenset[str]:
    """Every attribute and global that a class's own methods (or a function) name."""
    return frozenset(name for function in _functions(code) for name in function.__code__.co_names)


def _functions(code: Any) -> Iterator[Any]:
    if inspect.isfunction(code):
        yield code
    for base in getattr(code, "__mro__", ()):
        if base.__module__.partition(".")[0] != "torch":
            yield from (member for member in vars(base).values() if inspect.isfunction(member))


def _delegates(kind: type) -> bool:
    """Whether attributes that a class does not have are looked up elsewhere, by code that is not torch's."""
    owner = next((base for base in kind.__mro__ if "__getattr__" in vars(base)), None)
    return owner is not None and owner.__module__.partition(".")[0] != "torch"


def _name(code: Any) -> str:
    return str(getattr(code, "__name__", type(code).__name__))


def _file(code: Any) -> str:
    kind = code if isinstance(code, type) or inspect.isroutine(code) else type(code)
    module = sys.modules.get(kind.__module__)
    return Path(getattr(module, "__file__", None) or kind.__module__).name
