"""What a study is: a reference and named conditions over one base request, each an ordinary run in its own folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.conditions.condition import CORRUPTIONS, LEVELS, RESOLUTION
from sapiens_bench.adapters.synthetic.humans import SPLITS
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.render.factors import AS_DRAWN, Factor
from sapiens_bench.render.factors import FACTORS as OF_SCENE
from sapiens_bench.render.scene import CLIPS
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.tasks import task_kind

KINDS = ("corruption", "factor", "boxes", "resolution", "video")
SIDES_PX = (256, 192, 128, 96, 64, 48, 32)
MOST_SIDE_PX = 2048
RENDERED, FACTOR_SPLIT = "synthetic-humans", "study"
BOXES = ("jitter:0.1", "jitter:0.2", "jitter:0.3", "jitter:0.4")
# Of study factor. Resolution is done to the picture, as by study resolution: levels halve the pixels, then lie between;
# the scene is as drawn.
_SIZES = Factor("pixels along the shorter side", lambda _: AS_DRAWN, ("256", "128", "64", "32", "192", "96", "48"))
_COLOURS = {name: each for name, each in OF_SCENE.items() if each.to_redraw(each.levels(2)[0]).is_appearance}
FACTORS = {**_COLOURS, RESOLUTION: _SIZES, **OF_SCENE}
OTHER_NAMES = {"gender_presentation": "gender_shape", "gender": "gender_shape", "number_of_people": "people"}


@dataclass(frozen=True, slots=True)
class Trial:
    """One condition."""

    name: str  # of its folder, e.g. "blur-3"
    series: str  # what is changed, e.g. "blur"
    level: str  # how much, e.g. "3"
    change: Mapping[str, Any]  # fields of the request that differ from the base


@dataclass(frozen=True, slots=True)
class Study:
    """All conditions of one question."""

    kind: str  # of KINDS
    base: Request
    reference: Trial
    trials: tuple[Trial, ...]
    draws: int = OF_DIFFERENCES  # of the bootstrap that tells it, unless another number is asked for then

    @property
    def all(self) -> tuple[Trial, ...]:
        """The reference first."""
        return (self.reference, *self.trials)

    def request(self, trial: Trial, out: Path | None) -> Request:
        """The run of one condition. Its scores need no intervals of their own: differences have them."""
        return replace(self.base, **trial.change, out=out)


def corruption(base: Request, names: Sequence[str] = (), severities: Sequence[int] = ()) -> Study:
    """Every corruption that the task can see, at every severity.

    Raises:
        UnknownName: no such corruption. UsageError: no such severity, or one that moves boxes of a task without any.
    """
    whole = task_kind(base.task).is_whole_image
    if unknown := [name for name in names if name not in CORRUPTIONS]:
        raise UnknownName("corruption", unknown[0], CORRUPTIONS, is_whole=True)
    if blind := [name for name in names if CORRUPTIONS[name][1] and whole]:
        raise UsageError(
            f"--only {blind[0]}: it moves boxes, and {base.task} models see the whole picture: nothing would change."
        )
    chosen = [name for name in CORRUPTIONS if (not names or name in names) and not (CORRUPTIONS[name][1] and whole)]
    levels = list(severities) or list(range(1, LEVELS + 1))
    if wrong := [level for level in levels if not 1 <= level <= LEVELS]:
        raise UsageError(f"--severities {wrong[0]}: severities are 1 (slight) to {LEVELS} (severe).")
    trials = [
        Trial(f"{name}-{level}", name, str(level), {"condition": {"name": name, "level": level, "seed": base.seed}})
        for name in chosen
        for level in sorted(set(levels))
    ]
    return Study("corruption", base, Trial("clean", "clean", "0", {}), tuple(trials))


def resolution(base: Request, sides_px: Sequence[int] = ()) -> Study:
    """Less and less detail: the picture as if its shorter side had so many pixels.

    Raises:
        UsageError: a side is below 8 pixels, or above what any model sees.
    """
    sides = sorted(set(sides_px or SIDES_PX), reverse=True)
    if sides[-1] < 8:
        raise UsageError(f"--sides {sides[-1]}: give sides of 8 pixels or more.")
    if sides[0] > MOST_SIDE_PX:
        raise UsageError(
            f"--sides {sides[0]}: no model here is given more than {MOST_SIDE_PX} pixels along the shorter side, and "
            "pictures that have fewer stay as they are: such a condition is the reference again."
        )
    trials = [
        Trial(f"side-{side}", RESOLUTION, str(side), {"condition": {"name": RESOLUTION, "level": side}})
        for side in sides
    ]
    return Study("resolution", base, Trial("full", RESOLUTION, "full", {}), tuple(trials))


def boxes(base: Request, sources: Sequence[str] = ()) -> Study:
    """Other person boxes than the ground truth's.

    Raises:
        UsageError: the task sees whole pictures.
    """
    if task_kind(base.task).is_whole_image:
        raise UsageError(f"study boxes: {base.task} models see the whole picture; boxes change nothing. Use pose.")
    # A comma may be part of a source ("jitter:0.1,7"): only one before another source parts two of them.
    named = [part for source in sources or BOXES for part in re.split(r",(?=jitter:|detector:|gt(?:,|$))", source)]
    chosen = [source for source in dict.fromkeys(named) if source != "gt"]
    if not chosen:
        raise UsageError("study boxes: name at least one box source beside gt, e.g. --boxes jitter:0.2.")
    trials = [
        Trial(_folder(source), source.partition(":")[0], source.partition(":")[2] or source, {"boxes": source})
        for source in chosen
    ]
    return Study("boxes", base, Trial("gt", "gt", "gt", {"boxes": "gt"}), tuple(trials))


def factor(base: Request, names: Sequence[str], levels: str = "5", pairs: int = 200) -> Study:
    """Rendered people, one factor of the scene set to a level at a time, against the same pictures as drawn.

    Args:
        names: factors; "all" for every one.
        levels: how many, or their names (one factor only).
        pairs: pictures; people of split ``study``, who are in no other.

    Raises:
        UnknownName: no such factor or level. UsageError: a data set that is not rendered, too many levels or pairs.
    """
    names = list(dict.fromkeys(_factor_name(name) for name in names))
    if other := [name for name in base.datasets if name != RENDERED]:
        hint = f" For its resolution: study resolution --dataset {other[0]}." if RESOLUTION in names else ""
        raise UsageError(f"study factor renders {RENDERED}; {other[0]} has no factors that could be set.{hint}")
    split = base.split or FACTOR_SPLIT
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if split == CLIPS:
        raise UsageError("--split clips: frames of a clip are rendered as drawn; `study video` is for them.")
    if not 2 <= pairs <= SPLITS[split]:
        raise UsageError(f"--pairs {pairs}: give 2 to {SPLITS[split]}, the pictures of split {split}.")
    if not names:
        raise UsageError(f"Say which factor with --factor: {', '.join(FACTORS)}, or all.")
    if unknown := [name for name in names if name not in (*FACTORS, "all")]:
        raise UnknownName("factor", unknown[0], (*FACTORS, "all"), is_whole=True)
    chosen = list(FACTORS) if "all" in names else list(names)
    trials = [
        Trial(f"{name}-{level}", name, level, _change(base, name, level))
        for name in chosen
        for level in _levels(name, levels, alone=len(chosen) == 1)
    ]
    rendered = replace(base, datasets=(RENDERED,), split=split, limit=pairs)
    return Study("factor", rendered, Trial("as-drawn", "as drawn", "as drawn", {}), tuple(trials))


def _factor_name(text: str) -> str:
    """The name of a factor as it is written here: of "Skin tone", "gender-presentation"."""
    name = text.strip().lower().replace(" ", "_").replace("-", "_")
    return OTHER_NAMES.get(name, name)


def _change(base: Request, name: str, level: str) -> Mapping[str, Any]:
    if name == RESOLUTION:
        return {"condition": {"name": RESOLUTION, "level": int(level)}}
    return {"data_options": {**base.data_options, "factor": f"{name}={level}"}}


def _levels(name: str, text: str, *, alone: bool) -> Sequence[str]:
    about = FACTORS[name]
    if text.strip().isdecimal():
        n = int(text)
        chosen = about.levels(n if alone else min(n, len(about.names) or n))
        return sorted(chosen, key=int, reverse=True) if name == RESOLUTION else chosen
    if not alone:
        raise UsageError(f"--levels {text}: name levels for one --factor; for several give how many, e.g. --levels 5.")
    named = [part.strip() for part in text.split(",") if part.strip()]
    for level in named:
        about.check(name, level)
    return list(dict.fromkeys(named))


def _folder(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in text)[:80]
