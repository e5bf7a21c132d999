"""docs/performance.md is what docs/performance.json says, goals that are missed with their reasons."""

from __future__ import annotations

import importlib
import json
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("performance_page")


def line(**changes: Any) -> dict[str, Any]:
    sound = {"topic": "Speed", "what": "a thing", "value": 31.4159, "low": 30.0, "high": 33.3, "unit": "x",
             "beside": "2 s", "at_least": 30, "at_most": None, "is_met": True, "if_missed": ""}  # fmt: skip
    return sound | changes


def stored(*lines: dict[str, Any], load: str = "0.5") -> dict[str, Any]:
    machine = {"processor": "A chip", "cores": "2", "load": load, "versions": "numpy 2"}
    return {"files": {"one": {"machine": machine, "lines": list(lines)}}}


def test_a_line_has_figure_spread_goal_and_verdict(tool: ModuleType) -> None:
    text = tool.page(stored(line()))
    assert "| a thing | 31.4x | 30–33.3 | ≥ 30 | met | 2 s |" in text
    assert "Of 1 goals 1 are met." in text
    assert "Why goals are missed" not in text
    assert "busy" not in text


def test_a_goal_that_is_missed_says_why_and_that_the_machine_was_busy(tool: ModuleType) -> None:
    missed = line(unit="s", at_least=None, at_most=2, is_met=False, if_missed="it is large")
    text = tool.page(stored(missed, line(at_least=None, what="no goal"), load="7.0"))
    assert "| a thing | 31.4 s | 30–33.3 | ≤ 2 | **missed** | 2 s |" in text
    assert "- Speed, a thing: 31.4 s where ≤ 2 is the goal; it is large; measured while the machine was busy." in text
    assert "| no goal | 31.4x | 30–33.3 |  |  | 2 s |" in text
    assert "**The machine was busy** (load average up to 7.0)" in text


def test_the_page_is_current(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(json.loads(tool.STORED.read_text(encoding="utf-8")))


def test_every_file_of_benchmarks_is_known(tool: ModuleType) -> None:
    assert {"oks", "bootstrap", "dense", "overhead", "commands", "default", "growth", "reading"} <= set(tool.names())
