"""``sapiens-bench weights check`` and ``weights convert``: what a weight file is, and the same as safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.output import say
from sapiens_bench.errors import CheckpointRejected, UntrustedCheckpoint

if TYPE_CHECKING:
    from sapiens_bench.checks.weights import WeightReport

Trust = Annotated[
    list[str] | None,
    typer.Option("--trust-checkpoint", metavar="PATH:SHA256", help="A weight file you vouch for. Repeatable."),
]
Cards = Annotated[list[Path] | None, typer.Option("--cards", help="Folder with cards of your own. Repeatable.")]
WeightsRoot = Annotated[Path | None, typer.Option("--weights-root", help="Where weight files lie, at any depth to 3.")]


def add_to(app: typer.Typer) -> None:
    """Register both commands."""
    app.command("check")(check)
    app.command("convert")(convert)


def check(
    what: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A model's id, or a weight file.")],
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    trust_checkpoint: Trust = None,
) -> None:
    """Open a weight file: what it is, its sha256, whether it is what the card says."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.checks.weights import check_entry, inspect_file
    from sapiens_bench.engine.request import parse_trust

    trust = parse_trust(tuple(trust_checkpoint or ()))
    path = Path(what).expanduser()
    if path.is_file():
        report = inspect_file(path, trusted=_vouched(path, trust))
    else:
        catalog = Catalog.load(cards or [])
        report = check_entry(catalog.model(what), catalog, weights_root, trust)
    _show(report)
    if report.faults:
        kind = UntrustedCheckpoint if any("its own code" in f or "could run code" in f for f in report.faults) else None
        raise (kind or CheckpointRejected)(_sentence(report.faults))


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Default: beside FILE, with .safetensors.")] = None,
    trust_checkpoint: Trust = None,
) -> None:
    """Write a checkpoint's tensors as safetensors; prints its sha256 and the lines for a card."""
    from sapiens_bench.checks.weights import convert as convert_file
    from sapiens_bench.engine.request import parse_trust

    trust = parse_trust(tuple(trust_checkpoint or ()))
    written = convert_file(file, out, trusted=_vouched(file, trust))
    say(f"Written: {written.path}\nsha256:  {written.sha256}\n")
    say(written.card_snippet().rstrip())


def _vouched(path: Path, trust: dict[str, str]) -> bool:
    """Whether the user vouches for exactly these bytes.

    Raises:
        ChecksumMismatch: for other bytes under this name.
    """
    from sapiens_bench.cards.locate import file_sha256
    from sapiens_bench.errors import ChecksumMismatch

    expected = trust.get(str(path.resolve()))
    if expected is None:
        return False
    if (found := file_sha256(path)) != expected:
        raise ChecksumMismatch(f"{path} has sha256 {found}, --trust-checkpoint says {expected}. Not opened.")
    return True


def _show(report: WeightReport) -> None:
    from sapiens_bench.report.numbers import size

    say(f"File:     {report.path} ({report.kind}, {size(report.size_bytes)})")
    say(f"sha256:   {report.sha256}")
    say(f"It is:    {report.what}")
    if report.n_tensors:
        formats = ", ".join(f"{name} {n:,}" for name, n in report.dtypes.items())
        say(f"Holds:    {report.n_tensors:,} tensors, {report.n_values:,} values ({formats})")
        say(f"Finite:   {'yes' if report.is_finite else 'no'}")
    say("Verdict:  " + ("can be used" if not report.faults else "cannot be used"))


def _sentence(faults: Sequence[str]) -> str:
    return "; ".join(fault.rstrip(".") for fault in faults) + "."
