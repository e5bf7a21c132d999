"""profile.json: what was asked, on what machine, and what each model costs. Read and written without torch.

Units: counts are plain numbers per crop (one network input), times in seconds, memory in bytes, energy in joules.
``flops`` are two per multiply-accumulate (MAC), attention products included.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from sapiens_bench.errors import StoreError
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.record import Number, Record

FILE = "profile.json"
RowStatus = Literal["done", "counted", "refused", "failed", "unavailable"]


class ModuleCount(Record):
    """One module of the breakdown."""

    name: str
    params: int
    macs: int
    share: float  # of macs_total


class CountRecord(Record):
    """What one crop costs, whatever the machine."""

    params_total: int
    params_encoder: int | None = None  # None: the network has no module that is known as its encoder
    params_head: int | None = None
    macs_linear: int  # linear and convolution layers, in one pass of the network
    macs_total: int  # attention and other matrix products included, one pass
    macs_encoder: int | None = None
    macs_head: int | None = None
    passes: float = 1.0  # how often one crop goes through the network (flip test: 2; BlazePose: 2)
    activations: int = 0  # elements written by linear, convolution and attention operations, one pass
    input_bytes: int = 0  # of one crop, as given to the device
    output_bytes: int = 0  # of one crop, as it comes back
    peak_activation_bytes: int = 0  # largest sum of live intermediate tensors in fp32, one crop, weights excluded
    weight_bytes: int = 0  # of all parameters and buffers in fp32
    method: str = "meta"  # meta: no memory behind the weights; tensors: on real tensors; onnx: from the ONNX graph
    input_hw: tuple[int, int] | None = None
    uncounted: dict[str, int] = {}  # operations that do arithmetic of a kind not counted, with how often they occur
    modules: list[ModuleCount] = []

    @property
    def flops(self) -> int:
        """Operations of one pass."""
        return 2 * self.macs_total

    @property
    def flops_per_crop(self) -> float:
        """Operations that one crop really costs, all passes together."""
        return self.flops * self.passes


class PaperRecord(Record):
    """The encoder in the convention of Sapiens, Table 2: 1024 x 1024, attention products left out."""

    size: str
    params_b: float  # the whole masked autoencoder, decoder included
    tflops: float  # MACs of linear and convolution layers and 5 per normalised value
    printed_params_b: Number = math.nan
    printed_tflops: Number = math.nan
    true_macs_t: float = math.nan  # at the same input, attention included
    true_tflops: float = math.nan  # two per MAC


class Spread(Record):
    """A distribution of times in seconds."""

    n: int
    p50: float
    p90: float
    p99: float
    mean: float
    iqr: float  # p75 - p25
    minimum: float

    @property
    def noise(self) -> float:
        """Interquartile range over the median: how noisy the machine was."""
        return self.iqr / self.p50 if self.p50 > 0 else math.nan


class StageRecord(Record):
    """Where the time of one image goes; medians per batch of the row, in seconds."""

    load_s: float  # building the model: reading weights, verification, transfer to the device
    prepare: Spread  # CPU, per image
    upload: Spread | None = None  # host to device, per batch; None on a CPU
    forward: Spread  # per batch
    download: Spread  # device to host, per batch
    finish: Spread  # CPU, per image


class LatencyRecord(Record):
    """``model.forward`` in steady state, and how it got there."""

    clock: str  # "cuda events" or "perf_counter"
    first_call_s: float  # the very first call: lazy initialisation, autotuning
    compile_s: Number = math.nan  # first compiled call beyond the steady state; NaN when not compiled
    n_warmup: int
    warmup_s: float
    is_stable: bool  # False: medians still drifted when the warm-up budget was spent
    drift: Number  # relative change between the last two warm-up windows; NaN when there was only one
    measured_s: float
    throughput_per_s: float  # crops per second, back to back
    host_p50: Number = math.nan  # GPU: wall time of a synchronised call, launch included
    stages: StageRecord


class MemoryRecord(Record):
    predicted_bytes: int  # before the model was built
    available_bytes: int | None = None  # of the device, at that moment
    peak_rss_bytes: int = 0  # of the child process
    base_rss_bytes: int = 0  # after importing torch, before the model
    peak_allocated_bytes: int | None = None  # GPU, by torch's allocator, during the timed calls
    peak_reserved_bytes: int | None = None


class MachineState(Record):
    """What the driver tells, at one moment. Absent values are NaN or empty."""

    sm_mhz: Number = math.nan
    memory_mhz: Number = math.nan
    temperature_c: Number = math.nan
    power_w: Number = math.nan
    throttle: tuple[str, ...] = ()
    cpu_mhz: Number = math.nan
    load_1min: Number = math.nan  # runnable processes of the whole machine


class EnergyRecord(Record):
    source: str  # "nvml", "rapl" or "codecarbon"
    joules_per_crop: float
    mean_power_w: float


class CeilingRecord(Record):
    """How fast a device can be."""

    device: str
    flops_per_s: dict[str, float]  # precision -> rate; only what the device supports
    bytes_per_s: float
    is_measured: bool
    source: str  # datasheet with address, or how it was measured
    note: str = ""


class FloorRecord(Record):
    """No implementation of this network can be faster on that device."""

    device: str
    seconds: float  # per batch of the row
    bound: Literal["compute", "memory"]
    is_measured: bool  # of the ceiling; the floor itself is always predicted


class ProfileRow(Record):
    """One model, precision and batch size."""

    model: str  # variant id, with "/encoder" where only that part was profiled
    title: str
    family: str = ""
    task: str
    kind: str = "network"
    status: RowStatus
    how: str = ""  # why there is no number, and what to do
    precision: str = "fp32"
    device: str = ""
    batch: int = 1
    batch_asked: int = 1  # larger than ``batch`` when memory ran out
    is_compiled: bool = False
    is_channels_last: bool = False
    weights: str = ""  # "card", or "random": timing does not depend on the values
    counts: CountRecord | None = None
    paper: PaperRecord | None = None
    latency: LatencyRecord | None = None
    memory: MemoryRecord | None = None
    energy: EnergyRecord | None = None
    before: MachineState | None = None
    after: MachineState | None = None
    floors: dict[str, FloorRecord] = {}  # "here" and the devices of ceilings.yaml
    percent_of_limit: Number = math.nan  # floor here over measured median, x 100
    notes: list[str] = []


class ProfileRecord(Record):
    schema_: Literal["profile/1"] = Field(default="profile/1", alias="schema")
    command: str = ""
    version: str = ""
    started: str = ""
    finished: str = ""
    git: dict[str, Any] = {}
    packages: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    request: dict[str, Any] = {}
    ceilings: dict[str, CeilingRecord] = {}
    rows: list[ProfileRow] = []
    notes: list[str] = []

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def write_profile(folder: Path, record: ProfileRecord) -> Path:
    """Write ``profile.json`` into the folder, by rename; returns its path."""
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False, ensure_ascii=False)
    return write_atomic(folder / FILE, text.encode() + b"\n")


def read_profile(path: Path) -> ProfileRecord:
    """The record of a profile folder (or of a path to its profile.json).

    Raises:
        StoreError: not there, or not one of ours.
    """
    path = path if path.suffix == ".json" else path / FILE
    try:
        return ProfileRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist. Give the folder that `sapiens-bench profile` printed.") from None
    except (OSError, ValueError) as error:
        first = " ".join(str(error).splitlines()[:3])
        raise StoreError(f"{path} is not a profile of this version: {first}") from None
