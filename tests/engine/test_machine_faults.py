"""A shortage of this machine stops the run, whatever library met it first; it never becomes a row."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, PngImagePlugin

from sapiens_bench import workers
from sapiens_bench.engine.forward import Forward
from sapiens_bench.errors import (
    CheckpointRejected,
    DatasetRejected,
    MachineFault,
    SampleFault,
    StorageFull,
    machine_fault,
    out_of_memory,
)
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.pixels.dense_maps import Limits, read_depth_map
from sapiens_bench.pixels.files import read_regular
from sapiens_bench.store.record import read_run

PLACES = ["ToyAdapter.__getitem__", "ToyModel.prepare", "ToyModel.forward", "ToyModel.finish", "MeanError.measure"]


def onnx_error(text: str) -> Exception:
    """As onnxruntime's binding raises it: no RuntimeError, known by its module alone."""
    kind = type("RuntimeException", (Exception,), {"__module__": "onnxruntime.capi.onnxruntime_pybind11_state"})
    made: Exception = kind(text)
    return made


def by_opencv() -> Any:
    return cv2.resize(np.zeros((1, 1), np.uint8), (2_000_000, 2_000_000))


def by_torch() -> Any:
    return torch.empty(1 << 46)


def by_numpy() -> Any:
    return np.empty(1 << 50)


def by_cuda() -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def by_onnxruntime() -> Any:
    raise onnx_error("Failed to allocate memory for requested buffer of size 99")


def by_disk() -> Any:
    raise RuntimeError("decoder failed") from OSError(errno.ENOSPC, "No space left on device")


def by_pillow() -> Any:
    raise ImageFile._get_oserror(-9, encoder=False)


def by_reader() -> Any:
    try:
        by_torch()
    except RuntimeError as error:
        raise SampleFault("image.decode", str(error)) from None


STARVED = [by_opencv, by_torch, by_numpy, by_cuda, by_onnxruntime, by_disk, by_pillow, by_reader]


def raised(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is asked by the caller
        call()
    return caught.value


@pytest.mark.parametrize("starve", STARVED)
def test_a_shortage_is_known_in_every_library(starve: Callable[[], Any]) -> None:
    error = raised(starve)
    assert machine_fault(error) is not None
    assert out_of_memory(error) == (starve is not by_disk)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        onnx_error("bad allocation"),
        ExceptionGroup("two", [ValueError("x"), MemoryError()]),
        StorageFull("a cache cannot be written"),
        OSError(errno.ESTALE, "a server forgot the file"),
        OSError(errno.ETIMEDOUT, "a server does not answer"),
        OSError(errno.EFBIG, "a limit on the size of files"),
    ],
)
def test_other_words_for_a_shortage_are_known_too(error: Exception) -> None:
    assert machine_fault(error) is not None


@pytest.mark.parametrize(
    "error",
    [
        raised(lambda: cv2.resize(np.zeros((0, 0), np.uint8), (2, 2))),
        raised(lambda: torch.zeros(2) @ torch.zeros(3)),
        OSError(errno.ENOENT, "x"),
        raised(lambda: read_regular(Path(__file__), most=1)),
        ValueError("out of memory"),
        SampleFault("model.exception", "out of memory"),
        DatasetRejected("std::bad_alloc.json", ["not JSON"]),
        onnx_error("Invalid rank for input"),
    ],
)
def test_other_faults_are_not_blamed_on_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None


def test_the_code_of_a_later_opencv_error_says_nothing_of_an_earlier_one() -> None:
    shortage, other = raised(by_opencv), raised(lambda: cv2.resize(np.zeros((0, 0), np.uint8), (2, 2)))
    assert machine_fault(shortage) is shortage  # OpenCV keeps `code` on the class: both say -215 now
    assert machine_fault(other) is None


def test_what_was_being_handled_counts_beside_the_stated_cause() -> None:
    def fail() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("x") from KeyError("y")

    assert isinstance(machine_fault(raised(fail)), MemoryError)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return path


def test_memory_that_runs_out_in_a_decoder_is_no_fault_of_the_picture(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(self: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", starve)
    with pytest.raises(MemoryError):
        read_rgb(picture)


def test_file_handles_that_run_out_are_no_fault_of_the_picture(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many"):
        read_rgb(picture)


def test_memory_that_runs_out_while_unpacking_is_no_fault_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*args: Any) -> Any:
        raise RuntimeError("std::bad_alloc")

    np.savez(tmp_path / "depth.npz", depth=np.ones((2, 2), np.float32))
    monkeypatch.setattr("sapiens_bench.pixels.arrays._check_member", starve)
    with pytest.raises(RuntimeError, match="bad_alloc"):
        read_depth_map(tmp_path / "depth.npz", Limits())


@pytest.mark.parametrize("starve", [by_opencv, by_torch, by_cuda, by_disk, by_reader])
@pytest.mark.parametrize("place", PLACES)
def test_a_shortage_stops_the_run_and_the_command_resumes(
    starve: Callable[[], Any], place: str, toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"sapiens_bench.testing.toy.{place}", lambda *args, **more: starve())
        with pytest.raises(MachineFault) as caught:
            toy.go(tmp_path)
    assert caught.value.exit_code == 4
    assert read_run(tmp_path).status == "incomplete"
    assert not list((tmp_path / "rows").rglob("shard-*.parquet"))
    if starve is by_reader:  # once for each place
        assert toy.go(tmp_path).cells[0].counts.ok == 30


def test_a_shortage_while_a_miss_is_measured_is_not_blamed_on_the_label(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: Any, target: Any, prediction: Any) -> Any:
        if prediction is None:
            return by_opencv()
        raise ValueError("a metric broke")

    monkeypatch.setattr("sapiens_bench.testing.toy.MeanError.measure", measure)
    with pytest.raises(MachineFault, match="Insufficient memory"):
        toy.go(tmp_path)


def test_a_device_too_small_for_one_crop_stops_the_run(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(MachineFault, match="pretended"):
        toy.go(tmp_path, options={"most_crops": 0}, batch_size=8)
    assert not list((tmp_path / "rows").rglob("shard-*.parquet"))


def test_memory_of_the_cpu_halves_the_batch_as_that_of_a_gpu_does(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Forward._once
    monkeypatch.setattr(Forward, "_once", lambda self, arrays, n: by_torch() if n > 2 else once(self, arrays, n))
    record = toy.go(tmp_path, batch_size=8)
    assert record.cells[0].counts.ok == 30
    assert any("--batch-size 2" in note for note in record.notes)


def test_a_model_is_not_refused_when_memory_ran_out_while_it_was_loaded(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(self: Any, context: Any) -> None:
        try:
            by_torch()
        except RuntimeError as error:
            raise CheckpointRejected(f"damaged: {error}") from None

    monkeypatch.setattr("sapiens_bench.testing.toy.ToyModel.__init__", build)
    with pytest.raises(MachineFault, match="DefaultCPUAllocator"):
        toy.go(tmp_path)


@pytest.mark.parametrize(("starve", "kind"), [(by_reader, MemoryError), (by_cuda, MemoryError), (by_disk, OSError)])
def test_a_shortage_in_a_worker_process_keeps_its_kind(
    starve: Callable[[], Any], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "find", lambda function: lambda argument: starve())
    reply = workers.Reply(**json.loads(workers._answer("any:job", None)))
    assert isinstance(machine_fault(workers.error_of(reply)), kind)
