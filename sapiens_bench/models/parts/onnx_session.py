"""ONNX files run by ONNX Runtime: opened, compared with the card, fed in their own number format and batch size.

An ONNX file is data, not code, but a ``Loop`` in it need not end, so files that have one run against the clock.
Axes: B images, H x W network input.
"""

from __future__ import annotations

import mmap
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.errors import CheckpointRejected, DeviceError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import ForeignArchive, NoTorchFormat, sniff

MAX_THREADS = 4  # more do not help crops of this size, and several runs may share a machine
LOOP_LIMIT_S = 60.0  # for one image, of files with a Loop
LOOP = b"\x22\x04Loop"  # NodeProto.op_type: no file has such an operation without these bytes
DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
NUMBERS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
Layout = Literal["NCHW", "NHWC"]
Shapes = dict[str, tuple[int, ...]]


class Opened(NamedTuple):
    """A session, and the seconds that one image may take; None: as long as it likes."""

    session: Any
    limit_s: float | None


def open_onnx(path: Path, device: str) -> Opened:
    """An inference session; on the GPU when the device is one and this ONNX Runtime can, else on the CPU.

    Raises:
        CheckpointRejected: not an ONNX file; says what it looks like.
    """
    import onnxruntime

    _refuse_others(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, min(MAX_THREADS, torch.get_num_threads(), os.cpu_count() or 1))
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and told in our words
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        raise CheckpointRejected(
            f"{path} is no ONNX file that can be run, or a damaged one ({_reason(error)}). Fetch or export it again."
        ) from None
    return Opened(session, LOOP_LIMIT_S if may_loop(path) else None)


def may_loop(path: Path) -> bool:
    """Whether the graph could hold a Loop; the same bytes among its weights only start a clock for nothing."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(LOOP) >= 0


def _refuse_others(path: Path) -> None:
    """An ONNX file has no signature; files that do have one are named for what they are.

    Raises:
        CheckpointRejected: empty, a web page, a Git LFS pointer, or weights in a torch format.
    """
    try:
        kind = sniff(path)
    except NoTorchFormat:
        return  # for ONNX Runtime to judge
    except ForeignArchive:
        raise CheckpointRejected(
            f"{path} is a zip archive. Unzip it and give the end2end.onnx that lies inside."
        ) from None
    raise CheckpointRejected(f"{path} is a {kind} file, but this card needs ONNX. Export the network to ONNX first.")


_SOURCE = re.compile(r"/\S+\.(?:cc|cpp|h|hpp):\d+ .*?\) (?=\S)")  # file, line and signature of a C++ function


class OnnxNetwork:
    """A file with one picture as input, as a function of pictures.

    Args:
        input_hw: the card's input size.
        layout: order of the input's axes.
        numbers: values of the further inputs, each of which takes one number.

    Attributes:
        takes_bytes: the file takes 8-bit pictures, so it normalises them itself.
        outputs: every output with the shape it has for one picture, by a run on a black one.
        batch: pictures per call, where the file fixes it; None: any number.
        notes: what a user should know about how it runs.

    Raises:
        CheckpointRejected: no ONNX file, or one whose input is not what the card says, or that cannot be run.
        DeviceError: another precision than the file's own was asked for.
    """

    def __init__(
        self,
        context: ModelContext,
        path: Path,
        input_hw: tuple[int, int],
        layout: Layout = "NCHW",
        numbers: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.name, self.path, self.layout = context.variant.id, path, layout
        if context.precision != "fp32":
            raise DeviceError(f"{self.name}: an ONNX file computes in its own precision. Run it with --precision fp32.")
        self.session, self.limit_s = open_onnx(path, context.device)
        self.notes: list[str] = []
        self._numbers = self._checked_numbers(numbers)
        self.input_name, self.dtype, self.batch = self._checked_input(input_hw)
        self.takes_bytes = self.dtype is np.uint8
        self._names = [str(output.name) for output in self.session.get_outputs()]
        black = torch.zeros(1, 3, *input_hw)
        self.outputs: Shapes = dict(zip(self._names, (tuple(o.shape) for o in self(black, self._names)), strict=True))

    def _checked_numbers(self, numbers: Mapping[str, float]) -> dict[str, NDArray[Any]]:
        """The further inputs, as arrays of the file's own format and shape.

        Raises:
            CheckpointRejected: the file has no such input, or one that takes more than a number.
        """
        inputs = {str(i.name): i for i in self.session.get_inputs()}
        found: dict[str, NDArray[Any]] = {}
        for name, value in numbers.items():
            given = inputs.get(name)
            if given is None or given.type not in NUMBERS or list(given.shape) not in ([], [1]):
                takes = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs.values())
                raise CheckpointRejected(
                    f"{self.path} has no input {name!r} that takes one number, as the card of {self.name} says; it "
                    f"takes {takes}."
                )
            found[name] = np.full(given.shape, value, NUMBERS[given.type])
        return found

    def _checked_input(self, input_hw: tuple[int, int]) -> tuple[str, type[np.generic], int | None]:
        inputs = [i for i in self.session.get_inputs() if i.name not in self._numbers]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in DTYPES:
            found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
            raise CheckpointRejected(
                f"{self.path} takes {found or 'no input'}. One picture [batch, 3, H, W] (or [batch, H, W, 3]) is "
                f"expected, as {', '.join(kind[7:-1] for kind in DTYPES)}."
            )
        height, width = input_hw
        wanted = (3, height, width) if self.layout == "NCHW" else (height, width, 3)
        batch, *shape = inputs[0].shape
        if any(isinstance(s, int) and s != w for s, w in zip(shape, wanted, strict=True)):
            raise CheckpointRejected(
                f"{self.path} takes {shape}, the card of {self.name} says {list(wanted)} ({self.layout}). "
                "It is the file of another variant, or the card is wrong."
            )
        fixed = batch if isinstance(batch, int) and batch > 0 else None
        if fixed is not None:
            self.notes.append(_one_by_one(fixed))
        return str(inputs[0].name), DTYPES[inputs[0].type], fixed

    def __call__(self, image: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Network input [B, 3, H, W] -> the outputs asked for, float32, on the input's device.

        Raises:
            CheckpointRejected: the file cannot be run.
        """
        ordered = image if self.layout == "NCHW" else image.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(ordered.float().cpu().numpy().astype(self.dtype, copy=False))
        if self.batch is None:
            found = self._whole(array, names)
        else:
            found = self._in_parts(array, names, self.batch)
        return tuple(torch.from_numpy(out).to(image.device) for out in found)

    def _whole(self, array: NDArray[Any], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """All pictures in one call; a file whose batch size is free by name alone is found out here."""
        try:
            found = self._run(array, names)
            if len(array) == 1 or all(out.ndim and len(out) == len(array) for out in found):
                return found
        except CheckpointRejected:
            if len(array) == 1:
                raise
        found = self._in_parts(array, names, 1)
        self.batch = 1
        self.notes.append(_one_by_one(1))
        return found

    def _in_parts(self, array: NDArray[Any], names: Sequence[str], size: int) -> list[NDArray[np.float32]]:
        """``size`` pictures a call; the last part is filled up with copies of its first picture."""
        parts = []
        for start in range(0, len(array), size):
            part = array[start : start + size]
            given = len(part)
            if given < size:
                part = np.concatenate([part, np.repeat(part[:1], size - given, axis=0)])
            parts.append([out[:given] if out.ndim else out[None] for out in self._run(part, names)])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _run(self, array: NDArray[Any], names: Sequence[str]) -> list[NDArray[np.float32]]:
        feeds = {self.input_name: array, **self._numbers}
        try:
            if self.limit_s is None:
                found = self.session.run(list(names), feeds)
            else:
                with _clock(self.limit_s * len(array)) as options:
                    found = self.session.run(list(names), feeds, options)
            return [np.asarray(out, np.float32) for out in found]
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            if "terminate flag" in str(error):
                reason = f"its Loop does not end within {self.limit_s:g} s an image"
            else:
                reason = _reason(error)
            raise CheckpointRejected(f"{self.path} cannot be run ({reason}).") from None


@contextmanager
def _clock(seconds: float) -> Iterator[Any]:
    """Options of a run that is stopped when its time is over."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # being stopped is logged as an error; it is told in our words
    timer = threading.Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


def _one_by_one(size: int) -> str:
    images = "one image" if size == 1 else f"{size} images"
    return f"The ONNX file takes {images} at a time, whatever the batch size."


def _reason(error: Exception) -> str:
    """The first line of a message without the place in ONNX Runtime's sources, behind which the cause stands."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return _SOURCE.sub("", text)[:200]


def shown(shapes: Shapes) -> str:
    """Outputs in words: ``simcc_x [1, 17, 384], simcc_y [1, 17, 512]``."""
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
