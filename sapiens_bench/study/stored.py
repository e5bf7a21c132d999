"""A study that lies on disk: its conditions, their runs, what they say. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.sides import Side, read_side
from sapiens_bench.errors import SapiensBenchError, StoreError, UsageError
from sapiens_bench.report.sheet import Document, Picture
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.store.record import read_run
from sapiens_bench.study import effects, folder, realism
from sapiens_bench.study.design import KINDS, Trial
from sapiens_bench.study.document import document
from sapiens_bench.study.effects import Profile
from sapiens_bench.study.video import Motion

OVER_TIME = "video"  # of KINDS: one run over clips


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study with the runs that are there."""

    path: Path
    kind: str
    reference: Trial
    side: Side  # of the reference
    under: tuple[tuple[Trial, Side], ...]
    missing: tuple[str, ...]  # conditions whose run is not there
    seed: int  # of its bootstrap
    draws: int = OF_DIFFERENCES
    damaged: tuple[tuple[str, str], ...] = ()  # conditions whose run cannot be read, and why

    @property
    def incomplete(self) -> str:
        """What is not there, and the cure; empty when nothing is."""
        said = [f"conditions without a run: {', '.join(self.missing)}"] if self.missing else []
        said += [f"{name} cannot be read ({why.rstrip('.')})" for name, why in self.damaged]
        cure = "The same `study` command computes again what is missing or damaged, and keeps the rest"
        return f"{'; '.join(said)}. {cure}." if said else ""


def is_study(path: Path) -> bool:
    """Whether a folder holds a study."""
    return (path / folder.FILE).is_file()


def read_study(path: Path) -> StoredStudy:
    """The study of a folder.

    Raises:
        StoreError: no study, or the run of its reference cannot be read.
        UsageError: a study over time, see ``told_over_time``.
    """
    about = folder.read(path)
    try:
        trials = [_trial(entry) for entry in about["conditions"]]
        kind, name = str(about["kind"]), str(about["reference"])
        seed, draws = int(about["request"]["seed"]), draws_of(about)
        reference = next(trial for trial in trials if trial.name == name)
        if kind == OVER_TIME:
            raise UsageError(f"{path} is a study over time, which has no conditions to compare: `report` tells it.")
        if kind not in KINDS:
            raise ValueError(kind)
    except (KeyError, TypeError, ValueError, StopIteration):
        raise StoreError(f"{path / folder.FILE} is damaged: run the same `study` command again.") from None
    under: list[tuple[Trial, Side]] = []
    missing: list[str] = []
    damaged: list[tuple[str, str]] = []
    for trial in trials:
        if trial is reference:
            continue
        if not (path / trial.name / "run.json").is_file():
            missing.append(trial.name)
            continue
        try:
            under.append((trial, read_side(path / trial.name)))
        except SapiensBenchError as error:
            damaged.append((trial.name, str(error).partition(". The `run` command")[0]))
    side = _reference_side(path, reference.name)
    study = StoredStudy(path, kind, reference, side, tuple(under), tuple(missing), seed, draws, tuple(damaged))
    if not under:
        raise StoreError(f"{path}: no condition of this study can be told: {study.incomplete}")
    return study


def _reference_side(path: Path, name: str) -> Side:
    """The run that every condition is compared with.

    Raises:
        StoreError: it is not there or cannot be read.
    """
    again = "The same `study` command computes again what is missing or damaged, and keeps the rest."
    if not (path / name / "run.json").is_file():
        raise StoreError(f"{path}: the run of its reference, {name}, is not there. {again}")
    try:
        return read_side(path / name)
    except StoreError as error:
        raise StoreError(f"{path}: the run of its reference, {name}, cannot be read ({error}). {again}") from None


def is_over_time(path: Path) -> bool:
    """Whether the study of a folder is one of frames in a row, ``study video``."""
    return folder.read(path).get("kind") == OVER_TIME


def told_over_time(path: Path, catalog: Catalog, *, n_draws: int, beside: Sequence[Motion] | None = None) -> Document:
    """The tables of a study of frames in a row, as ``study video`` tells them; truth is asked of the data set again.

    Args:
        beside: what the same models do on other frames in a row.

    Raises:
        StoreError: its run cannot be read. DataMissing: the frames are not on this machine.
    """
    from sapiens_bench.study import video_document

    found = motions(path, catalog, n_draws=n_draws)
    seed = int((folder.read(path).get("request") or {}).get("seed") or 0)
    known = realism.said(
        [(m.dataset, m.protocol) for m in found], catalog, is_beside=beside is not None, over_time=True
    )
    ranks = [] if beside is None else [realism.agreement_over_time(found, beside)]
    return video_document.document(
        found, n_draws=n_draws, seed=seed, facts={"folder": str(path)}, realism=known, beside=ranks
    )


def motions(path: Path, catalog: Catalog, *, n_draws: int) -> list[Motion]:
    """What models do over time in a study of frames in a row, or in any run over such frames that kept predictions.

    Raises:
        StoreError: there is no such run. UsageError: no frames in a row. DataMissing: they are not on this machine.
    """
    from sapiens_bench.engine.again import request_of
    from sapiens_bench.engine.plan import resolve
    from sapiens_bench.study import video

    place = path / str(folder.read(path).get("reference")) if is_study(path) else path
    request = request_of(read_run(place), out=place)
    return video.measure(resolve(request, catalog), n_draws=n_draws, seed=request.seed)


def draws_of(about: Mapping[str, Any]) -> int:
    """Bootstrap draws that a study was made to be told with; of one that does not say so, the usual number."""
    return int(about.get("draws") or OF_DIFFERENCES)


def _trial(entry: dict[str, Any]) -> Trial:
    name = str(entry["name"])
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(name)
    return Trial(name, str(entry["series"]), str(entry["level"]), dict(entry["change"]))


def measured(study: StoredStudy, *, n_draws: int, score: str = "") -> list[Profile]:
    """What each condition does to each model that sees one. See ``effects.profiles`` for ``score``."""
    found = effects.profiles(study.kind, study.side, study.under, n_draws=n_draws, seed=study.seed, score=score)
    return effects.sighted(found)


def told(
    study: StoredStudy,
    found: list[Profile],
    *,
    n_draws: int,
    complaints: Sequence[str] = (),
    beside: Side | None = None,
    pictures: tuple[Picture, ...] = (),
    catalog: Catalog | None = None,
) -> Document:
    """The study's tables.

    Args:
        found: as ``measured`` with the same draws.
        complaints: what kept a condition from being whole.
        beside: a run of the same models on photographs.
        pictures: its figure in files.
        catalog: whose cards say what is known of rendered people; that of the package when None.
    """
    said = [f"INCOMPLETE: {text}" for text in complaints]
    said += [f"INCOMPLETE: {study.incomplete}"] if study.incomplete else []
    said += effects.left_out(study.side, study.under, found)
    said += effects.misses(study.side, study.under)
    said += folder.not_measured(read_run(study.path / study.reference.name))
    facts = {"folder": str(study.path), "conditions": str(len(study.under)), "reference": study.reference.name}
    real = [] if beside is None else realism.agreement(found, beside)
    known = realism.said([p.place for p in found], catalog or Catalog.load([]), is_beside=bool(real))
    made = document(
        study.kind, found, n_draws=n_draws, seed=study.seed, facts=facts, notes=said, beside=real, realism=known
    )
    return replace(made, pictures=pictures)
