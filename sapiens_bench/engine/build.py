"""The one place where names in cards become code: task, adapter, model."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.locate import WeightFiles
from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.cards.spaces import SourceSpace
from sapiens_bench.errors import CardError, SapiensBenchError, UnknownName
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import OPTIONS
from sapiens_bench.types import Adapter, Model, Sample, Task

_TABLES = {  # what -> (module, its table, entry-point group)
    "task": ("sapiens_bench.tasks", "TASKS", "sapiens_bench.tasks"),
    "adapter": ("sapiens_bench.adapters", "ADAPTERS", "sapiens_bench.adapters"),
    "wrapper": ("sapiens_bench.models", "WRAPPERS", "sapiens_bench.models"),
}


WITH_PIPELINES = frozenset({"sapiens_v1"})  # wrappers that know the full and the lite pipeline


def table_of(what: str) -> Mapping[str, str]:
    """TASKS, ADAPTERS or WRAPPERS: name -> "module:object"."""
    module, name, _ = _TABLES[what]
    return cast("Mapping[str, str]", getattr(importlib.import_module(module), name))


def find_code(what: str, name: str, beside: Path | None = None) -> Any:
    """The object behind ``name``: a key of our table, an entry point, or ``./file.py:Class`` beside a card.

    Raises:
        UnknownName: this version has no such name.
        CardError: the code is there and cannot be imported; names the module and the reason.
    """
    if name.startswith("./"):
        if beside is None:
            raise CardError(f"{what} {name!r}: code beside a card needs the card's folder.")
        return _from_file(what, name, beside)
    table = table_of(what)
    plugins = {e.name: e for e in entry_points(group=_TABLES[what][2])} if name not in table else {}
    if name not in table and name not in plugins:
        raise UnknownName(what, name, [*table, *plugins], "This version of sapiens-bench does not have it.")
    target = table.get(name) or plugins[name].value
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except SapiensBenchError:
        raise
    except Exception as error:  # a plug-in may fail in any way while it is imported
        raise CardError(f"{what} {name!r} ({target}) cannot be imported: {type(error).__name__}: {error}") from error


def check_code(what: str, name: str) -> None:
    """Like ``find_code``, without importing it: is there such a name, and a module behind it?"""
    if name.startswith("./"):
        return  # the catalog saw the file when it read the card
    table = table_of(what)
    if name not in table:
        if not any(e.name == name for e in entry_points(group=_TABLES[what][2])):
            raise UnknownName(what, name, table, "This version of sapiens-bench does not have it.")
        return
    module = table[name].partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise CardError(f"{what} {name!r}: module {module} is not part of this installation.")


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
        return getattr(sys.modules[unique], attribute)
    except Exception as error:  # the user's own file may fail in any way
        sys.modules.pop(unique, None)
        raise CardError(f"{beside}: {what} {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def task_for(protocol: EvalProtocol, space: SpaceCard | None) -> Task:
    """The task of a protocol, scored in the set ``space``."""
    return cast("Task", find_code("task", protocol.task)(protocol, space))


def adapter_for(
    card: DatasetCard,
    protocol: EvalProtocol,
    space: SpaceCard | None,
    root: Path,
    options: AdapterOptions,
    beside: Path | None = None,
    *,
    to_space: Mapping[str, SourceSpace] | None = None,
) -> Adapter:
    """The data set below ``root`` under one protocol.

    Raises:
        DatasetRejected: the annotations are malformed.
        CardError: the card names an adapter that is not there.
    """
    code = find_code("adapter", card.adapter, beside)
    kind = getattr(code, "Options", None)
    if kind is None:  # TODO(frame): goes when every adapter takes the context
        return cast("Adapter", code(card, protocol, space, root, options))
    where = f"data set {card.id}, protocol {protocol.title!r}"
    context = DataContext(
        card=card,
        protocol=protocol,
        space=space,
        to_space=to_space or {},
        root=root,
        split=options.split,
        boxes=options.boxes,
        seed=options.seed,
        options=read_options(kind, protocol.options, where),
        max_pixels=options.max_pixels,
    )
    return cast("Adapter", code(context))


def options_of(entry: ModelEntry, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A variant's options with the request's over them. ``pipeline`` reaches only wrappers that have two of them, so
    that ``--pipeline lite`` can be asked of a mixed list of models."""
    known = {k: v for k, v in asked.items() if k != "pipeline" or entry.card.wrapper in WITH_PIPELINES}
    return {**entry.variant.options, **known}


def reads_results(entry: ModelEntry) -> bool:
    """Whether a variant is the stored output of another program, which is read anew for each data set."""
    weights = entry.variant.weights
    return weights is not None and weights.format == "predictions"


def wrapper_options(entry: ModelEntry) -> type[Options] | None:
    """The options class of a variant's wrapper; None: not declared yet."""
    kind: Any = OPTIONS.get(entry.card.wrapper)
    if kind is None and entry.card.wrapper not in table_of("wrapper"):
        kind = getattr(find_code("wrapper", entry.card.wrapper, entry.path), "Options", None)
    return cast("type[Options] | None", kind.get(entry.card.task) if isinstance(kind, Mapping) else kind)


def model_for(
    entry: ModelEntry,
    weights: WeightFiles,
    catalog: Catalog,
    *,
    device: str,
    precision: str,
    options: Mapping[str, Any],
    seed: int = 0,
    task: Task | None = None,
    targets: TargetBook | None = None,
    adapter: Adapter | None = None,
) -> Model:
    """Build one variant. ``task`` and ``targets`` reach diagnostics only: no other model can see ground truth. Of
    ``adapter``, results made elsewhere get the ids that they refer to.

    Raises:
        CheckpointRejected, UntrustedCheckpoint: the weight file cannot be used.
        CardError: the wrapper cannot be built; names the reason.
    """
    space = entry.card.space_of(entry.variant)
    diagnostic = entry.card.kind == "diagnostic"
    kind, asked = wrapper_options(entry), options_of(entry, options)
    context = ModelContext(
        card=entry.card,
        variant=entry.variant,
        weights=weights.path,
        also=weights.also,
        device=device,
        precision=precision,
        space=None if space is None else catalog.space(space),
        options=read_options(kind, asked, f"model {entry.id}") if kind else asked,
        targets=targets.target if diagnostic and targets is not None else None,
        task=task if diagnostic else None,
        seed=seed,
        trusted=weights.trusted,
        index=getattr(adapter, "index", None) if reads_results(entry) else None,
    )
    wrapper = find_code("wrapper", entry.card.wrapper, entry.path)
    try:
        return cast("Model", wrapper(context))
    except SapiensBenchError:
        raise
    except Exception as error:  # a wrapper of a third party may fail in any way
        raise CardError(f"{entry.id} cannot be built: {type(error).__name__}: {error}") from error


class TargetBook:
    """An adapter that remembers the last targets it gave, so that a diagnostic needs no second look at the image."""

    def __init__(self, adapter: Adapter, n_kept: int) -> None:
        self._adapter, self._n_kept = adapter, n_kept
        self._targets: OrderedDict[str, Any] = OrderedDict()
        self.keys: Sequence[str] = adapter.keys
        self.groups: Sequence[str] = adapter.groups
        self.manifest_sha256 = adapter.manifest_sha256
        self._index_of = {key: index for index, key in enumerate(adapter.keys)}

    def __len__(self) -> int:
        return len(self._adapter)

    def __getitem__(self, index: int) -> Sample:
        sample = self._adapter[index]
        self._targets[sample.key] = sample.target
        while len(self._targets) > self._n_kept:
            self._targets.popitem(last=False)
        return sample

    def target(self, key: str) -> Any:
        """The target of a sample."""
        try:
            return self._targets[key]
        except KeyError:
            return self._adapter[self._index_of[key]].target
