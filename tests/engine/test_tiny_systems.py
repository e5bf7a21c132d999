"""Every system of the package, from card to score: its network at toy size in the published file form, run on
synthetic-humans by the card itself (only input size, weights and the options that name a published size are others).

One run a protocol takes the first variant of every card; a card without a maker in tests/fakes/tiny_files.py fails.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import tiny_files
from tiny_cards import needs_file, tiny, tiny_id

import sapiens_bench
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import ModelEntry
from sapiens_bench.store.record import CellRecord

ELSEWHERE = {"saved_maps": "tests/engine/test_save_maps.py"}  # wrapper that reads a run -> the tests that run it
PROTOCOLS = {  # task, output space -> protocol of synthetic-humans
    ("pose", "coco-wholebody133"): "wholebody133",
    ("pose", "holistic543"): "wholebody133",
    ("pose", "goliath308"): "goliath308",
    ("seg", "body28"): "seg",
    ("seg", "body29"): "seg",
    ("seg", "atr18"): "coarse",
    ("seg", "bodypix25"): "coarse",
    ("seg", "coco133"): "person",
    ("seg", "person2"): "person",
    ("seg", "voc21"): "person",
}
FALLBACK = {"pose": "gt-box"}  # of a task whose usual protocol has another name than the task
FAULTS = {"pred.direction"}  # of random depth alone


ALSO = ("midas-swin2", "deeplabv3-r50-voc")  # of another architecture than the first variant of their card


def chosen_variants() -> dict[str, ModelEntry]:
    """Id -> the first variant of every card, and ``ALSO``; without the cards that read a run."""
    models = Catalog.load().models
    first: dict[str, ModelEntry] = {}
    for entry in models.values():
        if entry.card.wrapper not in ELSEWHERE:
            first.setdefault(entry.card.id, entry)
    return {entry.id: entry for entry in (*first.values(), *(models[name] for name in ALSO))}


SYSTEMS = chosen_variants()


def protocol_of(entry: ModelEntry) -> str:
    task = entry.card.task
    return PROTOCOLS.get((task, entry.card.space_of(entry.variant) or ""), FALLBACK.get(task, task))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CellRecord]:
    """Id -> the row of its tiny form."""
    folder = tmp_path_factory.mktemp("systems")
    (folder / "cards").mkdir()
    groups: dict[tuple[str, str], list[ModelEntry]] = {}
    for entry in SYSTEMS.values():
        if needs_file(entry):
            if entry.card.wrapper not in tiny_files.MAKERS:
                continue  # its own test says so
            tiny(entry, folder / "cards", folder / "weights")
        groups.setdefault((entry.card.task, protocol_of(entry)), []).append(entry)
    found: dict[str, CellRecord] = {}
    for (task, protocol), entries in groups.items():
        record = sapiens_bench.evaluate(
            task=task, models=[tiny_id(e) for e in entries], datasets="synthetic-humans", protocol=protocol,
            split="tiny", limit=1, cards=folder / "cards", weights_root=folder / "weights", n_boot=0, device="cpu",
            out=folder / f"run-{task}-{protocol}", max_errors=1.0,
        )  # fmt: skip
        rows = {cell.model: cell for cell in record.cells}
        found |= {entry.id: rows[tiny_id(entry)] for entry in entries}
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_card_of_a_system_takes_its_network_to_a_score(name: str, cells: dict[str, CellRecord]) -> None:
    entry = SYSTEMS[name]
    if needs_file(entry):
        assert entry.card.wrapper in tiny_files.MAKERS, f"{name}: write a maker for it in tests/fakes/tiny_files.py"
    cell = cells[name]
    assert cell.status == "done", cell.how
    assert cell.counts.ok == 1 or {error.code for error in cell.errors} <= FAULTS, cell.errors
    assert math.isfinite(cell.scores[cell.headline].value) or cell.errors


def test_cards_that_read_a_run_have_tests_of_their_own(repository: Path) -> None:
    for wrapper, path in ELSEWHERE.items():
        assert (repository / path).is_file(), wrapper
    assert not set(ELSEWHERE) & set(tiny_files.MAKERS)
