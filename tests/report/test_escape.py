"""Escaping, format by format."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.report import escape, plain_json
from sapiens_bench.report.numbers import duration, number, size, superscript
from sapiens_bench.report.sheet import Document
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


INVISIBLE = "\u200b\u200e\u200f\u061c\u00ad\u2060\u2066\u2069\u202e\ufeff\U000e0041"


def test_characters_that_nobody_sees_are_left_out_and_those_that_scripts_need_stay() -> None:
    assert escape.one_line(f"a{INVISIBLE}b") == "ab"
    assert (
        escape.one_line("\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645")
        == "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645"
    )


@given(TEXT)
@settings(deadline=None, max_examples=100)
def test_json_holds_the_text_and_shows_a_terminal_nothing(text: str) -> None:
    document = Document("", (), data={"schema": "x", "text": text + INVISIBLE})
    shown = plain_json.render_document(document)
    assert json.loads(shown)["text"] == text + INVISIBLE
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_a_file_name_that_is_no_unicode_becomes_json_all_the_same() -> None:
    text = plain_json.render_document(Document("", (), data={"schema": "x", "name": "a\udcff"}))
    assert json.loads(text.encode())["name"] == "a\udcff"


@pytest.mark.parametrize("number", ["-0.2", "+3", "-1e-05", "-12."])
def test_numbers_in_csv_stay_numbers(number: str) -> None:
    assert escape.csv_cell(number) == number


@pytest.mark.parametrize("formula", ["-1+cmd", " =1", "\uff1d1", "-2 models", "@SUM(1)"])
def test_what_only_begins_like_a_number_is_quoted(formula: str) -> None:
    assert escape.csv_cell(formula) == f"'{formula}"


def test_greek_letters_and_arrows_are_set_by_any_latex() -> None:
    assert escape.latex("δ1 ↑ µ ≥") == r"$\delta$1 $\uparrow$ $\mu$ $\geq$"
    assert escape.latex("漢") == "?"


def test_long_words_may_be_broken_at_their_punctuation() -> None:
    assert escape.latex("https://example.org/a/long-path/with_many.parts").count(r"\allowbreak{}") > 6
    assert r"\allowbreak" not in escape.latex("short-word two_parts")


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
