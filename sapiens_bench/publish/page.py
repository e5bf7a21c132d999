"""Run folders -> the page as plain data: tables, comparisons, plots, gallery and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.agreement import require_agreement
from sapiens_bench.decide.sides import Member, read_side
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import ShardDamaged, UsageError
from sapiens_bench.publish import dense_groups, overview, pose_groups
from sapiens_bench.publish.best import told_from_noise
from sapiens_bench.publish.gallery import MOST_MODELS, case_id, gallery
from sapiens_bench.publish.layers import colours_of, is_drawn, map_layers, pose_layers
from sapiens_bench.publish.pairwise import Contest, contest
from sapiens_bench.publish.place import Place
from sapiens_bench.publish.provenance import provenance
from sapiens_bench.publish.ranking import Ranking, map_ranking, pose_ranking
from sapiens_bench.report import figures, html
from sapiens_bench.report.figures import Curve
from sapiens_bench.report.page import Gallery, Group, Page, Part
from sapiens_bench.report.table import Block
from sapiens_bench.report.tables import build
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.store.record import RunRecord

MOST_POINTS = 160  # of a curve
MOST_DRAWN = 20_000_000  # rows x draws of the comparison in pairs
NO_ROWS = "A record without its rows/ folder: its scores are shown as they are told, nothing is compared."
Run = tuple[str, Path, RunRecord]  # label, folder, record


@dataclass(frozen=True)
class Choices:
    """What the user decides about a page."""

    with_pictures: bool = False  # embed pictures, truth and maps of data sets whose licence does not allow it by itself
    data_root: Path | None = None


def page(runs: Sequence[Run], catalog: Catalog, choices: Choices | None = None) -> Page:
    """The page of one run, or of several under each other.

    Raises:
        StoreError: rows cannot be read.
        UsageError: two runs scored the same data set and protocol on other data or in another way; names the field.
    """
    chosen = choices or Choices()
    parts: list[Part] = []
    incomplete: list[str] = []
    sides = [_members(root) for _, root, _ in runs]
    _refuse_unlike(runs, sides)
    for number, ((label, root, record), members) in enumerate(zip(runs, sides)):
        builder = _Builder(root, record, catalog, members, chosen, f"r{number}")
        table = build(record, catalog, told_from_noise(record, root, members))
        named = f"{label}: " if len(runs) > 1 else ""
        incomplete += [named + table.incomplete] if table.incomplete else []
        measured = {(m.dataset, m.protocol) for m in members}
        for position, block in enumerate(table.blocks):
            groups = (
                builder.groups(block, f"r{number}b{position}") if (block.dataset, block.protocol) in measured else ()
            )
            title = f"{label} · {block.title}" if len(runs) > 1 else block.title
            alone = replace(table, blocks=(replace(block, title=title),))
            parts.append(Part(f"r{number}b{position}", alone, tuple(groups)))
    tasks = list(dict.fromkeys(record.task for _, _, record in runs))
    heading = ", ".join(html.heading(task) for task in tasks)
    legends = dict.fromkeys(text for part in parts for text in (*part.table.legend, *part.table.notes))
    return Page(
        title=f"sapiens-bench: {', '.join(tasks)}",
        heading=heading,
        incomplete="; ".join(incomplete),
        parts=tuple(parts),
        notes=(*legends, *([NO_ROWS] if not all((root / "rows").is_dir() for _, root, _ in runs) else [])),
        provenance=provenance(runs),
        facts={"command": runs[0][2].command} if len(runs) == 1 and runs[0][2].command else {},
    )


def _members(root: Path) -> tuple[Member, ...]:
    """The measured cells with their rows; none of a record that was sent without them."""
    if not (root / "rows").is_dir():
        return ()
    try:
        return read_side(root).members
    except UsageError:  # nothing was measured
        return ()


def _refuse_unlike(runs: Sequence[Run], sides: Sequence[Sequence[Member]]) -> None:
    first: dict[tuple[str, str, str], tuple[str, Member]] = {}
    for (label, _, _), members in zip(runs, sides):
        for member in members:
            known = first.setdefault((member.task, *member.place), (label, member))
            if known[1] is not member:
                require_agreement(known[1], member, known[0], label)


class _Builder:
    """The groups of the blocks of one run."""

    def __init__(
        self, root: Path, record: RunRecord, catalog: Catalog, members: Sequence[Member], choices: Choices, prefix: str
    ) -> None:
        self._root, self._record, self._catalog = root, record, catalog
        self._members, self._choices = members, choices

    def _contest(self, place: tuple[str, str], order: Mapping[str, int]) -> Contest | None:
        """The models of a place in the order of its table, with draws for every pair; None without intervals."""
        members = sorted((m for m in self._members if m.place == place), key=lambda m: order[m.model])
        n_boot = int(self._record.request.get("n_boot") or 0)
        if not members or not n_boot:
            return None
        most = max(n_boot, MOST_DRAWN // max(1, max(m.rows.num_rows for m in members)))
        n_draws = min(most, draws_for(len(members) * (len(members) - 1) // 2, n_boot))
        return contest(members, Draws(n_draws, self._record.seeds.get("bootstrap", 0)))

    def groups(self, block: Block, prefix: str) -> list[Group]:
        """Intervals, comparison, cost, details and gallery of a block."""
        order = {row.model: i for i, row in enumerate(block.rows)}
        chosen = sorted(
            (m for m in self._members if m.place == (block.dataset, block.protocol)), key=lambda m: order[m.model]
        )
        cells = {c.model: c for c in self._record.cells if (c.dataset, c.protocol) == (block.dataset, block.protocol)}
        place = Place(
            self._root, self._record, self._catalog, [cells[m.model] for m in chosen], chosen, self._choices.data_root,
            self._choices.with_pictures,
        )  # fmt: skip
        found = [self._comparison(block, order, prefix)]
        if costs := overview.cost_figures(block, prefix):
            found.append(Group(f"{prefix}-cost", "Accuracy and cost", tuple(costs)))
        found += _details(place, prefix)
        return found

    def _comparison(self, block: Block, order: Mapping[str, int], prefix: str) -> Group:
        compared = self._contest((block.dataset, block.protocol), order)
        notes = () if compared is not None else (_why_no_matrix(block, self._record),)
        matrix = overview.matrix(compared, block.headline) if compared is not None and block.headline else None
        drawn = tuple(overview.interval_figures(block, prefix))
        return Group(f"{prefix}-comparison", "Comparison", drawn, notes=tuple(n for n in notes if n), matrix=matrix)


def _why_no_matrix(block: Block, record: RunRecord) -> str:
    if not record.request.get("n_boot"):
        return "Models are not compared in pairs: the run was made without intervals (--n-boot 0)."
    return "Models are not compared in pairs: that needs two complete ones." if len(block.measured) > 1 else ""


def _details(place: Place, prefix: str) -> list[Group]:
    """What the task has of its own, and the gallery."""
    if place.task.name == "pose":
        try:
            models = pose_groups.pose_models(place) if place.data is not None else []
        except ShardDamaged as error:
            place.why_not.append(f"Predictions cannot be shown: {error}")
            models = []
        found = pose_groups.groups(place, models, prefix)
        if not models:
            return [*found, *_notes(place, prefix)]
        ranking = pose_ranking(place, models)
        shown = gallery(place, ranking, pose_layers(place, models), prefix, place.why_not)
        return [*found, _gallery_group(place, ranking, shown, prefix)]
    found = dense_groups.groups(place, prefix)
    ranking = map_ranking(place)
    legend = list(zip(place.task.names, colours_of(place))) if place.task.name == "seg" else []
    shown = gallery(place, ranking, map_layers(place), prefix, [*place.why_not, *_map_notes(place)], legend)
    return [*found, _gallery_group(place, ranking, shown, prefix)]


def _notes(place: Place, prefix: str) -> list[Group]:
    notes = tuple(dict.fromkeys(place.why_not))
    return [Group(f"{prefix}-images", "Images", notes=notes)] if notes else []


def _map_notes(place: Place) -> list[str]:
    if not is_drawn(place.task.name):
        return [f"There is no drawing of {place.task.name}: only pictures are shown."]
    if place.task.kind.codec is None or place.record.request.get("save_maps"):
        return []
    return ["The run kept no maps of its predictions (--save-maps): only pictures and truth are shown."]


def _gallery_group(place: Place, ranking: Ranking, shown: Gallery, prefix: str) -> Group:
    """The gallery under the curve of all images, whose points lead to the cases."""
    titles = {member.model: (i, member.title) for i, member in enumerate(place.members)}
    there = {case.id for case in shown.cases}
    curves = []
    for model, values in list(ranking.values.items())[:MOST_MODELS]:
        order = np.flatnonzero(np.isfinite(values))
        order = order[np.argsort(values[order], kind="stable")]
        n = len(order)
        at = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(np.int64)) if n else order
        share = 100 * (np.arange(n) + 0.5) / max(1, n)
        ids = [case_id(prefix, i) for i in order.tolist()]
        shown_values = ranking.scale * values[order]
        links = tuple(
            (float(x), float(y), case) for x, y, case in zip(share, shown_values, ids, strict=True) if case in there
        )
        series, title = titles[model]
        curves.append(Curve(title, share[at], shown_values[at], series, links))
    caption = "Every image, sorted; points lead to the pictures below." if there else "Every image, sorted."
    drawn = figures.lines(f"{prefix}-images", "Score of each image", "% of the images", ranking.title, curves, caption)
    return Group(f"{prefix}-gallery", "Gallery", (drawn,), gallery=shown)
