"""``sapiens-bench weights check`` and ``weights convert``: what a weight file is, and the same as safetensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.checks import weights
from sapiens_bench.cli.output import say
from sapiens_bench.engine.request import parse_trust
from sapiens_bench.errors import CheckpointRejected, ChecksumMismatch, UntrustedCheckpoint
from sapiens_bench.report.numbers import size


def check(what: str, *, weights_root: Path | None, cards: Sequence[Path], trust: Sequence[str]) -> None:
    """Open a weight file, or the file of a model, and say what it is.

    Raises:
        CheckpointRejected: it cannot be used, or is not what the card says.
        UntrustedCheckpoint: it could run code. ChecksumMismatch: other bytes than vouched for or pinned.
    """
    vouched = parse_trust(tuple(trust))
    path = Path(os.path.expanduser(what))  # a home that is not known stays as it is written
    if path.is_file():
        report = weights.inspect_file(path, trusted=_is_vouched(path, vouched))
    else:
        catalog = Catalog.load(cards)
        report = weights.check_entry(catalog.model(what), catalog, weights_root, vouched)
    _show(report)
    if report.faults:
        kind = UntrustedCheckpoint if report.carries_code else CheckpointRejected
        raise kind("; ".join(fault.rstrip(".") for fault in report.faults) + ".")


def convert(file: Path, out: Path | None, *, trust: Sequence[str]) -> None:
    """Write a checkpoint's tensors as safetensors; see ``checks.weights.convert`` for what it raises."""
    written = weights.convert(file, out, trusted=_is_vouched(file, parse_trust(tuple(trust))))
    say(f"Written: {written.path}\nsha256:  {written.sha256}\n")
    say(written.card_snippet().rstrip())


def _is_vouched(path: Path, trust: dict[str, str]) -> bool:
    """Whether the user vouches for exactly these bytes.

    Raises:
        ChecksumMismatch: for other bytes under this name.
    """
    expected = trust.get(os.path.realpath(path))
    if expected is None:
        return False
    if (found := file_sha256(path)) != expected:
        raise ChecksumMismatch(f"{path} has sha256 {found}, --trust-checkpoint says {expected}. Not opened.")
    return True


def _show(report: weights.WeightReport) -> None:
    say(f"File:     {report.path} ({report.kind}, {size(report.size_bytes)})")
    say(f"sha256:   {report.sha256}")
    say(f"It is:    {report.what}")
    if report.n_tensors:
        formats = ", ".join(f"{name} {n:,}" for name, n in report.dtypes.items())
        say(f"Holds:    {report.n_tensors:,} tensors, {report.n_values:,} values ({formats})")
        say(f"Finite:   {'yes' if report.is_finite else 'no'}")
    say("Verdict:  " + ("can be used" if not report.faults else "cannot be used"))
