"""Renderers only format: every format shows the same numbers, and nothing from an input is taken for markup."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from sapiens_bench.errors import UnknownName
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import RunRecord

Make = Callable[..., RunRecord]
HOSTILE = (
    '<script>alert(1)</script>|`*_[x](javascript:1)\\ & % $ # { } ~ ^ "\r\n\x1b[31m\u202eevil\u2066 =cmd|x '
    "{{7*7}} {% raw %} --flag"
)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_shows_every_model(make_record: Make, name: str) -> None:
    text = render(build(make_record()), name)
    for title in ("MoveNet Thunder", "BlazePose Full", "Mean pose", "Oracle"):
        assert title in text
    assert text.endswith("\n")


@pytest.mark.parametrize("name", ["text", "md", "html"])
def test_interval_stands_behind_the_value(make_record: Make, name: str) -> None:
    text = re.sub(r"<[^>]+>", " ", render(build(make_record()), name)).replace("\\", "")
    assert re.search(r"84\.0\s+\[80\.4, 87\.6\]", text)


def test_latex_sets_the_best_bold_and_the_interval_small(make_record: Make) -> None:
    text = render(build(make_record()), "latex")
    assert r"\textbf{84.0}$_{\scriptscriptstyle 80.4}^{\scriptscriptstyle 87.6}$" in text
    for part in (r"\begin{table*}", r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:"):
        assert part in text


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"csv"}))
def test_an_incomplete_run_says_so_in_every_format(make_record: Make, name: str) -> None:
    assert "interrupted" in render(build(make_record(status="interrupted")), name)


@pytest.mark.parametrize("name", ["text", "md", "latex", "html"])
def test_an_incomplete_run_is_headed_in_capitals(make_record: Make, name: str) -> None:
    assert "INCOMPLETE" in render(build(make_record(status="interrupted")), name)


def test_json_has_no_nan_and_gives_the_reason(make_record: Make, rows: SimpleNamespace) -> None:
    text = render(build(make_record([rows.pose("a", "A", math.nan)])), "json")
    cell = json.loads(text, parse_constant=pytest.fail)["blocks"][0]["rows"][0]["cells"]["oks/AP"]
    assert cell["value"] is None
    assert cell["reason"]


def test_csv_holds_the_unrounded_scores(make_record: Make) -> None:
    lines = list(csv.DictReader(io.StringIO(render(build(make_record()), "csv"))))
    best = next(x for x in lines if x["model"] == "movenet-thunder" and x["score"] == "oks/AP")
    assert (float(best["value"]), best["unit"], best["rank"], best["n_misses"]) == (0.84, "", "1", "3")
    assert {x["status"] for x in lines if x["model"].startswith("sapiens")} == {"weights missing"}


def test_an_unknown_format_names_the_nearest(make_record: Make) -> None:
    with pytest.raises(UnknownName, match="latex"):
        render(build(make_record()), "latx")


@pytest.fixture
def hostile(make_record: Make, rows: SimpleNamespace) -> Callable[[str], str]:
    """The hostile text wherever a card, a file name or a model could put it, rendered."""
    cell = rows.pose("a", HOSTILE, 0.5, trained_on=HOSTILE, caveat=HOSTILE, approximate=HOSTILE, licence=HOSTILE)
    lost = rows.missing("b", "=HYPERLINK(1)" + HOSTILE, HOSTILE)
    facts = {"synthetic-humans": {"title": HOSTILE, "protocol_title": HOSTILE, "boxes": HOSTILE}}
    record = make_record([cell, lost], notes=[HOSTILE], command=HOSTILE, datasets=facts)
    return lambda name: render(build(record), name)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_control_character_or_direction_mark_gets_through(hostile: Callable[[str], str], name: str) -> None:
    text = hostile(name)
    if name == "json":  # data, not display: JSON escapes control characters, and readers get the text as it was
        assert "\x1b" not in text
        return
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_html_has_no_markup_from_inputs(hostile: Callable[[str], str]) -> None:
    page = hostile("html")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "{{7*7}}" in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    tags: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Collector(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, attrs))

    Collector().feed(page)
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "form", "a"}
    assert not [name for _, attrs in tags for name, _ in attrs if name.startswith("on") or name in ("src", "href")]


def test_markdown_tables_keep_their_columns(hostile: Callable[[str], str]) -> None:
    lines = [line for line in hostile("md").splitlines() if line.startswith("|")]
    counts = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    head = next(i for i, line in enumerate(lines) if re.match(r"\| +# \|", line))
    assert counts[head] == counts[head + 1] == counts[head + 2]
    assert "<script" not in hostile("md")
    assert "[x](" not in hostile("md")


def test_csv_cells_are_no_formulas(hostile: Callable[[str], str]) -> None:
    for line in csv.reader(io.StringIO(hostile("csv"))):
        for cell in line:
            assert not cell.startswith(("=", "+", "@", "\t")), cell
            assert not cell.startswith("-") or re.fullmatch(r"-\d.*", cell)


def test_latex_specials_are_commands(hostile: Callable[[str], str]) -> None:
    caption = next(line for line in hostile("latex").splitlines() if line.startswith(r"\caption"))
    for special in (r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\textasciitilde{}", r"\textbackslash{}", "-{}-flag"):
        assert special in caption


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this machine")
def test_latex_compiles_with_booktabs_alone(hostile: Callable[[str], str], make_record: Make, tmp_path: Path) -> None:
    body = render(build(make_record()), "latex") + hostile("latex")
    document = rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}\usepackage{{booktabs}}\begin{{document}}{body}"
    (tmp_path / "t.tex").write_text(document + "\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000
