"""What is said of printed tables, in words that a reader can follow up: papers by title and number, no file of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import PublishedEntry, PublishedTable
from sapiens_bench.store.record import RunRecord

PAPERS = {
    "sapiens-v1": "Sapiens (ECCV 2024, arXiv 2408.12569)",
    "sapiens-v1 repository": "facebookresearch/sapiens (repository of Sapiens, ECCV 2024)",
    "sapiens2": "Sapiens2 (arXiv 2604.21681)",
}
_TRANSCRIPTION = re.compile(r"\bN-([A-D])\b")
_WORDS = (
    (re.compile(r"\bsee known_inconsistencies\b", re.IGNORECASE), "see results/published/README.md of this package"),
    (re.compile(r"\(issue #(\d+)\)"), r"(facebookresearch/sapiens, issue \1)"),
    (re.compile(r"\bR1-(?:zoo|cfg)\b"), "the released files of facebookresearch/sapiens"),
    (re.compile(r"\bP1-text\b"), "the text of the paper"),
    (re.compile(r"\bP2-alt\b"), "a second transcription"),
)


def paper_title(name: str) -> str:
    """A paper's title and number; as it is where it is none of ours."""
    return PAPERS.get(name, name)


def place_of(table: PublishedTable) -> str:
    """``"Sapiens2 (arXiv 2604.21681), Table 7"``; what has no number is called after where it was printed."""
    number = table.table if table.table.lower().startswith(("table", "figure", "fig")) else f"Table {table.table}"
    return f"{paper_title(table.paper)}, {number}"


def readable(text: str) -> str:
    """A note of a printed table without the short names of the transcriptions behind it."""
    text, n = _TRANSCRIPTION.subn(r"transcription \1", text)
    text += " (transcriptions: results/published/README.md of this package)" if n else ""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def not_the_question(entry: PublishedEntry, runs: Sequence[tuple[str, RunRecord]], catalog: Catalog) -> str:
    """Why no row of the runs stands beside a printed part, and which protocol asks its question."""
    ran = dict.fromkeys(f"{cell.dataset}/{cell.protocol}" for _, record in runs for cell in record.cells)
    where = f"they are of {', '.join(ran)}, the print is of {entry.dataset}" if ran else "they hold no row"
    ours = [
        f"--dataset {card.id} --protocol {name}"
        for card in catalog.datasets.values()
        for name, protocol in card.protocols.items()
        if entry.id in protocol.published
    ]
    same = f"{' or '.join(ours[:3])} asks the printed question" if ours else "no protocol here is the printed one"
    return f"{where}; {same}."
