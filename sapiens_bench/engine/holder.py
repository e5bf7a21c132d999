"""The model that is loaded in this process, and the data sets as its cells look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import cast

from sapiens_bench.engine.build import OpenData, TargetBook, build_model
from sapiens_bench.engine.conventions import Conventions, examine, refuse_wrong
from sapiens_bench.engine.samples import SharedSamples, budget_bytes
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.types import Adapter, Model


class ModelHolder:
    """One model at a time; the last one stays loaded for its next cell.

    Args:
        device: where models are built.
        n_kept: targets that a diagnostic may still ask for.
        sets: the data set of every cell that is to come: samples of one that several look at are read once.
        on_note: gets sentences for the user.
    """

    def __init__(self, device: str, n_kept: int, sets: Iterable[str], on_note: Callable[[str], None]) -> None:
        self.device, self._n_kept, self._on_note = device, n_kept, on_note
        self._cells_of = Counter(sets)
        self._loaded: tuple[str, Model] | None = None
        self._shared: dict[str, Adapter] = {}
        self._conventions: dict[str, Conventions] = {}

    @property
    def model_id(self) -> str:
        """Of the model that is loaded; "" for none."""
        return "" if self._loaded is None else self._loaded[0]

    def ready(self, spec: CellSpec, data: OpenData) -> tuple[Adapter, Model]:
        """The adapter and the model of a cell, built and looked at.

        Raises:
            SapiensBenchError: see ``build_model``.
            CheckpointRejected: a network's declared axes or depth direction are clearly not its own.
        """
        adapter, model = self._built(spec, data)
        self._check_conventions(spec, data, model)
        return adapter, model

    def _built(self, spec: CellSpec, data: OpenData) -> tuple[Adapter, Model]:
        adapter, own = self._adapter(data), data.adapter
        per_data = spec.model.is_diagnostic or spec.model.is_results
        if self._loaded is not None and self._loaded[0] == spec.model.id and not per_data:
            return adapter, self._loaded[1]
        self._loaded = None  # frees the device before the next model comes
        book = TargetBook(adapter, n_kept=self._n_kept)
        model = build_model(spec.model, self.device, task=data.task, targets=book, adapter=own)
        self._loaded = (spec.model.id, model)
        if not needs_pictures(model) and hasattr(own, "without_pictures"):
            return cast("Adapter", own.without_pictures()), model
        return (book if spec.model.is_diagnostic else adapter), model

    def _adapter(self, data: OpenData) -> Adapter:
        """The data set, its decoded samples shared where several cells look at them."""
        name = data.spec.id
        if self._cells_of[name] < 2:
            return data.adapter
        if name not in self._shared:  # models run one after the other over all sets
            self._shared[name] = SharedSamples(data.adapter, budget_bytes() // len(self._cells_of))
        return self._shared[name]

    def _check_conventions(self, spec: CellSpec, data: OpenData, model: Model) -> None:
        """Looked at once per model."""
        if spec.model.entry.card.kind != "network" or data.task.kind.convention is None:
            return
        name = spec.model.id
        if name not in self._conventions:
            found = examine(spec.model, model, data, self.device, n=spec.cell.n_samples)
            self._conventions[name] = found
            if found.outcome == "undecided":
                self._on_note(found.advice)
        refuse_wrong(self._conventions[name])


def needs_pictures(model: Model) -> bool:
    """Whether a model looks at pictures; stored poses do not."""
    return bool(getattr(model, "needs_pictures", True))
