"""run.json: what was asked, on what machine, and what came out. Written by rename; only the driver writes it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from sapiens_bench.errors import StoreError
from sapiens_bench.store.files import write_atomic

SCHEMA = "run/1"

# JSON has no NaN: an undefined number is written as null and read back as NaN.
Number = Annotated[
    float,
    BeforeValidator(lambda v: math.nan if v is None else v),
    PlainSerializer(lambda v: None if not math.isfinite(v) else v, return_type=float | None, when_used="json"),
]
RunStatus = Literal["running", "done", "failed", "interrupted", "incomplete"]
CellStatus = Literal["planned", "done", "incomplete", "weights missing", "data missing", "refused"]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoreRecord(Record):
    """One score with its interval; facts repeated from ScoreInfo so that a report needs no task code."""

    value: Number
    low: Number = math.nan
    high: Number = math.nan
    level: float = 0.95
    n_groups: int = 0
    title: str
    unit: str = ""
    percent: bool = False
    decimals: int = 3
    higher_is_better: bool = True
    headline: bool = False


class Counts(Record):
    planned: int = 0
    ok: int = 0
    input_errors: int = 0  # excluded for every model of the data set
    prediction_errors: int = 0  # counted as misses

    @property
    def done(self) -> int:
        """Rows on disk."""
        return self.ok + self.input_errors + self.prediction_errors


class ErrorExample(Record):
    key: str
    code: str
    detail: str
    side: str


class Timing(Record):
    """Seconds, summed over this process's shards; zero for shards found on disk."""

    wall_s: float = 0.0
    wait_s: float = 0.0  # the device loop waiting for the loader
    prepare_s: float = 0.0  # summed over workers
    forward_s: float = 0.0
    finish_s: float = 0.0
    measure_s: float = 0.0
    images: int = 0  # images evaluated by this process
    first_shard_s: float = 0.0  # part of wall_s; holds first calls and the loading of libraries
    first_shard_images: int = 0

    @property
    def images_per_s(self) -> float:
        """Throughput without the first shard, when there are more."""
        images, seconds = self.images - self.first_shard_images, self.wall_s - self.first_shard_s
        if images <= 0:
            images, seconds = self.images, self.wall_s
        return images / seconds if seconds > 0 else math.nan


class CellRecord(Record):
    """One row of a table."""

    task: str
    dataset: str
    protocol: str
    model: str  # variant id
    title: str
    family: str = ""
    kind: str = "network"
    status: CellStatus  # "refused": `run` ends with exit code 6 where others ran; missing weights or data do not
    how: str = ""  # for a missing or refused row: what to do, the command included
    licence: str = ""
    trained_on: str = ""
    in_domain: bool = False
    approximate: str = ""  # e.g. "33 -> 17 keypoints by name"
    caveat: str = ""
    fingerprint: str = ""
    weights_file: str = ""
    weights_sha256: str = ""
    weights_pinned: bool = False
    weights_bytes: int | None = None
    published_as: tuple[str, ...] = ()
    params_m: Number = math.nan
    counts: Counts = Field(default_factory=Counts)
    scores: dict[str, ScoreRecord] = {}  # "<metric>/<score>"
    headline: str = ""  # key into scores
    errors: list[ErrorExample] = []
    timing: Timing = Field(default_factory=Timing)


class RunRecord(Record):
    schema_: Literal["run/1"] = Field(default="run/1", alias="schema")
    status: RunStatus
    task: str
    command: str = ""
    version: str = ""
    started: str = ""  # ISO 8601, UTC
    finished: str = ""
    git: dict[str, Any] = {}
    packages: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    request: dict[str, Any] = {}
    cards: dict[str, Any] = {}  # cards as used, by id
    datasets: dict[
        str, Any
    ] = {}  # per data set: title, licence, n_images, manifest_sha256, protocol title, caveat, boxes
    seeds: dict[str, int] = {}
    cells: list[CellRecord] = []
    costs: list[dict[str, Any]] = []  # rows of `sapiens-bench profile` with this folder as --out; see profile.json
    notes: list[str] = []

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def write_run(folder: Path, record: RunRecord) -> Path:
    """Write ``run.json`` into the folder, by rename; returns its path."""
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False, ensure_ascii=False)
    return write_atomic(folder / "run.json", text.encode() + b"\n")


def costs_of(folder: Path) -> list[dict[str, Any]]:
    """Cost rows of a folder that may hold no record yet: a new one takes them over."""
    return read_run(folder).costs if (folder / "run.json").is_file() else []


def read_run(folder: Path) -> RunRecord:
    """The record of a run folder (or of a path to its run.json).

    Raises:
        StoreError: no run.json there, or not one of ours.
    """
    path = folder if folder.name == "run.json" else folder / "run.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist. Give the folder that `sapiens-bench run` printed.") from None
    except ValueError as error:
        first = str(error).splitlines()[:3]
        raise StoreError(f"{path} is not a run record of this version: {' '.join(first)}") from None
