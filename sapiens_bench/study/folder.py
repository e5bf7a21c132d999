"""A study on disk: study.json, and one ordinary run folder a condition.

<study>/study.json        what was asked: kind, base request, conditions
<study>/<condition>/      a run folder like any other: `report`, `view`, `verify run` work on it
<study>/figure-*.png,svg  scores over levels, one file a data set
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import IncompleteRun, SapiensBenchError, StoreError, TooManyErrors, UsageError
from sapiens_bench.store.files import STUDY, write_atomic
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.store.record import RunRecord
from sapiens_bench.study.design import Study, Trial

SCHEMA = "study/1"
FILE = STUDY
SAME = ("datasets", "protocol", "limit", "split", "boxes", "data_options", "scoring", "select")  # of the request


def default_folder(study: Study, plan: Plan) -> Path:
    """Below ./results/studies, named after the question, so that the same command finds what it has done.

    Args:
        plan: of the reference, its folder the default one.
    """
    named = fingerprint({trial.name: dict(trial.change) for trial in study.all})[:6]
    return Path("results") / "studies" / f"{study.kind}-{plan.out.name}-{named}"


def begin(study: Study, folder: Path) -> None:
    """Write study.json. Conditions may join a study; each run folder guards its own question.

    Raises:
        UsageError: the folder holds another study, or something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and a study needs a folder. Give --out another name.")
    before = read(folder) if (folder / FILE).is_file() else None
    if before is None and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no study. Give --out another name.")
    facts = _facts(study)
    if before is not None:
        for name in ("kind", "task", "models", "reference"):
            if before.get(name) != facts[name]:
                raise UsageError(
                    f"{folder} holds a study with {name} {before.get(name)!r}, asked for is {facts[name]!r}. "
                    "Give --out another name."
                )
        asked, had = json.loads(json.dumps(facts["request"])), before.get("request") or {}
        for name in SAME:
            if name in had and had[name] != asked[name]:
                raise UsageError(
                    f"{folder} holds a study with {name} {had[name]!r}, asked for is {asked[name]!r}. "
                    "Give --out another name."
                )
    write_atomic(folder / FILE, (json.dumps(facts, indent=1) + "\n").encode())


def _facts(study: Study) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": study.kind,
        "task": study.base.task,
        "models": list(study.base.models),
        "reference": study.reference.name,
        "draws": study.draws,
        "request": study.base.as_json(),
        "conditions": [
            {"name": t.name, "series": t.series, "level": t.level, "change": dict(t.change)} for t in study.all
        ],
    }


def read(folder: Path) -> dict[str, Any]:
    """study.json.

    Raises:
        StoreError: it is not there, or no study.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and found.get("schema") == SCHEMA:
            return found
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no study: {FILE} is missing.") from None
    except (OSError, ValueError):
        pass
    raise StoreError(f"{path} cannot be read as {SCHEMA}. Run the same `study` command again, with another --out.")


def fill(
    study: Study,
    folder: Path,
    plan_of: Callable[[Request], Plan],
    run_of: Callable[[Plan, Trial, int], object],
) -> list[str]:
    """Bring the run of every condition to completion; what is on disk stays. Returns what went wrong in which.

    Args:
        plan_of: request -> plan; the command line shows a detector at work here.
        run_of: (plan, condition, its number from 0) -> anything; computes what is missing.

    Raises:
        Interrupted, StorageFull ...: whatever stops a run; the same call resumes.
    """
    begin(study, folder)
    complaints: list[str] = []
    try:
        for number, trial in enumerate(study.all):
            plan = plan_of(study.request(trial, folder / trial.name))
            _refuse_results(plan)
            try:
                run_of(plan, trial, number)
            except (TooManyErrors, IncompleteRun) as error:
                if not (plan.out / "run.json").is_file():
                    raise
                complaints.append(f"{trial.name}: {error}")
    except SapiensBenchError:
        _forget(folder)
        raise
    return complaints


def _forget(folder: Path) -> None:
    """A question that was refused before anything was computed does not stand in the way of the mended one."""
    if [path.name for path in folder.iterdir()] == [FILE]:
        (folder / FILE).unlink()


def not_measured(record: RunRecord) -> list[str]:
    """One sentence for each reason why models of the request have no row in the reference's run."""
    reasons: dict[str, list[str]] = {}
    for cell in record.cells:
        if cell.status == "refused":
            reasons.setdefault(f"refused ({cell.how})", []).append(f"{cell.model} on {cell.dataset}")
        elif cell.status not in ("done", "incomplete"):
            reasons.setdefault(cell.status, []).append(f"{cell.model} on {cell.dataset}")
    return [f"Not measured, {reason}: {', '.join(models)}." for reason, models in reasons.items()]


def _refuse_results(plan: Plan) -> None:
    if stored := [spec.cell.model for spec in plan.cells if spec.model.is_results]:
        raise UsageError(
            f"{stored[0]} looks up results that were made on the pictures as they are: no condition reaches it. "
            "A study needs models that run."
        )
