"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sapiens_bench.errors import UsageError


class Format(StrEnum):
    """How a table is written."""

    text, md, latex, html, csv, json = "text", "md", "latex", "html", "csv", "json"


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32, bf16, fp16 = "fp32", "bf16", "fp16"


class Engine(StrEnum):
    """Who computes."""

    local, ray = "local", "ray"


class Pipeline(StrEnum):
    """Pre- and post-processing of Sapiens v1."""

    full, lite = "full", "lite"


def expanded(param: typer.CallbackParam, value: Path | list[Path] | None) -> Path | list[Path] | None:
    """``~`` as the user's home folder, for the spellings that a shell leaves alone (``--out=~/run``).

    An argument that is the address of a run on an object store is brought to this machine.

    Raises:
        UsageError: no such user, or no home folder is known; an address where only a path is read.
        StoreError, StorageFull: no run there, or the store cannot be reached.
    """
    paths = value if isinstance(value, list) else [] if value is None else [value]
    found = [_here(path, param.param_type_name == "argument") for path in paths]
    return found if isinstance(value, list) else found[0] if found else None


def expanded_or_address(value: Path | None) -> Path | None:
    """The same for ``run --out``, which may be the address of an object store."""
    return value if value is None or address_of(value) else _expanded(value)


def address_of(path: Path | None) -> str:
    """The address of an object store that was given as a path; "" for a path."""
    if path is None or ":" not in str(path):
        return ""
    from sapiens_bench.store.addresses import url_of

    return url_of(path)


def _here(path: Path, is_read: bool) -> Path:
    url = address_of(path)
    if not url:
        return _expanded(path)
    if not is_read:
        raise UsageError(f"{url} is an address, and a path of this machine is wanted. Only `run --out` takes one.")
    from sapiens_bench.cards.folders import cache_root
    from sapiens_bench.store.addresses import staging
    from sapiens_bench.store.remote import fetched

    return fetched(url, staging(url, cache_root()))


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        who = path.parts[0]
        reason = "no home folder is known: $HOME is not set" if who == "~" else f"there is no user {who[1:]!r}"
        raise UsageError(f"{path}: {reason}. Write the path out.") from None


def existing_data(value: Path | None) -> Path | None:
    """The same for data sets.

    Raises:
        UsageError: there is no such folder.
    """
    if value is None:
        return None
    from sapiens_bench.cards.folders import existing_data_root

    return existing_data_root(_expanded(value))


def existing_folder(value: Path | None) -> Path | None:
    """The folder, ``~`` expanded.

    Raises:
        UsageError: there is none: nothing would ever be found in it.
    """
    if value is None:
        return None
    from sapiens_bench.cards.folders import existing_weights_root

    return existing_weights_root(_expanded(value))


Task = Annotated[
    str,
    typer.Option(
        "--task",
        help="pose, seg, depth, normal; all: these four; pointmap, matting, albedo, a plug-in's.",
        show_default=False,
    ),
]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only this task.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        help="all, ids, families, globs, or files: NET.onnx, NET.pt2, CODE.py:CLASS, a hub folder, hf:ORG/NAME, "
        "predictions:PATH. NAME@bf16, @compile, @channels_last or @onnx: in that form. Comma list or repeated.",
        show_default="all",
    ),
]
OwnSpace = Annotated[str, typer.Option("--space", help="Of a model named by its file: its keypoint or label set.")]
OwnInput = Annotated[str, typer.Option("--input", help="Likewise: HEIGHTxWIDTH of its input, e.g. 256x192.")]
OwnNormalise = Annotated[
    str,
    typer.Option("--normalise", help="Likewise: imagenet, 0..1, -1..1, none, or six numbers; ',bgr' for blue first."),
]
OwnOutput = Annotated[
    str,
    typer.Option(
        "--output", help="Likewise, what it answers with: heatmap, simcc, coords; logits, labels; metric_depth ..."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="NAME=VALUE for the models, over their cards. Repeatable.")
]
OwnOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="NAME=VALUE of the code that runs it (docs/reference.md), written down. Repeatable."),
]
DataOptions = Annotated[
    list[str] | None,
    typer.Option("--data-option", help="NAME=VALUE for the data sets, over their protocols. Repeatable."),
]
Protocol = Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")]
Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--cards",
        callback=expanded,
        help="Folder with cards of your own; may name code beside them. Repeatable.",
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", help="Comma list or repeated. Default: every one of the task that is here."),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Crops per forward pass. Default: 8, on a GPU 32.")
]
Prefetch = Annotated[
    int | None,
    typer.Option("--prefetch", min=0, help="Batches queued ahead. Default: 1 on a GPU or for a small network, else 0."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", callback=existing_data, help="Where data sets lie: FOLDER/<data set>, or FOLDER itself."
    ),
]
WeightsRoot = Annotated[
    Path | None,
    typer.Option("--weights-root", callback=existing_folder, help="Where weight files lie, at any depth to 3."),
]
OwnWeightsRoot = Annotated[  # of commands that may not need it: whoever looks for weights in it checks it
    Path | None,
    typer.Option("--weights-root", callback=expanded, help="Where weight files lie, at any depth to 3."),
]
Split = Annotated[str, typer.Option("--split", help="Part of the data set, e.g. tiny. Default: the protocol's.")]
Select = Annotated[
    str,
    typer.Option(
        "--select", metavar="RULE", help="Only images of which all of this holds, e.g. 'people=1,box_px>300'."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU cores to use. Default: all that this process may use.")
]
Scoring = Annotated[
    list[str] | None,
    typer.Option("--scoring", help="NAME=VALUE: a scoring key over the protocol, e.g. score=instance. Repeatable."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, help="Larger pictures are refused from their header.", show_default="1e8"),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Loader threads. Default: one a core.")]
WorkersOf = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="auto|N",
        help="Loader threads, auto: one a core. With --engine ray: processes, auto: as many as there is room for.",
    ),
]
EngineOption = Annotated[
    Engine, typer.Option("--engine", help="local: this process. ray: workers of a Ray cluster (docs/cluster.md).")
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option("--gpus-per-worker", min=0, help="With --engine ray: 1, or a share such as 0.5. Default: 1 if any."),
]
Address = Annotated[
    str,
    typer.Option("--address", metavar="HEAD:PORT", help="With --engine ray: a cluster that runs. Default: our own."),
]
Trust = Annotated[
    list[str] | None,
    typer.Option("--trust-checkpoint", metavar="PATH:SHA256", help="A weight file you vouch for. Repeatable."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How it is written.")]
OutFile = Annotated[Path | None, typer.Option("--out", callback=expanded, help="Write to this file, not to stdout.")]
WithPictures = Annotated[
    bool,
    typer.Option("--with-pictures", help="Embed pictures of data sets whose licence does not allow it by itself."),
]
JsonOut = Annotated[Path | None, typer.Option("--json", callback=expanded, help="Also write the result to this file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder that `run` printed.", show_default=False, callback=expanded)
]


def _runs_inside(value: list[Path]) -> list[Path]:
    """The folders, and in place of one that ``run --task all`` made the runs in it; a study stays one thing.

    The address of a run on an object store is brought to this machine, as by ``expanded``.
    """
    from sapiens_bench.store.files import STUDY

    found: list[Path] = []
    for path in (_here(path, is_read=True) for path in value):
        inside = sorted(record.parent for record in path.glob("*/run.json")) if path.is_dir() else []
        is_one = any((path / name).exists() for name in ("run.json", STUDY))
        found += inside if inside and not is_one else [path]
    return found


RunFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders that `run` printed.", show_default=False, callback=_runs_inside),
]
ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", show_default=False, callback=expanded)]


def parse_options(pairs: Sequence[str], flag: str = "--option") -> dict[str, Any]:
    """``["flip_test=true", "name=x"]`` -> ``{"flip_test": True, "name": "x"}``; values are JSON where they parse.

    Raises:
        UsageError: not of the form name=value, or two values for one name; ``flag`` is how the message names the
            option.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{flag} {pair!r} must have the form name=value.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if name in options and json.dumps(options[name]) != json.dumps(value):
            first, second = (json.dumps(each) for each in (options[name], value))
            raise UsageError(f"{flag} {name} is given twice, as {first} and as {second}. Give it once.")
        options[name] = value
    return options


def parse_workers(text: str) -> int | None:
    """``auto`` -> None.

    Raises:
        UsageError: neither that nor a whole number above 0.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--workers {text}: auto, or a whole number from 1.")
    return int(text)


def split_commas(values: Sequence[str]) -> tuple[str, ...]:
    """Repeated options and comma lists as one tuple, each name once."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))
