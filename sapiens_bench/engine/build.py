"""Specs become objects: the one place where an adapter, a model or a task is made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sapiens_bench import adapters, models
from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.locate import confirm
from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.engine import declared
from sapiens_bench.engine.declared import model_options as model_options  # for whoever reads options before building
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.specs import DataSpec, ModelSpec
from sapiens_bench.engine.threads import usable_cores
from sapiens_bench.errors import CardError, SapiensBenchError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.tasks import task_for, task_kind
from sapiens_bench.types import Adapter, Model, Sample, Task


@dataclass(frozen=True)
class OpenData:
    """A data set under one protocol, opened in this process."""

    spec: DataSpec
    adapter: Adapter
    task: Task


def adapter_options(spec: DataSpec) -> Options:
    """The adapter's options as the protocol (and the request) set them.

    Raises:
        UnknownName, CardError: no such adapter; a wrong key or value.
    """
    kind = declared.adapter_options(spec.card, spec.path)
    return read_options(kind, spec.protocol.options, f"data set {spec.id}, protocol {spec.protocol_name}")


def build_task(spec: DataSpec) -> Task:
    """The task as the protocol scores it.

    Raises:
        UnknownName, CardError: no such task; a wrong scoring key.
    """
    return task_for(spec.protocol, spec.space, f"data set {spec.id}, protocol {spec.protocol_name}")


def open_data(spec: DataSpec) -> OpenData:
    """Open a data set.

    Raises:
        DataMissing, DatasetRejected: its files are absent or malformed.
        CardError: the card names an adapter that is not there, or options it does not have.
    """
    task = build_task(spec)
    context = DataContext(
        card=spec.card,
        protocol=spec.protocol,
        space=spec.space,
        to_space=spec.to_space,
        root=spec.root,
        split=spec.split,
        boxes=spec.boxes,
        seed=spec.seed,
        options=adapter_options(spec),
        max_pixels=spec.max_pixels,
    )
    code = adapters.TABLE.find(spec.card.adapter, spec.path)
    adapter = cast("Adapter", code(context))
    if spec.select is not None:
        from sapiens_bench.adapters.selection.selected import Selected

        driven = (spec.boxes or getattr(context.options, "boxes", "")) != "none"
        adapter = Selected(adapter, spec.select, task, driven=driven, workers=usable_cores())
    if spec.condition is not None:
        from sapiens_bench.adapters.conditions.conditioned import Conditioned

        adapter = Conditioned(adapter, spec.condition, is_whole_image=task.kind.is_whole_image)
    return OpenData(spec, adapter, task)


def build_model(
    spec: ModelSpec,
    device: str,
    *,
    task: Task | None = None,
    targets: TargetBook | None = None,
    adapter: Adapter | None = None,
) -> Model:
    """Build one variant. ``task`` and ``targets`` reach diagnostics only: no other model can see ground truth.

    Args:
        adapter: of the data set; its ``index`` (ids and keypoint names, no labels) reaches results made elsewhere.

    Raises:
        CheckpointRejected, UntrustedCheckpoint: the weight file cannot be used.
        ChecksumMismatch: it is no longer the file that was verified.
        CardError: the wrapper cannot be built; names the reason.
        DeviceError: the device lacks the precision of its form, or the backend cannot compute it.
    """
    entry = spec.entry
    if entry.form.precision:
        resolve_device(device, spec.precision)
    context = ModelContext(
        card=entry.card,
        variant=entry.variant,
        weights=spec.weights.path,
        also=spec.weights.also,
        device=device,
        precision=spec.precision,
        space=spec.space,
        options=read_options(model_options(entry), spec.options, f"model {entry.id}"),
        targets=targets.target if spec.is_diagnostic and targets is not None else None,
        task=task if spec.is_diagnostic else None,
        seed=spec.seed,
        trusted=spec.weights.trusted,
        index=getattr(adapter, "index", None) if spec.is_results else None,
    )
    wrapper = models.TABLE.find(entry.card.wrapper, entry.path)
    confirm(spec.weights)  # hours may lie between the plan and this model's turn
    try:
        model = cast("Model", wrapper(context))
    except SapiensBenchError:
        raise
    except Exception as error:  # a wrapper of a third party may fail in any way
        raise CardError(f"{entry.id} cannot be built: {type(error).__name__}: {error}") from error
    declared.check_methods(model, declared.MODEL_METHODS, f"{entry.path}: wrapper {entry.card.wrapper!r}")
    if entry.form.backend is None:
        return model
    from sapiens_bench.engine.backends import on_backend

    return on_backend(model, spec.backend, entry.id, device, task_kind(entry.card.task).is_whole_image)


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
