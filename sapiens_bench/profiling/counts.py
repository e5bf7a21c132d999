"""Operations, activations and live memory of a forward pass, seen at the level of ATen operations.

On the meta device nothing is allocated, so a network of two billion parameters is counted in seconds. Attention is
counted where ``scaled_dot_product_attention`` is called, before a backend is chosen: the count is the same on every
device, and the meta device never plans an N x N matrix that no real backend would store.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.module_tracker import ModuleTracker

from sapiens_bench.profiling.record import CountRecord, ModuleCount

ENCODER_NAMES = frozenset({"backbone", "encoder", "vit", "trunk", "image_encoder", "pretrained"})
_ATEN = torch.ops.aten
_SDPA = _ATEN.scaled_dot_product_attention.default
# Layers with weights. In a transformer the other matrix products (bmm, attention) are those of activations.
_LINEAR = {_ATEN.addmm, _ATEN.mm, _ATEN.convolution, _ATEN._convolution}
# Arithmetic that could matter and has no formula here; reported, so that a count never looks complete when it is not.
_UNCOUNTED = {"lstm", "gru", "_cudnn_rnn", "_fft_c2c", "_fft_r2c", "_fft_c2r", "grid_sampler_2d", "_cdist_forward"}
_BREAKDOWN, _DEEPEST = 16, 3  # modules listed at most; dots in their names
_LEAST_SHARE = 0.001


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what every operation does, by module."""

    def __init__(self, tracker: ModuleTracker, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracker = tracker
        weights = [*network.parameters(), *network.buffers()]
        self._not_ours = {tensor.untyped_storage()._cdata for tensor in weights}
        self.linear = self.total = self.activations = 0
        self.by_module: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.live = self.peak = 0
        self._storages: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA:
            return self._attention(func, args, kwargs)
        packet = func._overloadpacket
        if packet is _ATEN.nonzero and args[0].is_meta:
            # How many there are depends on values, which the meta device has not: decoders that look for special cases
            # find none. Reported, because a network that selects tokens this way would be undercounted.
            self.uncounted["nonzero (taken as empty)"] += 1
            return args[0].new_empty((0, args[0].ndim), dtype=torch.int64)
        if packet not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
        out = func(*args, **kwargs)
        if packet in flop_registry:
            macs = int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2
            self._add(macs, packet in _LINEAR, out)
        elif packet.__name__ in _UNCOUNTED:
            self.uncounted[packet.__name__] += 1
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._watch(tensor)
        return out

    def _attention(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        query, key, value = args[:3]
        out: Tensor
        if query.device.type == "meta":
            out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        else:
            out = func(*args, **kwargs)
        rows = prod(query.shape[:-1]) * key.shape[-2]
        self._add(rows * (query.shape[-1] + value.shape[-1]), False, out)
        self._watch(out)
        return out

    def _add(self, macs: int, is_linear: bool, out: Any) -> None:
        self.total += macs
        self.linear += macs if is_linear else 0
        self.activations += out.numel() if isinstance(out, Tensor) else 0
        for module in self.tracker.parents:
            self.by_module[module] += macs

    def _watch(self, tensor: Tensor) -> None:
        """Count a new storage as live until Python lets go of it."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages or key in self._not_ours:
            return

        def gone(_: Any) -> None:
            if self._storages.pop(key, None) is not None:
                self.live -= size

        self._storages[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


@contextmanager
def _passes(core: nn.Module) -> Iterator[list[int]]:
    """Crops that enter ``core``, one entry per call."""
    seen: list[int] = []

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        pictures = (t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.ndim > 1)
        seen.append(len(next(pictures, (0,))))

    handle = core.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def count(run: Callable[[], Any], network: nn.Module, n_crops: int = 1, input_bytes: int = 0) -> CountRecord:
    """What ``run`` costs per crop.

    Args:
        run: a whole forward pass over ``n_crops`` crops; returns tensors (nested in dicts or sequences).
        network: the modules behind it, for parameters, the encoder/head split and the breakdown.
        input_bytes: of one crop as given to the device.

    Raises:
        NotImplementedError, RuntimeError: on the meta device, an operation needs values; count on real tensors then.
    """
    core = core_of(network)
    tracker = ModuleTracker()
    recorder = _Recorder(tracker, network)
    with torch.inference_mode(), _passes(core) as crops, tracker, recorder:
        out = run()
    passes = sum(crops) / n_crops if crops else 1.0
    scale = n_crops * (passes or 1.0)
    prefix = _prefix(network, core, recorder)
    encoder = [(name, child) for name, child in core.named_children() if name in ENCODER_NAMES]
    encoder_params = sum(p.numel() for _, child in encoder for p in child.parameters())
    encoder_macs = sum(recorder.by_module[f"{prefix}.{name}"] for name, _ in encoder)
    total_params = sum(p.numel() for p in network.parameters())
    return CountRecord(
        params_total=total_params,
        params_encoder=encoder_params if encoder else None,
        params_head=total_params - encoder_params if encoder else None,
        macs_linear=round(recorder.linear / scale),
        macs_total=round(recorder.total / scale),
        macs_encoder=round(encoder_macs / scale) if encoder else None,
        macs_head=round((recorder.total - encoder_macs) / scale) if encoder else None,
        passes=passes,
        activations=round(recorder.activations / scale),
        input_bytes=input_bytes,
        output_bytes=sum(t.numel() * t.element_size() for t in _tensors(out)) // n_crops,
        peak_activation_bytes=recorder.peak // n_crops,
        weight_bytes=4 * (total_params + sum(b.numel() for b in network.buffers())),
        method="meta" if any(p.is_meta for p in network.parameters()) else "tensors",
        uncounted=dict(recorder.uncounted),
        modules=_breakdown(core, prefix, recorder, scale),
    )


def core_of(network: nn.Module) -> nn.Module:
    """The network proper: wrappers that only hold one other module are taken off."""
    while True:
        children = [child for child in network.children() if not isinstance(child, nn.ModuleList | nn.ModuleDict)]
        if len(children) != 1 or len(list(network.children())) != 1 or any(network.parameters(recurse=False)):
            return network
        network = children[0]


def _prefix(network: nn.Module, core: nn.Module, recorder: _Recorder) -> str:
    """The tracker names modules from the outermost one that was called: the network, or its core directly."""
    path = next(name for name, module in network.named_modules() if module is core)
    outer = f"{type(network).__name__}.{path}" if path else type(network).__name__
    return outer if outer in recorder.by_module else type(core).__name__


def _breakdown(core: nn.Module, prefix: str, recorder: _Recorder, scale: float) -> list[ModuleCount]:
    """The core's parts that do arithmetic, in order of definition; repeated layers together as ``layers.*``."""
    macs: Counter[str] = Counter()
    params: Counter[str] = Counter()
    for name, module in core.named_modules():
        found = recorder.by_module.get(f"{prefix}.{name}", 0)
        if name and found:
            group = ".".join("*" if part.isdigit() else part for part in name.split("."))
            macs[group] += found
            params[group] += sum(p.numel() for p in module.parameters())
    # A group says nothing that its parent does not when it is all of it, or a list without a name of its own.
    shown = [
        name
        for name in macs
        if name.count(".") <= _DEEPEST
        and not name.endswith(".*")
        and macs[name] >= _LEAST_SHARE * recorder.total
        and macs.get(name.rpartition(".")[0]) != macs[name]
    ]
    least = sorted((macs[name] for name in shown), reverse=True)[:_BREAKDOWN][-1:] or [0]
    shown = [name for name in shown if macs[name] >= least[0]][:_BREAKDOWN]
    total = max(1, recorder.total)
    return [
        ModuleCount(name=name, params=params[name], macs=round(macs[name] / scale), share=macs[name] / total)
        for name in shown
    ]


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
