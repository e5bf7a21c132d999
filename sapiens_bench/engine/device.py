"""Which device a run uses, and whether it can compute in the precision asked for."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Literal

from sapiens_bench.errors import DeviceError, UnknownName

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS = ("fp32", "bf16", "fp16")
CPUINFO = Path("/proc/cpuinfo")
_NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "avx10_2"})


def check_device_name(name: str) -> None:
    """Is it a name that a device could have? Loads nothing.

    Raises:
        DeviceError: no.
    """
    if not re.fullmatch(r"auto|cpu|mps|meta|cuda(:\d+)?", name):
        raise DeviceError(f"Device {name!r} is not known. Use auto, cpu, cuda, cuda:<number> or mps.")


def resolve_device(name: str, precision: str = "fp32") -> str:
    """``auto`` -> ``cuda`` where there is a GPU, else ``cpu``; any other name is checked and returned.

    Raises:
        DeviceError: no such device here, or it cannot compute in ``precision`` at a sensible speed.
        UnknownName: no such precision.
    """
    import torch

    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    check_device_name(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        _check_cuda(name, precision)
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("Device 'mps' is not available on this machine. Use --device cpu.")
    if name == "cpu":
        _check_cpu(precision)
    return name


def _check_cuda(name: str, precision: str) -> None:
    import torch

    if not torch.cuda.is_available():
        built = "this torch was built without CUDA" if torch.version.cuda is None else "no usable GPU or driver found"
        raise DeviceError(f"Device {name!r} is not available: {built} (torch {torch.__version__}). Use --device cpu.")
    number = int(name.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise DeviceError(f"Device {name!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s).")
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise DeviceError(f"{torch.cuda.get_device_name(number)} has no bf16. Use --precision fp16 or fp32.")


def _check_cpu(precision: str) -> None:
    if precision == "fp16":
        raise DeviceError("fp16 is not supported on the CPU. Use --precision fp32, or a GPU.")
    if precision == "bf16" and not cpu_has_bf16():
        raise DeviceError(
            "This CPU has no bf16 instructions; emulating them is some 250 times slower than fp32. "
            "Use --precision fp32, or a GPU."
        )


def cpu_has_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bf16 natively; False where the system does not tell."""
    facts = cpu_facts(cpuinfo)
    return bool(_NATIVE_BF16 & set((facts.get("flags") or facts.get("features", "")).split()))


def cpu_facts(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux says of the first processor, by lower-case name; empty elsewhere. psutil knows neither its model nor
    its instruction sets, and packages that do start other programs to find out.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in lines]
    return {name.strip().lower(): value.strip() for name, _, value in reversed(pairs) if value}


def default_batch_size(device: str) -> int:
    """Crops per forward pass when the user says nothing."""
    return 8 if device == "cpu" else 32


def use_full_fp32(device: str) -> str:
    """The device, on which fp32 is from now on computed as fp32: left alone, torch lets convolutions on a CUDA device
    round to TF32 (10 bits).
    """
    if device.startswith("cuda"):
        import torch

        with warnings.catch_warnings():  # some versions of torch announce another way, which older ones do not have
            warnings.simplefilter("ignore")
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return device
