"""``--select 'box_score>0.9,box_px>300'``: tests that all must hold, as plain data that a fingerprint can hold."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sapiens_bench.errors import UsageError

VERSION = 1  # raised whenever a rule can keep other samples

# Of one box. The side is the shorter one: the rule that Humans-300M was gathered by, "detection score above 0.9 and
# bounding box dimensions exceeding 300 pixels" (Khirodkar et al., Sapiens, ECCV 2024, section 3.1), asks it of both.
BOX: dict[str, str] = {
    "box_score": "a detector's confidence in the box; 1 for a box of the annotations",
    "box_px": "shorter side of the box, in pixels of the original picture",
    "box_long_px": "longer side of the box",
}
PEOPLE = "people"  # how many are annotated and scored

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
_TEST = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|!=|==|=|>|<)\s*([-+.0-9eE]+)\s*")
_FORM = "write NAME OP NUMBER, joined by commas, as in 'box_score>0.9,box_px>300' (OP: > >= < <= = !=)"


@dataclass(frozen=True, slots=True, order=True)
class Test:
    """One comparison with a number."""

    name: str
    op: str
    value: float

    @property
    def text(self) -> str:
        """``"box_px>300"``."""
        return f"{self.name}{self.op}{int(self.value) if self.value.is_integer() else repr(self.value)}"

    def holds(self, value: float) -> bool:
        """Whether it is true of ``value``; nothing is true of NaN, not even ``!=``."""
        return not math.isnan(value) and _COMPARE[self.op](value, self.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Tests that a sample must pass, in one order whatever order they were written in."""

    tests: tuple[Test, ...]

    @property
    def text(self) -> str:
        """``"box_px>300,box_score>0.9"``."""
        return ",".join(test.text for test in self.tests)

    @property
    def of_box(self) -> tuple[Test, ...]:
        """Those that one and the same box must pass."""
        return tuple(test for test in self.tests if test.name in BOX)

    @property
    def of_sample(self) -> tuple[Test, ...]:
        """Those about the sample as a whole."""
        return tuple(test for test in self.tests if test.name not in BOX)

    def keeps(self, boxes: Mapping[str, list[float]], sample: Mapping[str, float]) -> bool:
        """Whether a sample passes: one of its boxes passes every test of a box, the sample all the others.

        Args:
            boxes: name of ``BOX`` -> its value for each box, in the same order.
            sample: name -> value; must hold every name of ``of_sample``.
        """
        n = len(next(iter(boxes.values()), []))
        any_box = not self.of_box or any(all(t.holds(boxes[t.name][i]) for t in self.of_box) for i in range(n))
        return any_box and all(test.holds(sample[test.name]) for test in self.of_sample)


def read_selection(text: str) -> Selection | None:
    """The rule that ``text`` writes; None for "".

    Raises:
        UsageError: it is not made of comparisons with finite numbers.
    """
    if not text:
        return None
    tests: set[Test] = set()
    for part in text.split(","):
        found = _TEST.fullmatch(part)
        if found is None:
            raise UsageError(f"--select {text!r}: {part.strip()!r} is no test; {_FORM}.")
        tests.add(Test(found[1], found[2].replace("==", "="), _number(found[3], text)))
    return Selection(tuple(sorted(tests)))


def _number(digits: str, text: str) -> float:
    try:
        value = float(digits)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--select {text!r}: {digits!r} is no number; {_FORM}.")
    return value
