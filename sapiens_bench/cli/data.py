"""``sapiens-bench data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, ManifestFile, Name, Split, Workers

app = typer.Typer(no_args_is_help=True, help="Data sets: where they come from, whether they are complete.")
manifest_app = typer.Typer(no_args_is_help=True, help="What was rendered from what: comparable hashes.")
app.add_typer(manifest_app, name="manifest")


@app.command("show")
def data_show(name: Name, data_root: DataRoot = None, cards: Cards = None) -> None:
    """Licence, protocols, expected folders, and how to obtain it."""
    from sapiens_bench.commands import data

    data.show(name, cards=cards or [], data_root=data_root)


@app.command("check")
def data_check(name: Name, data_root: DataRoot = None, split: Split = "", cards: Cards = None) -> None:
    """Find it, verify pinned files, open it under every protocol."""
    from sapiens_bench.commands import data

    data.check(name, cards=cards or [], data_root=data_root, split=split)


@app.command("prepare")
def data_prepare(
    name: Name,
    data_root: Annotated[Path | None, typer.Option("--data-root", "--root", help="Where its files lie.")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: all of them.")] = None,
    split: Split = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    workers: Workers = None,
    cards: Cards = None,
) -> None:
    """Render what is made on this machine; resumes; prints the manifest that two labs can compare."""
    from sapiens_bench.commands import data

    data.prepare(
        name, cards=cards or [], data_root=data_root, protocol=protocol, split=split, limit=limit, workers=workers
    )


@manifest_app.command("compare")
def manifest_compare(first: ManifestFile, second: ManifestFile) -> None:
    """Whether two people hold the same ground truth, without exchanging it. Exit 1 when they do not."""
    from sapiens_bench.commands import data

    data.compare_manifests(first, second)


@app.command("export")
def data_export(
    name: Name,
    task: Annotated[str, typer.Option("--task", help="seg, depth or normal.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.", show_default=False)],
    protocol: Annotated[str | None, typer.Option("--protocol", help="Default: the data set's own.")] = None,
    split: Split = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Write images, masks and truth as a plain folder that `--dataset folder` and Sapiens' own code read."""
    from sapiens_bench.commands import export

    export.execute(name, task, out, cards=cards or [], data_root=data_root, protocol=protocol, split=split, limit=limit)


@app.command("path")
def data_path(data_root: DataRoot = None, cards: Cards = None) -> None:
    """The folders in use."""
    from sapiens_bench.commands import data

    data.path(cards=cards or [], data_root=data_root)
