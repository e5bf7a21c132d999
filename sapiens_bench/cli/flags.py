"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How a table is written."""

    text, md, latex, html, csv, json = "text", "md", "latex", "html", "csv", "json"


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32, bf16, fp16 = "fp32", "bf16", "fp16"


class Pipeline(StrEnum):
    """Pre- and post-processing of Sapiens v1."""

    full, lite = "full", "lite"


Task = Annotated[str, typer.Option("--task", help="pose, seg, depth or normal.", show_default=False)]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only this task.")]
Cards = Annotated[
    list[Path] | None,
    typer.Option("--cards", help="Folder with cards of your own; may name code beside them. Repeatable."),
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Where data sets lie: FOLDER/<data set>, or FOLDER itself.")
]
Trust = Annotated[
    list[str] | None,
    typer.Option("--trust-checkpoint", metavar="PATH:SHA256", help="A weight file you vouch for. Repeatable."),
]
WeightsRoot = Annotated[Path | None, typer.Option("--weights-root", help="Where weight files lie, at any depth to 3.")]
Split = Annotated[str, typer.Option("--split", help="Part of the data set, e.g. tiny. Default: the protocol's.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Loader threads. Default: up to 4.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `run` printed.", show_default=False)]
ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", show_default=False)]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]
