"""All hostile files at once, and the figures that follow."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fault_suite.hostile import annotations, archives, arrays, cards, checkpoints, pictures, results
from fault_suite.hostile.place import Case, Found, Place

KINDS: dict[str, ModuleType] = {
    "pictures": pictures,
    "annotations": annotations,
    "results": results,
    "arrays": arrays,
    "checkpoints": checkpoints,
    "cards": cards,
    "archives": archives,
}


@dataclass
class Verdict:
    """What came of the files, and of the folder beside them."""

    place: Place
    found: dict[str, Found]

    @property
    def wrong(self) -> list[tuple[Case, Found | None]]:
        """Cases that came out otherwise than wanted, or whose message names no file."""
        pairs = [(case, self.found.get(case.id)) for case in self.place.cases]
        return [(case, f) for case, f in pairs if f is None or f.got != case.wanted or not f.names_file]

    @property
    def tracebacks(self) -> list[str]:
        """Commands that showed one, or ended as a defect of ours."""
        return [" ".join(c.arguments) for c in self.place.calls if "Traceback" in c.said or c.code == 70]

    def figures(self) -> dict[str, Any]:
        """As they stand in the JSON file."""
        return {
            "injected": len(self.place.cases),
            "handled": len(self.place.cases) - len(self.wrong),
            "canary_executions": int(self.place.canary.exists()),
            "escapes": len(self.place.escapes()),
            "silent_score_changes": sum(f.got.startswith("raises") for f in self.found.values()),
            "tracebacks_shown": len(self.tracebacks),
            "slowest_s": round(max(call.seconds for call in self.place.calls), 1),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "wrong": [f"{case.id}: wanted {case.wanted}, got {f.got if f else 'nothing'}" for case, f in self.wrong],
        }


def judged(root: Path, kinds: Sequence[str] = tuple(KINDS), every: int = 1) -> Verdict:
    """Make the files of these kinds and send them through the commands.

    Args:
        every: of the annotation files only every so many-th.
    """
    place, found = Place(root), dict[str, Found]()
    for kind in kinds:
        KINDS[kind].make(place)
    if every > 1:
        kept = {case.id for case in place.of("annotation")[::every]}
        place.cases = [case for case in place.cases if case.kind != "annotation" or case.id in kept]
    for kind in kinds:
        found |= KINDS[kind].judge(place)
    return Verdict(place, found)
