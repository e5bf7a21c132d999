"""A study as one page: its tables, the figure, and the worst level of each thing changed with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide import wording
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.study_page import StudyPage, StudyPart, Worst
from sapiens_bench.study.document import SURE, interval, sheets_of
from sapiens_bench.study.effects import Profile
from sapiens_bench.study.figure import unit_of
from sapiens_bench.study.panels import keys, panels
from sapiens_bench.study.pictures import Loss, Shown, pairs, worst_level, worst_levels
from sapiens_bench.study.stored import StoredStudy


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where pictures come from."""

    catalog: Catalog
    data_root: Path | None = None  # where the runs found them when None
    embed: bool = False  # also those of data sets whose licence does not allow it by itself


def page(study: StoredStudy, found: Sequence[Profile], told: Document, pictures: Pictures) -> StudyPage:
    """The page of a study.

    Args:
        found: its profiles.
        told: its tables, as other formats have them: heading, notes, facts and what lies beside come from there.
    """
    places = [list(members) for _, members in groupby(found, key=lambda p: p.place)]
    parts = tuple(_part(study, members, f"p{number}", pictures) for number, members in enumerate(places))
    heading = told.title.partition(": ")[2] or told.title
    n_own = sum(sum(1 for _ in sheets_of(members)) for members in places)
    return StudyPage(
        heading=heading[:1].upper() + heading[1:],
        incomplete=tuple(note for note in told.notes if note.startswith("INCOMPLETE")),
        parts=parts,
        beside=told.sheets[n_own:],
        notes=tuple(note for note in told.notes if not note.startswith("INCOMPLETE")),
        facts=dict(told.facts),
    )


def _part(study: StoredStudy, found: Sequence[Profile], prefix: str, pictures: Pictures) -> StudyPart:
    summary, *others = sheets_of(found)
    conditions = tuple(others[len(others) - len(found) :])
    return StudyPart(
        id=prefix,
        summary=summary,
        panels=panels(found, prefix),
        unit=unit_of(found[0]),
        keys=keys(found),
        sensitivity=others[0] if len(others) > len(found) else None,
        worst=tuple(_worst(study, found, prefix, pictures)),
        conditions=conditions,
    )


def _worst(study: StoredStudy, found: Sequence[Profile], prefix: str, pictures: Pictures) -> list[Worst]:
    where = found[0].place
    about = where, pictures.catalog, pictures.data_root, pictures.embed
    reference = Shown(study.path / study.reference.name, study.side, *about)
    sides = {trial.name: side for trial, side in study.under}
    made = []
    for number, (series, loss) in enumerate(worst_levels(found).items()):
        id_, title = f"{prefix}-w{number}", series.replace("_", " ")
        if loss is None:
            made.append(Worst(id_, f"{title}: costs nobody anything", _levels(found, series), ()))
            continue
        name = loss.effect.trial.name
        shown, notes = pairs(reference, Shown(study.path / name, sides[name], *about), loss, id_)
        made.append(
            Worst(
                id_,
                f"{title} at {loss.effect.trial.level.replace('_', ' ')}, {loss.profile.title}",
                _levels(found, series),
                tuple(shown),
                tuple(notes),
            )
        )
    return made


def _levels(found: Sequence[Profile], series: str) -> Sheet:
    """Each model's own worst level."""
    rows, bold = [], []
    for number, p in enumerate(found):
        effect = worst_level(p, series)
        rows.append(_row(p, None if effect is None else Loss(p, effect)))
        if effect is not None and effect.p_holm <= SURE:
            bold.append((number, 4))
    unit = f"{found[0].info.title} %" if found[0].info.percent else wording.unit(found[0].info)
    heads = ("Model", "Worst level", "Reference", unit, "Change", "95 % interval", "Holm p")
    return Sheet("", heads, tuple(rows), left=(0, 1), bold=bold)


def _row(p: Profile, loss: Loss | None) -> tuple[str, ...]:
    if loss is None:
        return (p.title, "none costs anything", wording.shown(p.reference, p.info), *[UNDEFINED] * 4)
    e, change = loss.effect, loss.effect.found
    places = wording.digits(change.difference, p.info)
    return (
        p.title, e.trial.level.replace("_", " "), wording.shown(p.reference, p.info), wording.shown(change.b, p.info),
        wording.shown(change.difference, p.info, places), interval(change, p.info), wording.p_text(e.p_holm),
    )  # fmt: skip
