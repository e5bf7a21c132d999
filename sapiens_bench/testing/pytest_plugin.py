"""The pytest fixture ``sapiens_bench_gate``; found through the entry point ``pytest11``.

Every pytest of an environment loads this file, so it imports nothing until the fixture is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sapiens_bench.decide.gate import Outcome


@pytest.fixture
def sapiens_bench_gate() -> Callable[..., Outcome]:
    """Judge a run in a test: ``sapiens_bench_gate("baseline.parquet", "runs/now")`` fails the test when it is closed.

    Keywords: ``spec`` (path of a gate.yaml), ``models`` (ids), ``require_equal`` (``"0.5"`` or ``"1%"``). What the
    command line refuses fails the test too, with the same message. The outcome is returned.
    """
    return _gate


def _gate(
    base: Path | str,
    cand: Path | str,
    *,
    spec: Path | str | None = None,
    models: Sequence[str] = (),
    require_equal: str | None = None,
) -> Outcome:
    __tracebackhide__ = True
    from sapiens_bench.decide.gate import gate
    from sapiens_bench.decide.gate_report import message
    from sapiens_bench.decide.sides import read_side
    from sapiens_bench.decide.spec import read_spec, requiring_equal
    from sapiens_bench.errors import SapiensBenchError

    try:
        asked = read_spec(None if spec is None else Path(spec))
        asked = asked.model_copy(update={"models": tuple(models)}) if models else asked
        asked = asked if require_equal is None else requiring_equal(asked, require_equal)
        outcome = gate(read_side(Path(base)), read_side(Path(cand)), asked)
    except SapiensBenchError as error:
        pytest.fail(str(error), pytrace=False)
    if outcome.incomplete:
        pytest.fail(f"INCOMPLETE: {outcome.incomplete}. Nothing is decided.", pytrace=False)
    if outcome.is_closed:
        pytest.fail(message(outcome), pytrace=False)
    return outcome
