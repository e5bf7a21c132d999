"""The samples of a data set that pass a rule: an adapter over an adapter. A sample itself is not changed.

Axes: N boxes.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.selection.rule import BOX, PEOPLE, VERSION, Selection
from sapiens_bench.adapters.selection.watch import tell
from sapiens_bench.errors import SampleFault, UnknownName, UsageError
from sapiens_bench.types import Adapter, KnowsPeople, Materialised, Sample, Task

_AS_IT_IS = ("boxes", "boxes_sha256", "boxes_notes", "index")  # of the set below: not by the place of a sample
_BY_PLACE = ("identity", "image_id", "person_boxes", "target", "unseen")  # methods of one index
_BY_PLACES = ("materialise", "prepare", "box_quality")  # methods whose first argument is several


class Facts(NamedTuple):
    """What a rule may ask about a sample."""

    boxes: dict[str, list[float]]  # name of ``BOX`` -> value for each box
    sample: dict[str, float]  # name -> value


class Selected:
    """The samples of ``base`` that pass ``rule``, in their order, and those that cannot be judged.

    A sample whose label is at fault is kept: it is excluded from the scores as it is without a rule, and counted. What
    the set below can do with single samples (identity, materialise, ...) it can do here, by the places here.

    Args:
        task: whose targets the set gives.
        driven: the set's boxes drive the model; False where no box does, and people's boxes are looked at instead.
        workers: threads that read samples.

    Raises:
        UnknownName: the rule asks what is not known of this set.
        UsageError: no sample passes.
    """

    def __init__(self, base: Adapter, rule: Selection, task: Task, *, driven: bool = True, workers: int = 1) -> None:
        if isinstance(base, Materialised):
            name = _name_of(base)
            base.materialise(range(len(base)), workers, lambda done, total: tell(f"{name} (its files)", done, total))
        kept, remark = _passing(base, rule, task, driven, workers)
        self._of(base, rule, kept, remark)

    def _of(self, base: Adapter, rule: Selection, kept: Sequence[int], remark: str = "") -> None:
        """Become the samples ``kept`` of ``base``; ``remark`` goes behind how many they are."""
        self._base, self._rule, self.kept = base, rule, tuple(kept)
        self.keys: Sequence[str] = [base.keys[index] for index in kept]
        self.groups: Sequence[str] = [base.groups[index] for index in kept]
        self.base_manifest_sha256 = base.manifest_sha256
        covered = f"{base.manifest_sha256}\nselection {VERSION}\n{rule.text}\n{list(self.kept)}"
        self.manifest_sha256 = hashlib.sha256(covered.encode()).hexdigest()
        said = f"Selected by {rule.text}: {len(kept)} of {len(base)} images.{remark}"
        self.notes: tuple[str, ...] = (said, *_texts(getattr(base, "notes", ())))
        for name in _AS_IT_IS:
            if hasattr(base, name):
                setattr(self, name, getattr(base, name))
        for names, how in ((_BY_PLACE, self._at), (_BY_PLACES, self._at_all)):
            for name in names:
                if callable(method := getattr(base, name, None)):
                    setattr(self, name, partial(how, method))
        if hasattr(base, "without_pictures"):
            self.without_pictures = partial(self._without_pictures, base.without_pictures)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.kept):
            raise IndexError(index)
        return replace(self._base[self.kept[index]], index=index)

    def _at(self, method: Callable[..., Any], index: int) -> Any:
        return method(self.kept[index])

    def _at_all(self, method: Callable[..., Any], indices: Sequence[int], *args: Any) -> Any:
        return method([self.kept[index] for index in indices], *args)

    def _without_pictures(self, method: Callable[[], Adapter]) -> Selected:
        bare = object.__new__(Selected)
        bare._of(method(), self._rule, self.kept)
        bare.manifest_sha256 = self.manifest_sha256
        return bare


def _texts(notes: Any) -> tuple[str, ...]:
    return (notes,) if isinstance(notes, str) else tuple(notes or ())


def _passing(base: Adapter, rule: Selection, task: Task, driven: bool, workers: int) -> tuple[list[int], str]:
    """Indices of the samples that pass, or that cannot be judged; what else is to be said."""
    bare: Any = base.without_pictures() if hasattr(base, "without_pictures") else base
    best: defaultdict[str, list[float]] = defaultdict(list)
    asks_more = any(test.name != PEOPLE for test in rule.of_sample)

    def judged(index: int) -> bool | None:
        try:
            facts = _facts(base, bare, index, task, driven, asks_more)
        except SampleFault:
            return None
        _check_names(rule, facts)
        for name, value in {**{n: max(v, default=math.nan) for n, v in facts.boxes.items()}, **facts.sample}.items():
            best[name].append(value)  # one list, whose order does not matter
        return rule.keeps(facts.boxes, facts.sample)

    name = _name_of(base)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        verdicts = []
        for verdict in pool.map(judged, range(len(base))):
            verdicts.append(verdict)
            tell(name, len(verdicts), len(base))
    if not any(verdicts):
        raise UsageError(f"--select {rule.text!r} selects none of {len(base)} images. {_seen(rule, best)}")
    n_unjudged = sum(verdict is None for verdict in verdicts)
    remark = f" {n_unjudged} of them cannot be judged and stay, to be excluded by their fault." if n_unjudged else ""
    if any(test.name == "box_score" for test in rule.tests) and set(best["box_score"]) <= {1.0}:
        remark += " Every box is one of the annotations, whose box_score is 1."
    return [index for index, verdict in enumerate(verdicts) if verdict is not False], remark


def _name_of(base: Adapter) -> str:
    return next(iter(base.keys), "").partition("/")[0]


def _check_names(rule: Selection, facts: Facts) -> None:
    known = [*(facts.boxes or ()), *facts.sample]
    for test in rule.tests:
        if test.name not in known:
            hint = f"Known of this data set under its protocol: {', '.join(known)}."
            raise UnknownName("attribute of --select", test.name, known, hint)


def _seen(rule: Selection, values: Mapping[str, list[float]]) -> str:
    """From where to where the values reach that the rule asks about."""
    parts = []
    for name in dict.fromkeys(test.name for test in rule.tests):
        known = [value for value in values[name] if not math.isnan(value)]
        reach = f"from {min(known):g} to {max(known):g}" if known else "unknown everywhere"
        parts.append(f"{name} is {reach}" + (" (the largest of each image)" if name in BOX and known else ""))
    return f"{'; '.join(parts)}."


def _facts(base: Adapter, bare: Adapter, index: int, task: Task, driven: bool, asks_more: bool) -> Facts:
    """What is known of a sample.

    Args:
        asks_more: than boxes and people; what the data set knows about a picture (``Sample.about``) then takes opening
            it.

    Raises:
        SampleFault: its label is at fault.
    """
    own = base.person_boxes(index) if isinstance(base, KnowsPeople) else None
    needs_sample = asks_more or own is None or task.attributes is not None or not task.kind.is_whole_image
    sample = bare[index] if needs_sample else None
    told = {} if sample is None else {n: v for n, v in sample.about.items() if not isinstance(v, str)}
    if sample is not None and task.attributes is not None:
        told |= task.attributes(sample.target)
    people = own
    if people is None and sample is not None and task.person_boxes is not None:
        people = task.person_boxes(sample.target)
    if own is not None:
        told[PEOPLE] = float(len(own))
    if sample is not None and driven and not task.kind.is_whole_image:
        return Facts(_box_values(sample.input.boxes_xyxy_px, sample.input.box_scores), told)
    return Facts({} if people is None else _box_values(people, np.ones(len(people))), told)


def _box_values(boxes_N4: NDArray[np.floating], scores_N: NDArray[np.floating]) -> dict[str, list[float]]:
    sides_N2 = boxes_N4[:, 2:].astype(np.float64) - boxes_N4[:, :2]
    columns = (scores_N.astype(np.float64), sides_N2.min(axis=1), sides_N2.max(axis=1))
    return {name: column.tolist() for name, column in zip(BOX, columns, strict=True)}
