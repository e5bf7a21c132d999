"""Text from cards, files and models, made harmless for each format. HTML is escaped by jinja2 itself."""

from __future__ import annotations

import re
import unicodedata

from sapiens_bench.report.tex_characters import tex_character

_BREAKS = re.compile(r"[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+")
_MARKDOWN = re.compile(r"([\\|`*_\[\]~])")
_JOINERS = "\u200c\u200d"  # of Persian, Indic scripts and emoji; every other invisible character is left out
_LONG_WORD = 24  # characters
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


def one_line(text: str) -> str:
    """No line breaks, control characters, direction marks or other invisible characters."""
    flat = _BREAKS.sub(" ", text)
    if flat.isascii() and flat.isprintable():
        return flat
    return "".join(c for c in flat if unicodedata.category(c) not in ("Cc", "Cs", "Cf") or c in _JOINERS)


def terminal(text: str) -> str:
    """Like ``one_line`` for each line: nothing that moves the cursor, colours the screen or turns the text round."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def markdown(text: str) -> str:
    r"""Escapes ``| \ ` * _ [ ] ~`` and turns ``& < >`` into entities."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def latex(text: str) -> str:
    """Every special character as a command; characters that plain pdflatex cannot set become ``?``.

    A word longer than a line of a narrow column (a path, an address) may be broken at its punctuation.
    """
    flat = " ".join(map(_latex_word, one_line(text).split(" ")))
    return "{}" + flat if flat.startswith(("[", "*")) else flat  # behind a line's end they would be its argument


def _latex_word(word: str) -> str:
    after = r"\allowbreak{}" if len(word) > _LONG_WORD else ""
    parts = []
    for c, following in zip(word, word[1:] + " "):
        parts.append(tex_character(c))
        if c == "-" and following == "-":
            parts.append("{}")  # two hyphens of an option are no dash
        elif after and c in "/-_.,=:":
            parts.append(after)
    return "".join(parts)


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula; a number stays a number."""
    risky = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return "'" + text if risky and not _NUMBER.fullmatch(text) else text
