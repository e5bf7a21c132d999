"""Other ways to compute the forward pass of a torch model: compiled, channels-last, or by ONNX Runtime on an export.

What is exported is the whole of ``model.forward``, decoding included, with any number of crops. Each is made, and run
once on a synthetic picture, when the model is built: what a compiler or exporter cannot do is refused before any image
is read, so that no image is charged with it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.errors import DeviceError, raise_if_machine
from sapiens_bench.models.parts.onnx_session import open_onnx
from sapiens_bench.profiling.subject import modules_of, sample_input, tune, whole_image
from sapiens_bench.types import Model, ModelInput, Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sapiens_bench.cards.entries import Backend

_CROPS = 3  # of the trial; axes of one or two may be taken for constants


def on_backend(model: Model, backend: Backend, name: str, device: str, is_whole_image: bool) -> Model:
    """The model with its forward pass on that backend; the same object for ``torch`` and ``channels_last``.

    Args:
        name: of the row, for messages.
        is_whole_image: the task's models are given one box around the whole picture.

    Raises:
        DeviceError: there is no torch network inside, or it cannot be compiled or exported here; says why.
    """
    modules = modules_of(model)
    if not modules:
        raise DeviceError(f"{name}: there is no torch network inside this model, so its backend is its own.")
    if backend == "torch":
        return model
    if backend == "onnx" and find_spec("onnxscript") is None:
        raise DeviceError(f"{name}: exporting needs onnxscript. pip install 'sapiens-vision-bench[onnx]'")
    try:
        with _quiet():
            tensors = _trial(model, device, is_whole_image)
            if backend == "onnx":
                return _Exported(model, modules, tensors)
            tune(model, compiled=backend == "compile", channels_last=backend == "channels_last")
            with torch.inference_mode():
                model.forward(tensors)
            return _Compiled(model) if backend == "compile" else model
    except Exception as error:  # compilers and exporters fail in any way
        raise_if_machine(error)
        raise DeviceError(f"{name}: {_TOLD[backend]} ({_root(error)}).") from error


_TOLD = {
    "compile": "torch.compile does not work for it here",
    "channels_last": "it cannot be computed with channels-last weights here",
    "onnx": "it cannot be exported to ONNX",
}


class _OnBackend:
    """A model whose ``forward`` is another one. Threads share one call: neither backend gains from several."""

    is_reentrant = False

    def __init__(self, model: Model) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name == "_model":
            raise AttributeError(name)
        return getattr(self._model, name)

    def prepare(self, x: ModelInput) -> Prepared:
        return self._model.prepare(x)

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any:
        return self._model.finish(outputs, geometry)


class _Compiled(_OnBackend):
    """The networks inside are compiled in place."""

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._model.forward(tensors)


class _Exported(_OnBackend):
    """Calls ONNX Runtime on the export of ``model.forward``."""

    def __init__(self, model: Model, modules: Sequence[nn.Module], tensors: dict[str, Tensor]) -> None:
        super().__init__(model)
        device = str(next(iter(tensors.values())).device)
        with tempfile.TemporaryDirectory(prefix="sapiens-bench-onnx-") as folder:
            path = Path(folder) / "model.onnx"
            self._names = _export(model, modules, tensors, path)
            self._session, _ = open_onnx(path, device)
        self.notes: tuple[str, ...] = tuple(getattr(model, "notes", ()))
        if device.startswith("cuda") and self._session.get_providers()[0] != "CUDAExecutionProvider":
            self.notes = (*self.notes, "This ONNX Runtime knows no CUDA: the ONNX export was computed on the CPU.")
        self.forward(tensors)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        feeds = {node.name: tensors[node.name].cpu().numpy() for node in self._session.get_inputs()}
        found = self._session.run(self._names, feeds)
        device = next(iter(tensors.values())).device
        return {name: torch.from_numpy(np.asarray(array)).to(device) for name, array in zip(self._names, found)}


class _Forward(nn.Module):
    """``model.forward`` as a module that owns the model's networks, as exporters want it."""

    def __init__(self, model: Model, modules: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(modules)
        self._call, self._names = model.forward, tuple(names)

    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        return list(self._call(dict(zip(self._names, tensors, strict=True))).values())


def _export(model: Model, modules: Sequence[nn.Module], tensors: dict[str, Tensor], path: Path) -> list[str]:
    """Write the export; returns the names of its outputs."""
    with torch.inference_mode():
        outputs = list(model.forward(tensors))
    axes = [{0: torch.export.Dim.DYNAMIC} for _ in tensors]
    with torch.no_grad():
        program = torch.onnx.export(
            _Forward(model, modules, list(tensors)).eval(),
            (list(tensors.values()),),
            input_names=list(tensors),
            output_names=outputs,
            dynamic_shapes=(axes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # without a file name the exporter answers with the program
    program.save(str(path))
    return outputs


def _trial(model: Model, device: str, is_whole_image: bool) -> dict[str, Tensor]:
    """What ``prepare`` makes of a synthetic picture with one person box, ``_CROPS`` times."""
    x = sample_input()
    arrays = model.prepare(whole_image(x) if is_whole_image else x).tensors
    return {name: torch.from_numpy(np.concatenate([a[:1]] * _CROPS)).to(device) for name, a in arrays.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters and compilers warn at length about their own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _root(error: BaseException) -> str:
    """The innermost reason in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
