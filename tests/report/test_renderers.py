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
from sapiens_bench.report import escape, text
from sapiens_bench.report.formats import FORMATS, render
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.tables import Chosen, Emphasis, build
from sapiens_bench.store.record import CellRecord, RunRecord, Timing

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


def chosen(*about: object) -> Chosen:
    return Chosen({("movenet-thunder", "oks/AP")}, {("blazepose-full", "oks/AP")})


@pytest.mark.parametrize(
    ("name", "best", "second"),
    [
        ("latex", r"\textbf{84.0}", r"\underline{61.2}"),
        ("md", "**84.0 ", "<u>61.2 "),
        ("html", 'class="value best" title="">84.0', 'class="value second" title="">61.2'),
    ],
)
def test_best_and_second_are_told_apart_and_explained(make_record: Make, name: str, best: str, second: str) -> None:
    text = render(build(make_record(), emphasis=Emphasis(chosen, "Bold: a lead.")), name)
    assert best in text
    assert second in text
    assert "Bold: a lead." in text


def test_latex_sets_the_best_bold_and_the_interval_small(make_record: Make) -> None:
    text = render(build(make_record(), emphasis=Emphasis(chosen, "Bold: a lead.")), "latex")
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


@pytest.mark.parametrize(("task", "heading"), [("seg", "Body-part segmentation"), ("saliency", "saliency")])
def test_a_page_is_headed_by_the_title_of_its_task_or_the_name_of_one_that_is_not_installed(
    make_record: Make, task: str, heading: str
) -> None:
    record = make_record().model_copy(update={"task": task})
    assert f"<h1>{heading}</h1>" in render(build(record), "html")


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


@pytest.fixture
def hostile_document() -> Document:
    """The hostile text wherever a document has text."""
    row = (HOSTILE, HOSTILE, "-0.5")
    sheet = Sheet(HOSTILE, (HOSTILE, HOSTILE, "AP"), (row, row), (0, 1), (HOSTILE,), {0: HOSTILE}, {(0, 1)}, {1})
    return Document(HOSTILE, (sheet,), {HOSTILE: HOSTILE, "command": HOSTILE}, (HOSTILE,))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_documents_are_as_harmless_as_tables(hostile_document: Document, name: str) -> None:
    text = render(hostile_document, name)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    if name in ("html", "md"):
        assert "<script" not in text
    if name == "md":
        assert "[x](" not in text
    if name == "csv":
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert "-0.5" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_text_keeps_its_columns_whatever_the_cells_hold(hostile_document: Document) -> None:
    lines = render(hostile_document, "text").splitlines()
    table = [line for line in lines if line.endswith("-0.5")]
    assert len(table) == 2
    assert len({len(line) for line in table}) == 1


def test_wide_characters_take_two_places(hostile_document: Document) -> None:
    sheet = Sheet("", ("Name", "AP"), (("漢字", "1"), ("abcd", "2")))
    assert [line[-5:] for line in text.aligned(sheet).splitlines()[2:]] == ["    1", "    2"]


def test_a_narrow_terminal_shortens_words_and_never_a_name_or_a_number() -> None:
    sheet = Sheet(
        "", ("Name", "AP", "Trained on"), (("a-very-long-model-name", "81.25", "one set and another " * 4),), (0, 2)
    )
    shown = text.aligned(sheet, text.Screen(50)).splitlines()
    assert max(map(len, shown)) <= 50
    assert "a-very-long-model-name" in shown[2]
    assert "81.25" in shown[2]
    assert shown[2].endswith("…")
    folded = text.aligned(sheet, text.Screen(50), fold=True).splitlines()
    assert max(map(len, folded)) <= 50
    assert " ".join(line[31:].strip() for line in folded[2:]).split() == ("one set and another " * 4).split()


def test_only_a_terminal_gets_colour(make_record: Make) -> None:
    table = build(make_record(), emphasis=Emphasis(chosen, "Bold: a lead."))
    assert "\x1b" not in text.render(table)
    assert "\x1b" not in text.render(table, text.Screen(200, colour=False))
    coloured = text.render(table, text.Screen(200, colour=True))
    assert "\x1b[1;32m84.0 [80.4, 87.6]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text.render(table, text.Screen(200, colour=False))


def test_a_narrow_page_has_the_head_of_every_score_in_its_cell(make_record: Make) -> None:
    """On a phone rows become cards: a number without its head would say nothing."""
    page = render(build(make_record()), "html")
    assert page.count('data-head="AP % ↑"') >= 4
    assert "attr(data-head)" in page
    assert "@media (max-width: 720px)" in page


def test_the_page_escapes_by_default() -> None:
    from sapiens_bench.report.html import _environment

    assert _environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"


def compiled(body: str, folder: Path, document_class: str) -> str:
    """The log of pdflatex over the body, with booktabs as its only package besides the page's size.

    The page has the columns of a conference: 237 of 496 pt.
    """
    page = r"\usepackage[textwidth=496pt,columnsep=22pt,textheight=640pt]{geometry}"
    text = rf"{document_class}{page}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}" + "\n"
    (folder / "t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "t.pdf").stat().st_size > 1000
    return done.stdout


needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this machine")
TWO_COLUMNS = r"\documentclass[10pt,twocolumn]{article}"


@pytest.mark.slow
@needs_tex
def test_latex_compiles_with_booktabs_alone(
    hostile: Callable[[str], str], hostile_document: Document, make_record: Make, tmp_path: Path
) -> None:
    body = render(build(make_record()), "latex") + hostile("latex") + render(hostile_document, "latex")
    compiled(body, tmp_path, TWO_COLUMNS)


@pytest.mark.slow
@needs_tex
def test_every_character_compiles_in_the_oldest_font_encoding(tmp_path: Path) -> None:
    characters = [chr(c) for c in range(0x20, 0x250)] + list("αβγδΩ–—‘’“”†‡…↑↓→≥≤≈−●")
    compiled("\n".join(map(escape.latex, characters)), tmp_path, TWO_COLUMNS)


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize("n_columns", [2, 5, 14])
def test_tables_fit_a_page_of_two_columns(
    make_record: Make, rows: SimpleNamespace, tmp_path: Path, n_columns: int
) -> None:
    """As many scores as depth, normals or whole-body pose have; long names; notes with a path."""

    def cell(model: str, title: str) -> CellRecord:
        scores = {f"m/s{i}": rows.score(0.9, 0.05, title=f"boundary mIoU {i}") for i in range(n_columns)}
        found: CellRecord = rows.pose(
            model, title, scores=scores, headline="m/s0", approximate="a/long/path-to_the/file" * 4
        )
        return found

    cells = [cell("a", "MediaPipe selfie segmentation (general)"), cell("b", "B")]
    log = compiled(render(build(make_record(cells)), "latex"), tmp_path, TWO_COLUMNS)
    assert "Overfull" not in log, log


@pytest.mark.slow
@needs_tex
def test_tables_of_costs_fit_a_page_of_two_columns(repository: Path, tmp_path: Path) -> None:
    from sapiens_bench.profiling.record import read_profile
    from sapiens_bench.report.profile_tables import document

    body = render(document(read_profile(repository / "results/profiles/embedded-cpu")), "latex")
    assert "Overfull" not in compiled(body, tmp_path, TWO_COLUMNS)


def test_latex_notes_stand_in_lines_of_their_own(make_record: Make) -> None:
    lines = render(build(make_record(request={"limit": 8})), "latex").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(r"\begin{minipage}"))
    notes = lines[start + 1 : lines.index(r"\end{minipage}")]
    assert len(notes) > 4
    assert all(note.endswith(r"\par") for note in notes)
    assert notes[0].startswith(r"\textbf{SUBSET")
    assert any(note.startswith("Trained on: COCO, Active (MoveNet Thunder") for note in notes)


def test_a_small_table_stays_in_one_column(make_record: Make, rows: SimpleNamespace) -> None:
    cells = [rows.pose("a", "A", 0.5, timing=Timing(), scores={"oks/AP": rows.score(0.5)})]
    assert r"\begin{table}[t]" in render(build(make_record(cells)), "latex")
