"""From the address on a card to a score: the published file at toy size, served by the stand-in hub, fetched, run."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from tiny_cards import tiny, tiny_id

import sapiens_bench
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import is_here
from sapiens_bench.errors import WeightsMissing
from sapiens_bench.fetch import recipe
from sapiens_bench.testing.hub import FakeHub

SYSTEMS = {  # one for each way to fetch -> protocol
    "dwpose-t": "wholebody133",  # a member of a zip
    "segformer-b2-clothes": "coarse",  # a folder of the hub
    "sapiens-0.3b-coco17": "gt-box",  # a file of the hub
    "fcn-r50-voc": "person",  # a file at an address
}


def serve(hub: FakeHub, name: str, path: Path) -> None:
    """Puts the file where the package's card says it is."""
    weights = Catalog.load().model(name).variant.weights
    assert weights is not None
    if weights.get.hub is not None and weights.format == "hf":
        hub.put_model(weights.get.hub.repo, {p.name: p.read_bytes() for p in path.iterdir()})
    elif weights.get.hub is not None:
        hub.put_model(weights.get.hub.repo, {weights.get.hub.file or weights.file: path.read_bytes()})
    elif weights.get.archive_member is not None:
        with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
            archive.writestr(f"20230728/{weights.get.archive_member}", path.read_bytes())
            archive.writestr("20230728/detail.json", "{}")
        hub.put(str(weights.get.url), packed.getvalue())
    else:
        hub.put(str(weights.get.url), path.read_bytes())


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_a_card_fetches_is_what_its_wrapper_runs(hub: FakeHub, tmp_path: Path, name: str) -> None:
    entry = Catalog.load().model(name)
    (cards := tmp_path / "cards").mkdir()
    serve(hub, name, tiny(entry, cards, tmp_path / "published", keeps_address=True))
    variant = Catalog.load((cards,)).model(tiny_id(entry)).variant
    assert not is_here(variant)
    recipe.fetch(variant)
    record = sapiens_bench.evaluate(
        task=entry.card.task, model=tiny_id(entry), datasets="synthetic-humans", protocol=SYSTEMS[name], split="tiny",
        limit=1, cards=cards, n_boot=0, device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 1), cell.how


def test_a_card_whose_address_is_empty_stays_without_weights(hub: FakeHub, tmp_path: Path) -> None:
    (cards := tmp_path / "cards").mkdir()
    entry = Catalog.load().model("fcn-r50-voc")
    tiny(entry, cards, tmp_path / "published", keeps_address=True)
    variant = Catalog.load((cards,)).model(tiny_id(entry)).variant
    with pytest.raises(WeightsMissing):
        recipe.fetch(variant)
    assert not is_here(variant)
