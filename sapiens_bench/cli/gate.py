"""``sapiens-bench gate``: did a change break anything?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import Format, FormatOption, JsonOut, expanded, split_commas
from sapiens_bench.cli.output import save, say, show
from sapiens_bench.errors import IncompleteRun, VerificationFailed

if TYPE_CHECKING:
    from sapiens_bench.decide.gate import Outcome
    from sapiens_bench.decide.speed import SpeedChange

EXAMPLES = """Exit codes: 0 the gate is open; 1 it is closed: a score, joint or benchmark failed; 2 the two cannot be
compared: the field that differs is named; 4 rows are missing, nothing is decided.

Examples:

    sapiens-bench gate --write-baseline results/runs/MAIN baseline.parquet

    sapiens-bench gate baseline.parquet results/runs/CHANGE --junit gate.xml --markdown gate.md

    sapiens-bench gate baseline.parquet results/runs/CHANGE --speed-base speed/base1 --speed-base speed/base2
    --speed-cand speed/cand1 --speed-cand speed/cand2
"""


def gate(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="Run folder or baseline file.", show_default=False, callback=expanded)
    ],
    cand: Annotated[
        Path,
        typer.Argument(
            metavar="CAND", help="Run folder; with --write-baseline the file.", show_default=False, callback=expanded
        ),
    ],
    spec: Annotated[
        Path | None, typer.Option("--spec", callback=expanded, help="gate.yaml: tiers and sizes by score.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", help="Only these ids; comma list or repeated.", show_default="all")
    ] = None,
    require_equal: Annotated[
        str | None,
        typer.Option("--require-equal", metavar="M", help="Pass only where a loss of M (0.5, or 1%) is ruled out."),
    ] = None,
    speed_base: Annotated[
        list[Path] | None,
        typer.Option("--speed-base", callback=expanded, help="Times of BASE: profile or pytest-benchmark file."),
    ] = None,
    speed_cand: Annotated[
        list[Path] | None,
        typer.Option("--speed-cand", callback=expanded, help="Times of CAND, taken in turn. Both are repeated."),
    ] = None,
    json_: JsonOut = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", callback=expanded, help="Also write JUnit XML to this file.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", callback=expanded, help="Also write Markdown to this file.")
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option("--benchmark", callback=expanded, help="Also write CAND's scores as {name, unit, value, range}."),
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write the rows of run BASE to the file CAND; judge nothing.")
    ] = False,
    format_: FormatOption = Format.text,
) -> None:
    """Judge a run against a run or a committed baseline file; fails on a loss that is both certain and large."""
    from sapiens_bench.cli.arrow import spare_pandas
    from sapiens_bench.decide import gate as body
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.decide.spec import read_spec, requiring_equal

    spare_pandas()
    names = split_commas(models or ())
    if write_baseline:
        from sapiens_bench.decide.baseline import write_baseline as write

        size = write(read_side(base).chosen(names), cand)
        say(f"Written: {cand} ({size / 1e3:.1f} kB)")
        return
    asked = read_spec(spec)
    if names:
        asked = asked.model_copy(update={"models": names})
    if require_equal is not None:
        asked = requiring_equal(asked, require_equal)
    speed: tuple[SpeedChange, ...] = ()
    if speed_base or speed_cand:
        from sapiens_bench.decide.speed import judge_speed

        speed = judge_speed(speed_base or (), speed_cand or (), asked.speed.max_slowdown / 100)
    outcome = body.gate(read_side(base), read_side(cand), asked, speed)
    if benchmark is not None:
        from sapiens_bench.decide.gate_report import benchmark_text

        save(benchmark, benchmark_text(outcome))
    _tell(outcome, format_.value, json_out=json_, junit=junit, markdown=markdown)


def _tell(outcome: Outcome, fmt: str, *, json_out: Path | None, junit: Path | None, markdown: Path | None) -> None:
    """Print the table, write the files, and end with the verdict.

    Raises:
        IncompleteRun: rows are missing. VerificationFailed: the gate is closed.
    """
    from sapiens_bench.decide import gate_report
    from sapiens_bench.report.formats import render

    document = gate_report.document(outcome)
    show(document, fmt)
    if json_out is not None:
        save(json_out, gate_report.json_text(outcome))
    if junit is not None:
        save(junit, gate_report.junit_text(outcome))
    if markdown is not None:
        save(markdown, render(document, "md"))
    if outcome.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {outcome.incomplete}. Nothing is decided.")
    if outcome.is_closed:
        raise VerificationFailed(gate_report.message(outcome))
