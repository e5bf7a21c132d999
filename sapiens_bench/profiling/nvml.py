"""What NVIDIA's driver tells of one GPU: clocks, temperature, power, energy.

Everything answers None or nothing where the driver, the GPU or the counter is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

# Bits of the mask that mean slower than asked; idle and application clocks are not.
_REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "thermal (software)",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "thermal (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}


class Nvml:
    """One GPU. ``Nvml.open(uuid)`` gives None where there is no driver."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @classmethod
    def open(cls, uuid: str) -> Nvml | None:
        """The GPU with this UUID; numbering differs between CUDA and the driver, UUIDs do not."""
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        try:
            pynvml.nvmlInit()
            return cls(pynvml.nvmlDeviceGetHandleByUUID(name.encode()))
        except pynvml.NVMLError:
            return None

    def _ask(self, question: Callable[..., int], *arguments: int) -> int | None:
        try:
            return int(question(self._handle, *arguments))
        except pynvml.NVMLError:  # an older driver, or a counter that this GPU does not have
            return None

    def energy_j(self) -> float | None:
        """Since the driver was loaded; from Volta on."""
        millijoules = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1e3

    def facts(self) -> dict[str, float]:
        """MHz, degrees Celsius, watts."""
        milliwatts = self._ask(pynvml.nvmlDeviceGetPowerUsage)
        asked = {
            "sm_mhz": self._ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
            "memory_mhz": self._ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
            "temperature_c": self._ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
            "power_w": None if milliwatts is None else milliwatts / 1e3,
        }
        return {name: float(value) for name, value in asked.items() if value is not None}

    def throttle(self) -> tuple[str, ...]:
        """Why the clocks are lower than they could be; empty when they are not."""
        mask = self._ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
        return tuple(text for bit, text in _REASONS.items() if mask & bit)
