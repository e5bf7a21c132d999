"""How far two forms of one network drift apart (another precision, compiler or export), and what each pass costs.

One pass over the first images: both get the very same prepared tensors, all crops of an image in one call. After a call
each that is not timed and whose outputs are compared, they are timed in turn, A B B A, so that a slow moment of the
machine does not hit one of them alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.loader import load
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.threads import prepare_process
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.bootstrap import generator
from sapiens_bench.types import Model

N_DRAWS = 2000  # of the images, for the interval of the speed
FEWEST = 5  # images, for an interval

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class OutputDrift:
    """One raw output of the network, over all images of the pass."""

    name: str
    shape: tuple[int, ...]  # of one crop
    mean_size: float  # mean |A|: what the differences are to be held against
    mean_difference: float  # mean |B - A|
    max_difference: float
    at: str  # key of the image with the largest difference
    n_undefined: int  # values that are not finite on one side only; they are in no mean


@dataclass(frozen=True, slots=True)
class Drift:
    """Two forms over the first images."""

    model_a: str
    model_b: str
    device: str
    n_images: int
    n_crops: int
    outputs: tuple[OutputDrift, ...]
    ms_a: float  # of the forward pass, mean over images
    ms_b: float
    speedup: float  # time of A over time of B: above 1, B is faster
    low: float  # 95 %, bootstrap over images; NaN for fewer than ``FEWEST``
    high: float


@dataclass(slots=True)
class _Sums:
    """Of one output, as images come."""

    shape: tuple[int, ...]
    n: int = 0
    size: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    at: str = ""
    n_undefined: int = 0

    def add(self, a: NDArray[Any], b: NDArray[Any], key: str) -> None:
        a, b = a.astype(np.float64), b.astype(np.float64)
        sound = np.isfinite(a) & np.isfinite(b)
        self.n_undefined += int(np.count_nonzero(np.isfinite(a) != np.isfinite(b)))
        apart = np.abs(b[sound] - a[sound])
        self.n += apart.size
        self.size += float(np.abs(a[sound]).sum())
        self.difference += float(apart.sum())
        if apart.size and (not self.at or apart.max() > self.largest):
            self.largest, self.at = float(apart.max()), key


@dataclass(slots=True)
class _Pass:
    """What the pass has found so far."""

    sums: dict[str, _Sums] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)  # per image, of A and B
    n_crops: int = 0


def drift(plan_a: Plan, plan_b: Plan, model_a: str, model_b: str, dataset: str, n_images: int) -> Drift:
    """Compare the raw outputs of two rows on the first images of A's data set.

    Args:
        plan_a: holds the row ``model_a`` on ``dataset``; ``plan_b`` likewise, it may be the same.
        n_images: images with at least one crop; fewer where the data set has no more.

    Raises:
        UsageError: a row is not in its plan, the raw outputs have other names or shapes, or no image has a crop.
        DeviceError: a form cannot be computed here.
    """
    spec_a, spec_b = _cell(plan_a, model_a, dataset), _cell(plan_b, model_b, dataset)
    device = resolve_device(plan_a.how.device, "fp32")
    prepare_process(plan_a.how.threads)
    a, b = (_built(spec, plan, device) for spec, plan in ((spec_a, plan_a), (spec_b, plan_b)))
    found = _Pass()
    for key, arrays in _prepared(plan_a, spec_a, a, n_images):
        _one(found, key, arrays, (a, b), device)
    if not found.seconds:
        raise UsageError(f"None of the images of {dataset} gives {model_a} anything to compute.")
    ratio, low, high = _speedup(np.array(found.seconds))
    ms_a, ms_b = 1e3 * np.array(found.seconds).mean(axis=0)
    outputs = tuple(_output(name, sums) for name, sums in found.sums.items())
    n = len(found.seconds)
    return Drift(model_a, model_b, device, n, found.n_crops, outputs, float(ms_a), float(ms_b), ratio, low, high)


def _cell(plan: Plan, model: str, dataset: str) -> CellSpec:
    cells = [spec for spec in plan.cells if (spec.cell.model, spec.cell.dataset) == (model, dataset)]
    if cells:
        return cells[0]
    why = next((record.how for record in plan.unavailable if (record.model, record.dataset) == (model, dataset)), "")
    raise UsageError(f"{model} cannot be run on {dataset} here. {why}".strip())


def _built(spec: CellSpec, plan: Plan, device: str) -> Model:
    if spec.model.is_diagnostic or spec.model.is_results:
        raise UsageError(f"{spec.model.id} is no network: it has no raw outputs.")
    resolve_device(device, spec.model.precision)
    return build_model(spec.model, device, task=plan.opened(spec).open.task)


def _prepared(plan: Plan, spec: CellSpec, model: Model, n_images: int) -> Iterator[tuple[str, Arrays]]:
    """(key, tensors) of the first images that can be read and hold a crop."""
    adapter, n = plan.opened(spec).open.adapter, 0
    for index in range(spec.cell.n_samples):
        if n == n_images:
            return
        item = load(adapter, model.prepare, index)
        if item.fault is None and item.prepared is not None and item.n_crops:
            n += 1
            yield item.key, item.prepared.tensors


def _one(found: _Pass, key: str, arrays: Arrays, models: tuple[Model, Model], device: str) -> None:
    """One image: outputs compared, then the calls timed in turn."""
    import torch

    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    with torch.inference_mode():
        a, b = (_outputs(model, tensors) for model in models)
        _check_alike(a, b)
        for name in a:
            found.sums.setdefault(name, _Sums(a[name].shape[1:])).add(a[name], b[name], key)
        times: tuple[list[float], list[float]] = ([], [])
        for which in (0, 1, 1, 0):
            times[which].append(_timed(models[which], tensors, device))
    found.seconds.append((min(times[0]), min(times[1])))
    found.n_crops += len(next(iter(arrays.values())))


def _outputs(model: Model, tensors: Any) -> Arrays:
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in model.forward(tensors).items()}


def _check_alike(a: Arrays, b: Arrays) -> None:
    shapes = [", ".join(f"{name} {list(array.shape)}" for name, array in found.items()) for found in (a, b)]
    if shapes[0] != shapes[1]:
        raise UsageError(f"The raw outputs are not of one kind ({shapes[0]}; {shapes[1]}): nothing can be subtracted.")


def _timed(model: Model, tensors: Any, device: str) -> float:
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    model.forward(tensors)
    wait()
    return time.perf_counter() - began


def _speedup(seconds_N2: NDArray[np.float64]) -> tuple[float, float, float]:
    """Time of A over time of B, with the 95 % percentiles over draws of the images."""
    n = len(seconds_N2)
    total_a, total_b = seconds_N2.sum(axis=0)
    if n < FEWEST:
        return float(total_a / total_b), math.nan, math.nan
    drawn = generator("drift", 0).integers(0, n, size=(N_DRAWS, n))
    sums = seconds_N2[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return float(total_a / total_b), float(low), float(high)


def _output(name: str, sums: _Sums) -> OutputDrift:
    def mean(total: float) -> float:
        return total / sums.n if sums.n else math.nan

    largest = sums.largest if sums.n else math.nan
    return OutputDrift(name, sums.shape, mean(sums.size), mean(sums.difference), largest, sums.at, sums.n_undefined)
