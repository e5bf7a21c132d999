"""What a person is told about the terms of a model or a data set."""

from __future__ import annotations

from pathlib import Path

from sapiens_bench.cards.schema import DatasetCard, Licence

FILE = "LICENCE.txt"


def licence_brief(licence: Licence) -> str:
    """Its name, with what it forbids."""
    terms = (("no commercial use", licence.commercial), ("not to be passed on", licence.may_redistribute))
    forbids = [words for words, allowed in terms if allowed is False]
    return f"{licence.name} ({', '.join(forbids)})" if forbids else licence.name


def licence_line(licence: Licence) -> str:
    """All that a card says of it."""
    commercial = {True: "commercial use allowed", False: "no commercial use", None: "commercial use: not stated"}
    sharing = {True: "may be passed on", False: "not to be passed on", None: "passing it on: not stated"}
    terms = (commercial[licence.commercial], sharing[licence.may_redistribute])
    return "; ".join(part for part in (licence.name, licence.url, *terms, licence.note) if part)


def leave_terms(card: DatasetCard, folder: Path) -> str:
    """Write the terms of a data set beside what was copied out of it; returns what to say, empty where all is allowed.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{card.title} ({card.id})\n{licence_line(card.licence)}\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    if card.licence.may_redistribute is False:
        return f"{card.licence.name}: for your own use, not to be passed on. {FILE} in the folder says so."
    return ""
