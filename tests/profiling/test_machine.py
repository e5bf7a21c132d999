"""What is read of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from sapiens_bench.engine.device import cpu_facts, cpu_has_bf16
from sapiens_bench.profiling import machine
from sapiens_bench.profiling.nvml import Nvml

CPU = """processor\t: 0
model name\t: First Processor @ 2.0GHz
flags\t\t: fpu avx2 amx_bf16

processor\t: 1
model name\t: Second
flags\t\t: fpu
"""


def test_memory_of_this_process_is_what_the_system_says() -> None:
    assert machine.rss_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert machine.peak_rss_bytes() >= machine.rss_bytes() * 0.95 > 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux counts")
def test_the_peak_of_a_child_does_not_begin_with_its_parents() -> None:
    ballast = b"x" * 300_000_000
    code = "from sapiens_bench.profiling import machine; print(machine.peak_rss_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < len(ballast) < machine.peak_rss_bytes()


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_rooms", lambda: iter(()))
    assert (machine.available_bytes("cpu") or 0) > 1e8
    monkeypatch.setattr(machine, "memory_rooms", lambda: iter((600, 10**15)))
    assert machine.available_bytes("cpu") == 600


def test_the_state_holds_what_can_be_read_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = {"coretemp": [SimpleNamespace(current=51.0), SimpleNamespace(current=64.0)],
               "nvme": [SimpleNamespace(current=80.0)]}  # fmt: skip
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (1.5, 0.5, 0.25))
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [SimpleNamespace(current=c) for c in (1000.0, 3000.0)])
    found = machine.state(None)
    assert (found.temperature_c, found.cpu_mhz, found.load_1min) == (64.0, 2000.0, 1.5)
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"nvme": sensors["nvme"]})
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [])
    found = machine.state(None)
    assert found.temperature_c != found.temperature_c  # NaN: not told
    assert found.cpu_mhz != found.cpu_mhz


def test_the_first_processor_speaks_for_all(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPU)
    assert cpu_facts(path)["model name"] == "First Processor @ 2.0GHz"
    assert cpu_has_bf16(path)
    path.write_text(CPU.replace(" amx_bf16", ""))
    assert not cpu_has_bf16(path)
    path.write_text("Features\t: fp asimd bf16\n")
    assert cpu_has_bf16(path)
    assert cpu_facts(tmp_path / "absent") == {}


class FakeDriver:
    """Answers like the driver of one GPU, in its units."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...] = ()) -> None:
        answers = {
            "nvmlInit": None,
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetTotalEnergyConsumption": 12_500,
            "nvmlDeviceGetPowerUsage": 250_000,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4 | 0x1 | 0x40,
        }
        self.asked: list[tuple[object, ...]] = []
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, self._answering(name, answer, name in missing))

    def _answering(self, name: str, answer: object, missing: bool) -> object:
        def call(*arguments: object) -> object:
            self.asked.append((name, *arguments))
            if missing:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return answer

        return call


def test_a_gpu_is_asked_by_uuid_and_answers_in_our_units(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(monkeypatch)
    gpu = Nvml.open("1234-abcd")
    assert gpu is not None
    assert ("nvmlDeviceGetHandleByUUID", b"GPU-1234-abcd") in driver.asked
    assert gpu.energy_j() == 12.5
    assert gpu.facts() == {"sm_mhz": 1980.0, "memory_mhz": 1980.0, "temperature_c": 41.0, "power_w": 250.0}
    assert gpu.throttle() == ("power cap", "thermal (hardware)")


def test_what_a_gpu_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDriver(monkeypatch, ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption",
                             "nvmlDeviceGetCurrentClocksThrottleReasons"))  # fmt: skip
    gpu = Nvml.open("MIG-1")
    assert gpu is not None
    assert set(gpu.facts()) == {"sm_mhz", "memory_mhz", "temperature_c"}
    assert (gpu.energy_j(), gpu.throttle()) == (None, ())


def test_without_a_driver_or_the_gpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("nvmlInit", "nvmlDeviceGetHandleByUUID"):
        FakeDriver(monkeypatch, (missing,))
        assert Nvml.open("1234") is None
