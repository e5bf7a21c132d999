"""Escaping, format by format."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.report import escape
from sapiens_bench.report.numbers import duration, number, size, superscript
from sapiens_bench.report.table import Column

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@given(TEXT)
@settings(deadline=None, max_examples=100)
def test_terminal_text_is_inert_and_escaping_it_again_changes_nothing(text: str) -> None:
    safe = escape.terminal(text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", safe)
    assert escape.terminal(safe) == safe


@given(TEXT)
@settings(deadline=None, max_examples=100)
def test_markdown_has_no_bare_special(text: str) -> None:
    safe = escape.markdown(text)
    assert not re.search(r"[<>\n\r]", safe)
    assert not re.search(r"(?<!\\)[|`*_\[\]]", safe.replace("\\\\", ""))


@given(TEXT)
@settings(deadline=None, max_examples=100)
def test_latex_braces_balance_and_specials_are_escaped(text: str) -> None:
    safe = escape.latex(text)
    bare = re.sub(r"\\[&%$#_{}]", "", safe)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[&%#_~^]", re.sub(r"\$\\[a-z]+\$", "", bare))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_formulas_are_quoted(start: str) -> None:
    assert escape.csv_cell(start + "cmd").startswith("'")


def test_plain_csv_text_is_untouched() -> None:
    assert escape.csv_cell("MoveNet Thunder") == "MoveNet Thunder"


def test_numbers_as_text() -> None:
    share = Column("a", "AP", "score", percent=True, decimals=1)
    assert number(0.8449, share) == "84.5"
    assert number(float("nan"), share) == "–"
    assert number(0.1239, Column("b", "RMSE", "score", unit="m", decimals=3)) == "0.124"
    assert (size(None), size(999), size(2_500), size(12_500_000), size(4_680_000_000)) == (
        "", "999 B", "2.5 kB", "12.5 MB", "4.68 GB",
    )  # fmt: skip
    assert (duration(3.4), duration(61), duration(7500), duration(float("inf"))) == (
        "3 s", "1 min 01 s", "2 h 05 min", "–",
    )  # fmt: skip
    assert superscript((1, 12)) == "¹˒¹²"
