"""``sapiens-bench study``: one data set under named conditions, and what each does to each model's score."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_bench.cli.flags import split_commas
from sapiens_bench.cli.output import next_commands, say, show, stderr
from sapiens_bench.cli.refusals import complain_of_refusals
from sapiens_bench.cli.study_flags import Asked, with_asked
from sapiens_bench.cli.study_told import tell
from sapiens_bench.errors import IncompleteRun, UsageError

if TYPE_CHECKING:
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.engine.request import Request
    from sapiens_bench.study.design import Study, Trial

_EXAMPLES = """Examples:

    sapiens-bench study corruption --task pose --models 'movenet-*' --split tiny

    sapiens-bench study corruption --task depth --only blur,low_light --severities 1,3,5 --format md

    sapiens-bench study factor --task pose --factor skin_tone --levels 5 --pairs 100 --models 'movenet-*'

    sapiens-bench study boxes --task pose --boxes jitter:0.1,jitter:0.3

    sapiens-bench study resolution --task seg --sides 128,64,32

    sapiens-bench study video --task pose --models 'movenet-*' --clips 4

The same command run again goes on where the first one stopped, and tells a finished study in another --format.
"""

app = typer.Typer(
    no_args_is_help=True,
    epilog=_EXAMPLES,
    help="One data set under named conditions: what each does to each model, with intervals.",
)
Boxes = Annotated[
    str, typer.Option("--boxes", help="Pose: gt, jitter:FRACTION, detector:ID[,SCORE], or a box file; in every run.")
]


@app.command("corruption")
@with_asked
def corruption(
    asked: Asked,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these corruptions; comma list.")] = None,
    severities: Annotated[
        str, typer.Option("--severities", help="Comma list from 1 (slight) to 5 (severe).", show_default="all")
    ] = "",
    boxes: Boxes = "",
) -> None:
    """14 corruptions in 5 severities on any data set: noise, light, blur, fog, compression, occlusion and others."""
    from dataclasses import replace

    from sapiens_bench.study import design

    base = replace(asked.base, boxes=boxes)
    _carry_out(design.corruption(base, split_commas(only or ()), _numbers(severities, "--severities")), asked)


@app.command("factor")
@with_asked
def factor(
    asked: Asked,
    factors: Annotated[
        list[str] | None,
        typer.Option(
            "--factor", "--factors", help="skin_tone, light_level, clothing ...; comma list, or all.",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[str, typer.Option("--levels", help="How many, or their names: dark,white.")] = "5",
    pairs: Annotated[int, typer.Option("--pairs", help="Pictures, each rendered at every level.")] = 200,
    effect: Annotated[
        float | None,
        typer.Option(
            "--effect", help="Refuse a study too small for this change, in SDs of a pair's difference.",
            show_default=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """Rendered people with one factor of the scene changed alone; where it is appearance, the truth keeps its bits."""
    from sapiens_bench.study import design, power

    study = design.factor(asked.base, split_commas(factors or ()), levels, asked.base.limit or pairs)
    n_pairs = study.base.limit or pairs
    power.require(effect, n_pairs, len(study.trials))
    say(power.say(n_pairs, len(study.trials)), to_stderr=True)
    _carry_out(study, asked)


@app.command("resolution")
@with_asked
def resolution(
    asked: Asked,
    sides: Annotated[
        str, typer.Option("--sides", help="Pixels along the shorter side; comma list.", show_default="256 to 32")
    ] = "",
    boxes: Boxes = "",
) -> None:
    """Less and less detail: the pictures as if their shorter side had so many pixels."""
    from dataclasses import replace

    from sapiens_bench.study import design

    _carry_out(design.resolution(replace(asked.base, boxes=boxes), _numbers(sides, "--sides")), asked)


@app.command("boxes")
@with_asked
def boxes(
    asked: Asked,
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--boxes", help="jitter:FRACTION, detector:ID, or a box file. Repeatable.", show_default="4 jitters"
        ),
    ] = None,
) -> None:
    """Pose under other boxes than the ground truth's. Runs that are there already: see `box-study`."""
    from sapiens_bench.study import design

    _carry_out(design.boxes(asked.base, boxes or ()), asked)


@app.command("video")
@with_asked
def video(
    asked: Asked,
    clips: Annotated[int, typer.Option("--clips", help="Rendered clips of 24 frames; even ones stand still.")] = 8,
) -> None:
    """Frames in a row with exact motion: errors of velocity and acceleration, jitter, flicker, drift; also on Hi4D."""
    from dataclasses import replace

    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.run import _plan
    from sapiens_bench.store.record import read_run
    from sapiens_bench.study import folder
    from sapiens_bench.study import video as body
    from sapiens_bench.study.realism import require_shared
    from sapiens_bench.study.stored import motions, told_over_time

    if asked.score:
        raise UsageError("study video measures over time: --score is for studies of scores.")
    study = replace(body.design(asked.base, clips), draws=asked.n_draws)
    catalog = Catalog.load(asked.base.cards)
    beside = None if asked.beside is None else motions(asked.beside, catalog, n_draws=asked.n_draws)
    plan = _plan(study.request(study.reference, None), catalog, dry_run=False)
    body.require_sequences(plan)
    if asked.beside is not None and beside is not None:
        require_shared([spec.cell for spec in plan.cells], beside, asked.beside)
    out = asked.out or folder.default_folder(study, plan)
    complaints = _fill(study, out, lambda request: _plan(request, catalog, dry_run=False))
    show(told_over_time(out, catalog, n_draws=asked.n_draws, beside=beside), asked.fmt)
    _say_where(out, [], study.reference, to_stderr=asked.fmt != "text")
    if complaints:
        raise IncompleteRun(f"INCOMPLETE: {complaints[0]}")
    complain_of_refusals(read_run(out / study.reference.name))


def _numbers(text: str, flag: str) -> list[int]:
    """Whole numbers of a comma list.

    Raises:
        UsageError: something else is among them.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise UsageError(f"{flag} {wrong[0]}: write whole numbers, e.g. {flag} 1,3,5.")
    return [int(part) for part in parts]


def _carry_out(study: Study, asked: Asked) -> None:
    """Run what is missing, then tell the effects and draw the figure."""
    from dataclasses import replace

    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.run import _plan
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.store.record import read_run
    from sapiens_bench.study import folder
    from sapiens_bench.study.page import Pictures
    from sapiens_bench.study.realism import require_shared
    from sapiens_bench.study.sight import require_sight

    study = replace(study, draws=asked.n_draws)
    beside = None if asked.beside is None else read_side(asked.beside)  # before hours of work, not after
    catalog = Catalog.load(study.base.cards)

    def plan_of(request: Request) -> Plan:
        return _plan(request, catalog, dry_run=False)

    cells = plan_of(study.request(study.reference, None)).cells
    for note in require_sight(study, cells):
        say(f"note: {note}", to_stderr=True)
    if beside is not None:
        require_shared([spec.cell for spec in cells], beside.members, beside.path)
    # Boxes that are not there are refused before a folder is made; without any, conditions differ in pixels alone.
    for trial in study.all if study.kind == "boxes" else [study.reference] if study.base.boxes else []:
        _plan(study.request(trial, None), catalog, dry_run=True)
    out = asked.out or folder.default_folder(study, plan_of(study.request(study.reference, None)))
    complaints = _fill(study, out, plan_of)
    told = tell(
        out, Pictures(catalog, study.base.data_root), fmt=asked.fmt, n_draws=asked.n_draws, score=asked.score,
        complaints=complaints, beside=beside,
    )  # fmt: skip
    worst = next((p.worst.trial for p in told.found if p.worst is not None), study.trials[-1])
    kept = study.base.task == "pose" or study.base.save_maps
    _say_where(out, told.files, worst, to_stderr=asked.fmt != "text", kept=kept)
    if complaints:
        raise IncompleteRun(f"INCOMPLETE: {complaints[0]}")
    complain_of_refusals(read_run(out / study.reference.name))


def _fill(study: Study, out: Path, plan_of: Callable[[Request], Plan]) -> list[str]:
    """All conditions, on one cluster where they are to be computed on one; what is incomplete."""
    from sapiens_bench.engine.ray_cluster import cores_for, kept
    from sapiens_bench.study import folder

    base = study.base
    with kept(base.engine, base.address, cores_for(base.workers, base.threads)) as note:
        if note:
            say(f"note: {note}", "dim", to_stderr=True)
        if study.kind == "factor":
            folder.begin(study, out)
            _render(study, plan_of(study.request(study.reference, out / study.reference.name)))
        said: set[str] = set()
        return folder.fill(study, out, plan_of, lambda plan, trial, number: _run(study, plan, trial, number, said))


def _render(study: Study, plan: Plan) -> None:
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.choices import Places
    from sapiens_bench.engine.events import DataProgress, Note
    from sapiens_bench.engine.ray_cluster import jobs_on
    from sapiens_bench.engine.threads import usable_cores
    from sapiens_bench.study.rendered import ahead

    with ProgressView(stderr()) as view, jobs_on(Places.of(plan.how), lambda text: view(Note(text))):
        ahead(study, plan, plan.how.threads or usable_cores(), lambda n, of: view(DataProgress("all levels", n, of)))


def _run(study: Study, plan: Plan, trial: Trial, number: int, said: set[str]) -> None:
    """One condition; of the notes only those that no condition before had (``said``, which grows)."""
    from sapiens_bench.cli.progress import ProgressView
    from sapiens_bench.engine.events import Event, Note
    from sapiens_bench.engine.run import run

    name = trial.series if trial is study.reference else f"{trial.series} {trial.level}"
    say(f"Condition {number + 1} of {len(study.all)}: {name}", "dim", to_stderr=True)
    with ProgressView(stderr(), len(plan.cells), plan.n_images) as view:

        def told(event: Event) -> None:
            if not isinstance(event, Note) or event.text not in said:
                view(event)
            if isinstance(event, Note):
                said.add(event.text)

        run(plan, told)


def _say_where(out: Path, files: Sequence[Path], shown: Trial, *, to_stderr: bool, kept: bool = True) -> None:
    say(f"{'' if to_stderr else chr(10)}Study: {out}", to_stderr=to_stderr)
    for path in files:
        say(f"Figure: {path}", to_stderr=to_stderr)
    if not to_stderr:
        one = shlex.quote(str(out / shown.name))
        beside = "what each model made of them" if kept else "their scores (--save-maps keeps what models made of them)"
        next_commands([(f"sapiens-bench view {one}", f"pictures of {shown.name} with {beside}")])
