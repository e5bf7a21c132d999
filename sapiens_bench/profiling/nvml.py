"""NVIDIA's management library through ctypes: clocks, temperature, power, energy. No package is needed.

Everything answers NaN, None or nothing where the library, the GPU or the counter is missing.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

# nvmlClocksEventReasons: bits of the throttle mask that mean slower than asked (idle and application clocks are not).
_REASONS = {
    0x4: "power cap", 0x8: "hardware slowdown", 0x20: "thermal (software)", 0x40: "thermal (hardware)",
    0x80: "power brake",
}  # fmt: skip
_SM, _MEMORY, _GPU_TEMPERATURE = 1, 2, 0


class Nvml:
    """One GPU. ``Nvml.open(index)`` gives None where there is no driver."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def open(cls, uuid: str) -> Nvml | None:
        """The GPU with this UUID; numbering differs between CUDA and the driver, UUIDs do not."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
            handle = ctypes.c_void_p()
            name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)):
                return None
        except (OSError, AttributeError):
            return None
        return cls(library, handle)

    def _ask(self, function: str, kind: type[ctypes.c_uint] | type[ctypes.c_ulonglong], *arguments: int) -> int | None:
        value = kind()
        try:
            call: Callable[..., int] = getattr(self._library, function)
        except AttributeError:  # an older driver
            return None
        failed = call(self._handle, *arguments, ctypes.byref(value))
        return None if failed else int(value.value)

    def energy_j(self) -> float | None:
        """Since the driver was loaded; from Volta on."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)
        return None if millijoules is None else millijoules / 1e3

    def facts(self) -> dict[str, float]:
        """MHz, degrees Celsius, watts."""
        asked = {
            "sm_mhz": self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint, _SM),
            "memory_mhz": self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint, _MEMORY),
            "temperature_c": self._ask("nvmlDeviceGetTemperature", ctypes.c_uint, _GPU_TEMPERATURE),
            "power_w": self._ask("nvmlDeviceGetPowerUsage", ctypes.c_uint),
        }
        if asked["power_w"] is not None:
            return {n: (v / 1e3 if n == "power_w" else float(v)) for n, v in asked.items() if v is not None}
        return {name: float(value) for name, value in asked.items() if value is not None}

    def throttle(self) -> tuple[str, ...]:
        """Why the clocks are lower than they could be; empty when they are not."""
        mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong) or 0
        return tuple(text for bit, text in _REASONS.items() if mask & bit)


def nan_or(value: float | None) -> float:
    """NaN for None."""
    return math.nan if value is None else value
