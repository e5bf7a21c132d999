"""Ceilings of devices and the time below which no implementation of a network can come.

floor = max(operations / rate, bytes / bandwidth). The bytes are those that must move at least once: weights, inputs and
outputs. Intermediate tensors are left out, because a perfect implementation would keep them on the chip; so the floor
is a true lower bound, and a network that reaches half of it is doing very well. Source: Williams et al., Roofline, CACM
2009.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

import yaml

from sapiens_bench.errors import CardError
from sapiens_bench.profiling.record import CeilingRecord, CountRecord, FloorRecord

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
HERE = "here"
_COPY_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}  # well beyond any cache
_MATMUL_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192, 16384)}


def known_ceilings() -> dict[str, CeilingRecord]:
    """Devices of the datasheet file, by short name.

    Raises:
        CardError: the file of this installation is damaged.
    """
    text = files("sapiens_bench.profiling").joinpath("ceilings.yaml").read_text(encoding="utf-8")
    found = {}
    try:
        for entry in yaml.safe_load(text):
            rates = {name: float(value) * 1e12 for name, value in entry["tflops"].items()}
            found[entry["device"]] = CeilingRecord(
                device=entry["title"], flops_per_s=rates, bytes_per_s=float(entry["gb_per_s"]) * 1e9,
                is_measured=False, source=entry["source"], note=entry.get("note", ""),
            )  # fmt: skip
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CardError(f"profiling/ceilings.yaml is damaged: {error}. Install the package again.") from None
    return found


def moved_bytes(counts: CountRecord, precision: str, batch: int) -> float:
    """Weights once, inputs and outputs of every crop."""
    weights = counts.weight_bytes * BYTES[precision] / 4
    return weights + batch * (counts.input_bytes + counts.output_bytes)


def floor(counts: CountRecord, precision: str, batch: int, ceiling: CeilingRecord) -> FloorRecord | None:
    """The least time of one batch; None where the device does not have the precision."""
    rate = ceiling.flops_per_s.get(precision)
    if not rate:
        return None
    compute = counts.flops_per_crop * batch / rate
    memory = moved_bytes(counts, precision, batch) / ceiling.bytes_per_s
    return FloorRecord(
        device=ceiling.device, seconds=max(compute, memory), bound="compute" if compute >= memory else "memory",
        is_measured=ceiling.is_measured,
    )  # fmt: skip


def floors(
    counts: CountRecord, precision: str, batch: int, ceilings: Mapping[str, CeilingRecord]
) -> dict[str, FloorRecord]:
    """Floors on every device that has the precision."""
    found = {name: floor(counts, precision, batch, ceiling) for name, ceiling in ceilings.items()}
    return {name: value for name, value in found.items() if value is not None}


def measure_ceiling(device: str, precision: str, seconds: float = 3.0) -> CeilingRecord:
    """What this device reaches in a large matrix product and in a large copy: the best of many tries.

    The best, not the median: a ceiling must not sink because another process had the machine for a while.
    """
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    kind = "cuda" if device.startswith("cuda") else "cpu"

    def wait() -> None:
        if kind == "cuda":
            torch.cuda.synchronize(torch.device(device))

    sizes = _MATMUL_SIZES[kind]
    rates = {}
    with torch.inference_mode():
        for n in sizes:
            a = torch.randn(n, n, device=device).to(dtype)
            b, out = a.t().contiguous(), torch.empty_like(a)
            rates[n] = 2 * n**3 / _fastest(partial(torch.mm, a, b, out=out), wait, seconds / len(sizes))
        source = torch.ones(_COPY_BYTES[kind] // 4, device=device)
        target = torch.empty_like(source)
        bandwidth = 2 * source.nbytes / _fastest(partial(target.copy_, source), wait, seconds / 2)
    best = max(rates, key=lambda n: rates[n])
    name = torch.cuda.get_device_name(torch.device(device)) if kind == "cuda" else "this CPU"
    threads = f", {torch.get_num_threads()} threads" if kind == "cpu" else ""
    return CeilingRecord(
        device=name,
        flops_per_s={precision: rates[best]},
        bytes_per_s=bandwidth,
        is_measured=True,
        source=f"matrix product of {best} x {best}, copy of {_COPY_BYTES[kind] >> 20} MiB (read and written){threads}",
    )


def _fastest(call: Callable[[], Any], wait: Callable[[], None], seconds: float) -> float:
    call()
    wait()
    best, end = float("inf"), time.perf_counter() + seconds
    n = 0
    while n < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        wait()
        best = min(best, time.perf_counter() - begin)
        n += 1
    return best
