"""Detector cards, and weight entries that may be folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import file_sha256, weight_files
from sapiens_bench.cards.schema import Get, Variant, Weights
from sapiens_bench.errors import ChecksumMismatch, UnknownName, WeightsMissing


def detector(**changes: Any) -> dict[str, Any]:
    variant = {"id": "mine", "title": "Mine"}
    card = {"schema": "detector/1", "id": "my-detectors", "title": "Mine", "licence": {"name": "none"}}
    return {**card, "wrapper": "rtdetr", "trained_on": "nothing", "variants": [variant], **changes}


def load(folder: Path, card: dict[str, Any]) -> Catalog:
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return Catalog.load([folder])


def test_the_package_has_two_detectors_and_none_of_them_is_a_row_of_a_table() -> None:
    catalog = Catalog.load()
    assert set(catalog.detectors) == {"rtdetr-r50", "fasterrcnn-r50-v2"}
    assert not set(catalog.detectors) & set(catalog.models)
    with pytest.raises(UnknownName, match="rtdetr-r50"):
        catalog.detector("rtdetr-50")


def test_a_detector_of_ones_own_is_added(tmp_path: Path) -> None:
    assert load(tmp_path, detector()).detector("mine").card.wrapper == "rtdetr"


@pytest.mark.parametrize("taken", ["rtdetr-r50", "movenet-thunder"])
def test_an_id_that_is_taken_is_refused(tmp_path: Path, taken: str) -> None:
    catalog = load(tmp_path, detector(variants=[{"id": taken, "title": "again"}]))
    (reason,) = catalog.broken.values()
    assert "exists already" in reason


def variant(name: str, kind: Any, sha256: str | None = None) -> Variant:
    return Variant(id="v", title="v", weights=Weights(file=name, format=kind, sha256=sha256, get=Get(how="by hand")))


def test_stored_predictions_may_be_a_file_or_a_folder_and_weights_may_not(tmp_path: Path) -> None:
    (tmp_path / "deep" / "maps").mkdir(parents=True)
    (tmp_path / "deep" / "maps" / "a.npy").write_bytes(b"1")
    (tmp_path / "results.json").write_bytes(b"[]")
    folder = weight_files(variant("maps", "predictions"), tmp_path)
    assert folder.path == tmp_path / "deep" / "maps"
    assert weight_files(variant("results.json", "predictions"), tmp_path).path == tmp_path / "results.json"
    (tmp_path / "deep" / "maps" / "a.npy").write_bytes(b"22")
    assert weight_files(variant("maps", "predictions"), tmp_path).sha256 != folder.sha256
    with pytest.raises(WeightsMissing):
        weight_files(variant("maps", "pth"), tmp_path)


def test_a_file_the_user_vouches_for_needs_no_pin_and_may_differ_from_it(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    trust = {str(path.resolve()): file_sha256(path)}
    plain = weight_files(variant("w.pth", "pth"), tmp_path)
    assert (plain.pinned, plain.trusted) == (False, False)
    vouched = weight_files(variant("w.pth", "pth", "0" * 64), tmp_path, trust)
    assert (vouched.pinned, vouched.trusted) == (False, True)
    path.write_bytes(b"others!")
    with pytest.raises(ChecksumMismatch, match="--trust-checkpoint"):
        weight_files(variant("w.pth", "pth"), tmp_path, trust)
