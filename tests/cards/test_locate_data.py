"""Where data sets are found, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from found_files import SHA, dataset, put

from sapiens_bench.cards import locate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import ChecksumMismatch, DataMissing


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_data_are_found_below_their_id_or_at_the_root_itself(tmp_path: Path) -> None:
    for root in (tmp_path / "one", tmp_path / "two" / "set"):
        put(root / "ann" / "a.json")
        put(root / "img" / "a.jpg")
    assert locate.dataset_root(dataset(), tmp_path / "one") == tmp_path / "one"
    assert locate.dataset_root(dataset(), tmp_path / "two") == tmp_path / "two" / "set"


def test_pictures_of_another_kind_and_files_named_instead_satisfy_the_layout(tmp_path: Path) -> None:
    put(tmp_path / "own" / "mine.json")
    put(tmp_path / "img" / "a.PNG")
    with pytest.raises(DataMissing, match=r"has no ann/a\.json"):
        locate.dataset_root(dataset(layout=("ann/a.json", "img/*.jpg")), tmp_path)
    other = dataset(layout=("ann/a.json", "img/*.jpg", "old/*.jpg"))
    assert locate.dataset_root(other, tmp_path, without=["ann/a.json", "old"]) == tmp_path


def test_missing_data_name_the_globs_and_the_way_to_get_them(tmp_path: Path) -> None:
    put(tmp_path / "ann" / "a.json")
    with pytest.raises(DataMissing) as caught:
        locate.dataset_root(dataset(), tmp_path)
    assert "has no img/*.jpg" in str(caught.value)
    assert "Ask at the door." in str(caught.value)
    with pytest.raises(DataMissing, match="needs --data-root"):
        locate.dataset_root(dataset(), None)


def test_pinned_files_of_a_data_set_are_verified(tmp_path: Path) -> None:
    put(tmp_path / "ann" / "a.json")
    put(tmp_path / "img" / "a.jpg")
    assert locate.dataset_root(dataset(checksums={"ann/a.json": SHA}), tmp_path) == tmp_path
    with pytest.raises(ChecksumMismatch, match=r"ann/a\.json has sha256"):
        locate.dataset_root(dataset(checksums={"ann/a.json": "0" * 64}), tmp_path)
    assert locate.checksum_faults(dataset(checksums={"ann/b.json": SHA}), tmp_path) == ["ann/b.json is missing"]


def test_embedded_data_live_in_the_cache_and_need_no_root(tmp_path: Path) -> None:
    found = locate.dataset_root(Catalog.load().dataset("synthetic-humans"), None)
    assert found == tmp_path / "cache" / "data" / "synthetic-humans"


def test_the_documented_coco_folder_satisfies_both_coco_cards(shared: Path) -> None:
    catalog = Catalog.load()
    for name in ("coco-val2017", "coco-wholebody-val"):
        assert locate.dataset_root(catalog.dataset(name), shared / "data" / "coco") == shared / "data" / "coco"
    assert locate.dataset_root(catalog.dataset("cihp"), shared / "data") == shared / "data" / "cihp"
