"""run.json: what was asked, on what machine, and what came out. Written by rename; only the driver writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PrivateAttr, ValidationError

from sapiens_bench.errors import SapiensBenchError, StoreError
from sapiens_bench.store.files import STUDY, read_json, write_atomic
from sapiens_bench.store.old_records import upgraded
from sapiens_bench.store.paths import PathPart

if TYPE_CHECKING:
    import pandas as pd

    from sapiens_bench.types import Metric

FILE = "run.json"
SCHEMA = "run/2"

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
    """Images of a cell."""

    planned: int = 0
    ok: int = 0
    input_errors: int = 0  # excluded for every model of the data set
    prediction_errors: int = 0  # counted as misses

    @property
    def done(self) -> int:
        """Rows on disk."""
        return self.ok + self.input_errors + self.prediction_errors


class ErrorExample(Record):
    """One failed image."""

    key: str
    code: str
    detail: str
    side: str


class Cause(Record):
    """Why something is not as it should be: one kind of it, the first case in full."""

    kind: str  # error code of a row, class name of a refusal, or "note"
    side: Literal["input", "prediction", "model", "data", "boxes", "run"]
    count: int | None = 1  # cases of this kind; None: not counted by the version that wrote the record
    first_key: str = ""  # the first sample it happened to
    detail: str = ""
    fix: str = ""  # what to do about it


class Timing(Record):
    """Seconds, summed over the shards that runs of this folder computed on one machine with one setting."""

    wall_s: float = 0.0
    wait_s: float = 0.0  # the device loop waiting for the loader
    prepare_s: float = 0.0  # summed over workers
    forward_s: float = 0.0
    finish_s: float = 0.0
    measure_s: float = 0.0
    images: int = 0  # images evaluated in that time
    first_shard_s: float = 0.0  # part of wall_s; holds first calls and the loading of libraries
    first_shard_images: int = 0
    # By events on the device, without the first shard; 0 where the device is a CPU. Idle in steady state: gap / (both).
    device_busy_s: float = 0.0
    device_gap_s: float = 0.0  # between two batches
    measured_on: str = ""  # another machine or setting than the record's own: an earlier run of this folder

    @property
    def images_per_s(self) -> float:
        """Throughput without the first shard and what was computed of the next one by then, if more is left."""
        images, seconds = self.images - self.first_shard_images, self.wall_s - self.first_shard_s
        if images <= 0:
            images, seconds = self.images, self.wall_s
        return images / seconds if seconds > 0 else math.nan

    @property
    def device_idle(self) -> float:
        """Share of the time in which a GPU had nothing to do, first shard left out; NaN where that is not known."""
        seen = self.device_busy_s + self.device_gap_s
        return self.device_gap_s / seen if seen > 0 else math.nan


class CellRecord(Record):
    """One row of a table."""

    task: PathPart
    dataset: PathPart
    protocol: PathPart
    model: PathPart  # variant id
    title: str
    family: str = ""
    kind: str = "network"
    status: CellStatus  # "refused": `run` ends with exit code 6 where others ran; missing weights or data do not
    error_kind: str = ""  # of a missing or refused row: name of the exception class, e.g. "WeightsMissing"
    how: str = ""  # of a missing or refused row: the reason in full, what to do included
    fix: str = ""  # of a missing or refused row: what to do alone, where that is known
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
    errors: list[ErrorExample] = []  # the first failed samples
    causes: list[Cause] = []  # every kind of error among the rows, with its count
    timing: Timing = Field(default_factory=Timing)

    def refuse(self, error: SapiensBenchError, status: CellStatus = "refused") -> None:
        """Note why the row has no numbers; the kind of the error is kept as a name, for nobody to read sentences."""
        self.status, self.error_kind = status, type(error).__name__
        self.how, self.fix = str(error), error.fix


class BoxQualityRecord(Record):
    """Boxes against the people that are scored (stats/boxes.py)."""

    n_boxes: int = 0
    n_people: int = 0
    mean_iou: Number = math.nan
    recall50: Number = math.nan
    ap: Number = math.nan


class DatasetRecord(Record):
    """A data set under the protocol of the run."""

    title: str = ""
    licence: str = ""
    n_images: int = 0
    manifest_sha256: str = ""
    protocol: PathPart = ""
    protocol_title: str = ""
    caveat: str = ""
    notes: list[str] = []  # what the adapter has to say, e.g. how many files were expected
    about_files: list[str] = []  # data options of the request that say how files are stored, and change no protocol
    boxes: str = ""  # as asked for or set by the protocol
    boxes_source: str = ""  # what they turned out to be
    boxes_sha256: str = ""
    boxes_notes: list[str] = []
    box_quality: BoxQualityRecord | None = None
    n_excluded: int | None = None  # images at fault for any model; None before the scores are made
    n_scored: int | None = None
    sees: Number = math.nan  # smallest difference in the headline score called out in 80 % of cases, in its own unit
    sees_between: list[str] = []  # ids of the two best models, between whom that holds


class GitRecord(Record):
    """The source tree the package ran from; empty when it was installed elsewhere."""

    commit: str = ""
    dirty: bool = False


class HardwareRecord(Record):
    """The machine."""

    model_config = ConfigDict(extra="allow")  # a profile says more about its machine than a run

    device: str = ""
    system: str = ""
    cpu: str = ""
    cores: int | None = None
    torch_threads: int | None = None
    ram_gb: float | None = None
    gpus: list[str] = []
    cuda: str | None = None


class RunRecord(Record):
    """The whole of run.json."""

    schema_: Literal["run/2"] = Field(default="run/2", alias="schema")
    status: RunStatus
    task: PathPart
    command: str = ""
    version: str = ""
    started: str = ""  # ISO 8601, UTC
    finished: str = ""
    git: GitRecord = Field(default_factory=GitRecord)
    packages: dict[str, str] = {}
    hardware: HardwareRecord = Field(default_factory=HardwareRecord)
    request: dict[str, Any] = {}  # as asked, with what was filled in: the fields of a Request as JSON
    cards: dict[str, dict[str, Any]] = {}  # cards as used, by id: their YAML as JSON
    datasets: dict[PathPart, DatasetRecord] = {}
    seeds: dict[str, int] = {}
    cells: list[CellRecord] = []
    costs: list[dict[str, Any]] = []  # rows of `sapiens-bench profile` with this folder as --out; see profile.json
    notes: list[str] = []

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    _folder: Path | None = PrivateAttr(default=None)
    _metrics: Callable[[CellRecord], Sequence[Metric]] | None = PrivateAttr(default=None)

    def bind(self, folder: Path, metrics: Callable[[CellRecord], Sequence[Metric]] | None = None) -> RunRecord:
        """Say where the rows lie and, if known, how they are scored; returns the record."""
        self._folder, self._metrics = folder, metrics or self._metrics
        return self

    def rows(self, cell: CellRecord) -> pd.DataFrame:
        """One line per image of a cell, columns readable as they are; see ``store/frames.py`` for them.

        Raises:
            StoreError: the record was not read from a folder, or the rows are damaged.
        """
        from sapiens_bench.store.frames import images_frame

        if self._folder is None:
            raise StoreError("This record belongs to no folder, so it has no rows. Read it with read_run(FOLDER).")
        return images_frame(self._folder, cell, self._metrics(cell) if self._metrics else ())

    def to_pandas(self, *, images: bool = False) -> pd.DataFrame:
        """The whole run as one table.

        Args:
            images: False: one line per cell and score, with its interval. True: one line per image of every measured
                cell (``rows``), led by the cell's task, data set, protocol and model.
        """
        from sapiens_bench.store.frames import joined, scores_frame

        if not images:
            return scores_frame(self)
        return joined([(cell, self.rows(cell)) for cell in self.cells if cell.status in ("done", "incomplete")])


def write_run(folder: Path, record: RunRecord) -> Path:
    """Write ``run.json`` into the folder, by rename; returns its path."""
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False, ensure_ascii=False)
    return write_atomic(folder / FILE, text.encode() + b"\n")


def read_run(folder: Path) -> RunRecord:
    """The record of a run folder (or of a path to its run.json); records of earlier versions are brought up to date.

    Raises:
        StoreError: no run.json there, or a damaged one, or none of ours; says where it is wrong.
        PathEscape: a link is there.
    """
    path = folder if folder.name == FILE else folder / FILE
    try:
        content = read_json(path)
    except FileNotFoundError:
        if (path.parent / STUDY).is_file():
            raise StoreError(
                f"{path.parent} is a study, not a run: give one of the run folders in it. "
                "`report` and `compare` read the study itself."
            ) from None
        raise StoreError(f"{path} does not exist. Give the folder that `sapiens-bench run` printed.") from None
    try:
        return RunRecord.model_validate(upgraded(content)).bind(path.parent)
    except ValidationError as error:
        raise StoreError(f"{path} is not a run record of this version: {_faults(error)}.") from None
    except RecursionError:
        raise StoreError(f"{path} is damaged: it is nested too deeply.") from None


def _faults(error: ValidationError) -> str:
    """The first faults, each with its place; the library's own text points to pages about itself."""
    texts = [(".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")) for fault in error.errors()]
    found = [f"{place or 'top'}: {text}" for place, text in texts[:3]]
    more = len(error.errors()) - len(found)
    return "; ".join(found) + (f"; and {more} more" if more > 0 else "")
