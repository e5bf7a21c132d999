"""What is said of printed tables, in words that a reader can follow up: papers by title and number, no file of ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import PublishedEntry, PublishedTable
from sapiens_bench.store.record import RunRecord

PAPERS = {
    "sapiens-v1": "Sapiens (ECCV 2024, arXiv 2408.12569)",
    "sapiens-v1 repository": "facebookresearch/sapiens (repository of Sapiens, ECCV 2024)",
    "sapiens2": "Sapiens2 (arXiv 2604.21681)",
}
_TRANSCRIPTION = re.compile(r"\bN-([A-D])\b")
README = "results/published/README.md of this package"
_WORDS = (
    (re.compile(r"\bsee known_inconsistencies\b", re.IGNORECASE), f"see {README}"),
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
    number = f"Table {table.table}" if table.table[:1].isdigit() else table.table
    return f"{paper_title(table.paper)}, {number}"


def readable(text: str) -> str:
    """A note of a printed table without the short names of the transcriptions behind it."""
    text, n = _TRANSCRIPTION.subn(r"transcription \1", text)
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    told = not n or README in text
    return text if told else f"{text} (transcriptions: {README})"


def not_the_question(entry: PublishedEntry, runs: Sequence[tuple[str, RunRecord]], catalog: Catalog) -> str:
    """Why no row of the runs stands beside a printed part, and which protocol asks its question."""
    ran = dict.fromkeys(f"{cell.dataset}/{cell.protocol}" for _, record in runs for cell in record.cells)
    where = f"they are of {', '.join(ran)}, the print is of {entry.dataset}" if ran else "they hold no row"
    ours = _asking(entry, catalog)
    same = f"{' or '.join(ours[:3])} asks the printed question" if ours else "no protocol here is the printed one"
    return f"{where}; {same}."


def also_printed(shown: Collection[str], about: str, catalog: Catalog) -> list[str]:
    """Which printed parts of the same question are not shown, and beside which runs they would be.

    Args:
        shown: entries that are.
        about: name of the metric that asks the question, as in ``oks``.
    """
    beside, nowhere = [], []
    for table, entry in catalog.published.values():
        if entry.id in shown or not any(key.partition("/")[0] == about for key in entry.metrics):
            continue
        if ours := _asking(entry, catalog):
            beside.append(f"{entry.id} ({' or '.join(ours[:3])})")
        else:
            nowhere.append(f"{entry.id} ({paper_title(table.paper)}, {entry.dataset})")
    said = [f"Printed, too, and shown beside runs of its protocol: {'; '.join(beside)}."] if beside else []
    if nowhere:
        said.append(f"Printed, too, and no protocol here is the printed one: {'; '.join(nowhere)}.")
    return said


def _asking(entry: PublishedEntry, catalog: Catalog) -> list[str]:
    return [
        f"--dataset {card.id} --protocol {name}"
        for card in catalog.datasets.values()
        for name, protocol in card.protocols.items()
        if entry.id in protocol.published
    ]
