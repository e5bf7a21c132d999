"""The machine around a measurement: state, energy counters, memory that is there. Only reads."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sapiens_bench.cgroups import memory_rooms
from sapiens_bench.profiling.nvml import Nvml
from sapiens_bench.profiling.record import EnergyRecord, MachineState

if TYPE_CHECKING:
    from collections.abc import Callable

_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
_RAPL = Path("/sys/class/powercap")


def gpu_of(device: str) -> Nvml | None:
    """The driver's view of a torch device; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return Nvml.open(str(torch.cuda.get_device_properties(torch.device(device)).uuid))


def state(gpu: Nvml | None) -> MachineState:
    """Clocks, temperature, load, now."""
    facts = gpu.facts() if gpu else {}
    facts |= {name: value for name, value in (("cpu_mhz", _cpu_mhz()), ("load_1min", _load())) if value is not None}
    if gpu is None and (degrees := _cpu_temperature()) is not None:
        facts["temperature_c"] = degrees
    return MachineState(**facts, throttle=gpu.throttle() if gpu else ())


def _load() -> float | None:
    try:
        return float(psutil.getloadavg()[0])
    except OSError:
        return None


def _cpu_mhz() -> float | None:
    """Mean over the cores, now."""
    try:
        found = [core.current for core in psutil.cpu_freq(percpu=True) or ()]
    except (OSError, NotImplementedError, RuntimeError):  # machines without a clock that can be read
        return None
    return sum(found) / len(found) if found else None


def _cpu_temperature() -> float | None:
    """The hottest sensor of the processor; drives and network cards have sensors too, which do not count."""
    if not hasattr(psutil, "sensors_temperatures"):  # Linux and FreeBSD alone
        return None
    sensors = psutil.sensors_temperatures()
    found = [sensor.current for chip in _CPU_CHIPS for sensor in sensors.get(chip, ())]
    return max(found) if found else None


class EnergyMeter:
    """Joules between ``start`` and ``stop``: NVML's counter on a GPU, the CPU package counters (RAPL) otherwise.

    RAPL is what codecarbon reads on Linux too; it is often readable by root only. No counter: ``stop`` gives None.
    RAPL counts the whole package, so other processes of the machine are in it.
    """

    def __init__(self, gpu: Nvml | None) -> None:
        self.source = "nvml" if gpu else "rapl"
        self._read: Callable[[], float | None] = gpu.energy_j if gpu else _rapl_joules
        self._joules: float | None = None
        self._began = 0.0

    def start(self) -> None:
        self._joules, self._began = self._read(), time.perf_counter()

    def stop(self, n_crops: int) -> EnergyRecord | None:
        """None where no counter can be read, or a counter wrapped around meanwhile."""
        spent, now = time.perf_counter() - self._began, self._read()
        if self._joules is None or now is None or now <= self._joules:
            return None
        joules = now - self._joules
        return EnergyRecord(source=self.source, joules_per_crop=joules / n_crops, mean_power_w=joules / spent)


def _rapl_joules() -> float | None:
    total = 0.0
    found = False
    for package in _RAPL.glob("intel-rapl:?"):  # packages only; their sub-domains are part of them
        try:
            total += int((package / "energy_uj").read_text()) / 1e6
            found = True
        except (OSError, ValueError):
            continue
    return total if found else None


def available_bytes(device: str) -> int | None:
    """Memory that a new process could use on a device: of the machine, and of the container it is in."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return min([int(psutil.virtual_memory().available), *memory_rooms()])


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def peak_rss_bytes() -> int:
    """The largest resident memory of this process so far.

    Linux alone is asked for its own figure: ``ru_maxrss`` of a process that was started by another begins with what the
    other one had, and psutil has no peak there.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        found = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if found is not None:
            return int(found.split()[1]) * 1024
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return int(info.peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
