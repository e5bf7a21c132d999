"""Text from cards, files and models, made harmless for each format. HTML is escaped by jinja2 itself."""

from __future__ import annotations

import re
import unicodedata

_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile(r"[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+")
_MARKDOWN = re.compile(r"([\\|`*_\[\]])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "–": "--",
    "—": "---",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "°": r"\textdegree{}",
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def one_line(text: str) -> str:
    """No line breaks, control characters or direction marks."""
    flat = _BIDI.sub("", _BREAKS.sub(" ", text))
    return "".join(c for c in flat if unicodedata.category(c) not in ("Cc", "Cs"))


def terminal(text: str) -> str:
    """Like ``one_line`` for each line: nothing that moves the cursor, colours the screen or turns the text round."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def markdown(text: str) -> str:
    r"""Escapes ``| \ ` * _ [ ]`` and turns ``& < >`` into entities."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def latex(text: str) -> str:
    """Every special character as a command; characters that plain pdflatex cannot set become ``?``."""
    separate = re.sub("-(?=-)", "-\ufffc", one_line(text))  # two hyphens of an option are no dash
    return "".join("{}" if c == "\ufffc" else _latex_character(c) for c in separate)


def _latex_character(c: str) -> str:
    if c in _LATEX:
        return _LATEX[c]
    return c if ord(c) < 0x180 else "?"


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula. Numbers do not pass through here."""
    return "'" + text if text.startswith(_FORMULA) else text
