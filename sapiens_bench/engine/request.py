"""What the user asks for."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.adapters.selection.rule import read_selection
from sapiens_bench.cards.schema import MAX_INPUT_SIDE
from sapiens_bench.engine.choices import DataChoice, Engine, ModelChoice, Places, RunChoice
from sapiens_bench.errors import UsageError
from sapiens_bench.pixels.files import shown
from sapiens_bench.stats.draws import OF_SCORES

_LEAST = {"limit": 1, "batch_size": 1, "prefetch": 0, "workers": 1, "threads": 1, "shard_size": 1, "n_boot": 0}
_LEAST["max_pixels"] = 1


class OwnModel(NamedTuple):
    """What is said of models that the request names by their file; "" where the file says it itself."""

    space: str = ""  # keypoint or label set of the output
    input: str = ""  # HEIGHTxWIDTH
    normalise: str = ""  # imagenet, 0..1, -1..1, none, or six numbers; ",bgr" behind it for blue first
    output: str = ""  # heatmap, simcc, coords, logits, labels, or what the numbers of a map mean


@dataclass(frozen=True)
class Request:
    """One run. Everything has a sensible default but the task."""

    task: str
    models: tuple[str, ...] = ("all",)  # ids, globs, families; "all"
    datasets: tuple[str, ...] = ()  # empty: every data set of the task that is on this machine
    protocol: str | None = None  # None: the data set's default for the task
    limit: int | None = None  # the first n samples only
    out: Path | None = None  # None: a folder named after the request, so that the same command resumes
    device: str = "auto"
    batch_size: int | None = None  # crops per forward pass; 8 on a CPU, 32 on a GPU
    prefetch: int | None = None  # batches queued ahead on the device; None: see ``Forward``
    engine: Engine = "local"
    workers: int | None = None  # local: loader threads; ray: processes, None: as many as the cluster has room for
    gpus_per_worker: float | None = None  # ray; 0.5: two share one. None: one where the cluster has GPUs, else none
    address: str = ""  # ray: HEAD:6379, a cluster that runs; "": one of this machine that ends with the run
    threads: int | None = None  # cores to be used; None: all that this process may use
    seed: int = 0
    precision: str = "fp32"
    cards: tuple[Path, ...] = ()
    data_root: Path | None = None
    weights_root: Path | None = None
    boxes: str = ""  # "" as the protocol says; gt, jitter:<fraction>[,<seed>], detector:<id>[,<score>], or a file
    options: Mapping[str, Any] = field(default_factory=dict)  # for the wrappers, over those of the card
    # Weight files the user vouches for: path -> sha256, or texts PATH:SHA256. They may carry code.
    trust: Mapping[str, str] = field(default_factory=dict)
    max_errors: float | None = None  # share of a cell's samples; None: 1 %
    shard_size: int = 64
    n_boot: int = OF_SCORES
    split: str = ""
    data_options: Mapping[str, Any] = field(default_factory=dict)  # for the adapters, over those of the protocol
    scoring: Mapping[str, Any] = field(default_factory=dict)  # keys over those of the protocol
    max_pixels: int = MAX_PIXELS  # larger pictures are refused from their header
    save_preds: bool = True
    save_maps: bool = False  # dense tasks: keep every prediction as PNG (8-bit labels, 16-bit depth and normals)
    part: tuple[int, int] | None = None  # (i, n): only every n-th shard, from the i-th; the others are somebody else's
    own: OwnModel = field(default_factory=OwnModel)
    condition: Mapping[str, Any] = field(default_factory=dict)  # what is done to every picture: name, level, seed
    select: str = ""  # which samples, by what is known of them: "box_score>0.9,box_px>300"; "" all
    command: str = ""  # as typed, for the record

    def __post_init__(self) -> None:
        for name in ("models", "datasets", "cards"):  # lists and single strings are welcome
            value = getattr(self, name)
            items = (value,) if isinstance(value, str | Path) else tuple(value)
            object.__setattr__(self, name, tuple(Path(v) for v in items) if name == "cards" else items)
        for name in ("out", "data_root", "weights_root"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value).expanduser())
        folders = (*self.cards, self.out, self.data_root, self.weights_root)
        for said in (*self.models, *self.datasets, *folders, self.boxes):
            _refuse_unprintable(said)
        object.__setattr__(self, "trust", parse_trust(self.trust))
        if self.part is not None:
            object.__setattr__(self, "part", (int(self.part[0]), int(self.part[1])))
        if isinstance(self.own, Mapping):  # of a record
            object.__setattr__(self, "own", OwnModel(**self.own))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, found {value}.")
        read_selection(self.select)
        if Places.of(self).engine == "ray" and self.part is not None:
            raise UsageError(
                "--shard cuts a run for launchers that know nothing of each other; --engine ray needs none."
            )
        if self.max_errors is not None and not 0 <= self.max_errors <= 1:
            raise UsageError(f"max_errors is a share between 0 and 1, found {self.max_errors}.")

    def data(self) -> DataChoice:
        """The part that says which data sets."""
        of_files = ("truth:", "truth[")  # names of files may hold commas
        split = ([text] if text.startswith(of_files) else text.split(",") for text in self.datasets)
        named = (part.strip() for parts in split for part in parts)
        return DataChoice(
            task=self.task,
            names=tuple(dict.fromkeys(name for name in named if name)),
            protocol=self.protocol,
            split=self.split,
            boxes=self.boxes,
            seed=self.seed,
            limit=self.limit,
            max_pixels=self.max_pixels,
            options=self.data_options,
            scoring=self.scoring,
            root=self.data_root,
            condition=self.condition,
            select=self.select,
        )

    def model(self) -> ModelChoice:
        """The part that says which models."""
        return ModelChoice(
            task=self.task,
            patterns=self.models,
            options=self.options,
            weights_root=self.weights_root,
            trust=self.trust,
            precision=self.precision,
            seed=self.seed,
        )

    def run(self) -> RunChoice:
        """The part that says how."""
        return RunChoice(
            device=self.device,
            batch_size=self.batch_size,
            prefetch=self.prefetch,
            engine=self.engine,
            workers=self.workers,
            gpus_per_worker=self.gpus_per_worker,
            address=self.address,
            threads=self.threads,
            shard_size=self.shard_size,
            n_boot=self.n_boot,
            seed=self.seed,
            save_preds=self.save_preds,
            save_maps=self.save_maps,
            max_errors=self.max_errors,
            part=self.part,
            command=self.command,
        )

    def as_json(self) -> dict[str, Any]:
        """The request for run.json."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "command"}
        values["own"] = self.own._asdict()
        return {name: plain(value) for name, value in values.items()}


def _refuse_unprintable(said: str | Path | None) -> None:
    """Names of a request go into its record, which is UTF-8; names inside data sets may hold any bytes.

    Raises:
        UsageError: bytes that are not UTF-8.
    """
    try:
        str(said).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{shown(str(said))}: the name holds bytes that are not UTF-8, and a run's record cannot name it. "
            "Rename it, or give a link with another name."
        ) from None


def parse_trust(given: Mapping[str, str] | str | tuple[str, ...] | list[str]) -> dict[str, str]:
    """``PATH:SHA256`` texts (or a mapping) -> resolved path -> sha256.

    Raises:
        UsageError: not of that form, or no such file.
    """
    if isinstance(given, Mapping):
        pairs = [(str(path), str(sha256)) for path, sha256 in given.items()]
    else:
        texts = (given,) if isinstance(given, str) else tuple(given)
        parts = [(text, text.rpartition(":")) for text in texts]
        pairs = [(path, sha256) if colon else (text, "") for text, (path, colon, sha256) in parts]
    trusted: dict[str, str] = {}
    for path, sha256 in pairs:
        if not path or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise UsageError(
                f"--trust-checkpoint {path}{':' if sha256 else ''}{sha256}: write PATH:SHA256 with the 64 hexadecimal "
                "digits that `sapiens-bench weights check PATH` prints."
            )
        file = Path(path).expanduser()
        if not file.exists():
            raise UsageError(f"--trust-checkpoint: {file} does not exist.")
        trusted[os.path.realpath(file)] = sha256.lower()
    return trusted


def parse_input(text: str) -> tuple[int, int]:
    """ "1024x768" -> (1024, 768): height, then width.

    Raises:
        UsageError: not two whole numbers from 1 to ``MAX_INPUT_SIDE``.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--input {text!r} is not HEIGHTxWIDTH, for example 1024x768.")
    height, width = int(parts[0]), int(parts[1])
    if not (0 < height <= MAX_INPUT_SIDE and 0 < width <= MAX_INPUT_SIDE):
        raise UsageError(f"--input {text}: sides are 1 to {MAX_INPUT_SIDE} pixels.")
    return height, width


def plain(value: Any) -> Any:
    """The value as JSON can hold it; what JSON has no word for becomes its text."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)
