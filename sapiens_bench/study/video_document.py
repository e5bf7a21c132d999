"""The video study as tables and as numbers for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from sapiens_bench.decide import wording
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.study.folder import SCHEMA
from sapiens_bench.study.video import MEASURES, Motion, lacking

_EXPLAINED = {
    "pose": (
        "Position, velocity, acceleration: mean length of the error of each against the true motion, over labelled "
        "points. Jitter: standard deviation along one axis of noise that is new in every frame, from second "
        "differences of the error (median point); an error that stays or grows evenly counts nothing."
    ),
    "seg": "Flicker: pixels of people whose predicted label changes between two frames although the true one does not.",
    "depth": (
        "Drift: standard deviation over a sequence of the scale that each frame's own fit finds, and of where the fit "
        "puts the prediction's mean; both over their means."
    ),
    "normal": "Flicker: degrees by which predictions turn between two frames where the true normal stands still.",
}


def document(
    found: Sequence[Motion],
    *,
    n_draws: int,
    seed: int,
    facts: dict[str, str],
    realism: Sequence[str] = (),
    beside: Sequence[Sheet] = (),
) -> Document:
    """What every model does over time, for any format.

    Args:
        realism: what is known of how models do on real frames, see ``realism.said``.
        beside: how they rank there.
    """
    sheets = [_sheet(list(members)) for _, members in groupby(found, key=lambda m: (m.dataset, m.protocol))]
    return Document(
        title="sapiens-bench study: over time",
        sheets=(*sheets, *beside),
        facts=facts,
        notes=(*_notes(found, n_draws, seed), *realism),
        data={
            "schema": SCHEMA,
            "kind": "video",
            "realism_known": list(realism),
            "draws": n_draws,
            "seed": seed,
            **{name: value for name, value in facts.items() if name == "folder"},
            "motions": [
                {
                    **{key: value for key, value in asdict(m).items() if key != "values"},
                    "values": {k: {"value": v, "low": low, "high": high} for k, (v, low, high) in m.values.items()},
                }
                for m in found
            ],
        },
    )


def _sheet(found: Sequence[Motion]) -> Sheet:
    first = found[0]
    return Sheet(
        title=f"{first.dataset} · {first.protocol} · {first.n_sequences} sequences, {first.n_frames} frames, "
        f"{first.n_groups} groups",
        heads=("Model", *(head for _, head in MEASURES[first.task])),
        rows=tuple((m.title, *(_shown(*m.values[key]) for key, _ in MEASURES[m.task])) for m in found),
        left=(0,),
    )


def _shown(value: float, low: float, high: float) -> str:
    if value != value:
        return UNDEFINED
    ends = f" [{low:.2f}, {high:.2f}]" if low == low else ""
    return f"{value:.2f}{ends}"


def _notes(found: Sequence[Motion], n_draws: int, seed: int) -> Iterator[str]:
    yield _EXPLAINED[found[0].task]
    yield f"Means over sequences; intervals: bootstrap over groups, {n_draws} draws, seed {seed}."
    yield "Lower is better everywhere, and a model that always answers alike has no flicker: read it beside scores."
    yield from wording.few_groups((m.n_groups for m in found), "intervals")
    yield from lacking(found)
