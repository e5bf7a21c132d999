"""The command line: one file a command, with its signature and its body.

A body imports what it needs when it is called, so that help and lists stay quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sapiens_bench.cli import (
    box_study,
    card,
    compare,
    data,
    errors,
    explain_number,
    export,
    gate,
    listing,
    merge,
    pareto,
    probe,
    profile,
    report,
    rerun,
    run,
    score,
    site,
    study,
    verify,
    view,
    weights,
)
from sapiens_bench.cli.guard import GuardedGroup, complain, let_go_of_stdout
from sapiens_bench.engine.threads import prepare_process

_EXAMPLES = """Examples:

    sapiens-bench run --task pose --models all

    sapiens-bench run --task pose --dataset coco-val2017 --data-root ~/coco --models 'movenet-*,oracle' --limit 100

    sapiens-bench report results/runs/NAME --format latex
"""

app = typer.Typer(cls=GuardedGroup, no_args_is_help=True, pretty_exceptions_enable=False, epilog=_EXAMPLES)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("list")(listing.list_)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(card.app, name="card")
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("view", epilog=view.EXAMPLES)(view.view)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("site", epilog=site.EXAMPLES)(site.site)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("gate", epilog=gate.EXAMPLES)(gate.gate)
app.command("explain-number", epilog=explain_number.EXAMPLES)(explain_number.explain_number)
app.command("pareto", epilog=pareto.EXAMPLES)(pareto.pareto)
app.command("box-study", epilog=box_study.EXAMPLES)(box_study.box_study)
app.add_typer(study.app, name="study")
app.command("probe", epilog=probe.EXAMPLES)(probe.probe)
app.command("profile", epilog=profile.EXAMPLES)(profile.profile)
app.add_typer(verify.app, name="verify")
app.command("errors", epilog=errors.EXAMPLES)(errors.errors)
app.command("score", epilog=score.EXAMPLES)(score.score)
app.command("merge", epilog=merge.EXAMPLES)(merge.merge)
app.command("rerun", epilog=rerun.EXAMPLES)(rerun.rerun)


def _version(wanted: bool) -> None:
    if wanted:
        from sapiens_bench import __version__

        print(f"sapiens-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Benchmark and evaluation harness for human vision models: 2D pose, body-part segmentation, depth, normals."""


def main() -> None:
    """Entry point of the ``sapiens-bench`` script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a crash
    prepare_process()
    code: int | str | None = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    except BrokenPipeError:
        let_go_of_stdout()
    except (KeyboardInterrupt, OSError) as error:  # outside of any command: help on a full disk
        code = complain(error)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_stdout()
    except OSError as error:
        code = complain(error)
        let_go_of_stdout()
    sys.exit(code)


if __name__ == "__main__":
    main()
