"""Pictures with index maps: official maps, ignored labels, and what does not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.dense.label_maps import LabelMaps
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, LabelSpaceMismatch, SampleFault
from sapiens_bench.tasks import task_for

CATALOG = Catalog.load()
OFFICIAL = ["cihp", "lip", "atr", "pascal-person-part"]


def opened(dataset: str, root: Path, protocol: str | None = None, **options: Any) -> LabelMaps:
    card = CATALOG.dataset(dataset)
    p = card.protocols[protocol or card.default_protocol("seg") or ""]
    p = p.model_copy(update={"options": {**p.options, **options}})
    return LabelMaps(card, p, CATALOG.space(p.space or ""), root)


def put(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pair(root: Path, stem: str, labels: NDArray[np.uint8]) -> None:
    put(root / f"images/{stem}.jpg", np.full((*labels.shape, 3), 90, np.uint8))
    put(root / f"labels/{stem}.png", labels)


ALL_LABELS = np.arange(20, dtype=np.uint8).reshape(4, 5)


def test_cihp_is_read_in_both_label_sets(shared: Path) -> None:
    root = shared / "data/cihp"
    mapped, native = opened("cihp", root), opened("cihp", root, "lip20")
    assert mapped.keys == native.keys == [f"cihp/{s}" for s in ("0002190", "0005008", "0012008", "0026375", "0032190")]
    official = np.full(256, 255)
    official[[0, 2, 5, 7, 9, 12, 13, 18, 19]] = [0, 3, 22, 22, 12, 22, 2, 8, 17]  # specs: data sets, section 5
    for index in range(5):
        a, b = mapped[index], native[index]
        assert a.input.image_HW3.shape[:2] == a.target.labels_HW.shape
        assert np.array_equal(a.target.labels_HW, official[b.target.labels_HW])
        assert b.target.labels_HW.max() < 20
        h, w = b.target.labels_HW.shape
        assert a.input.boxes_xyxy_px.tolist() == [[0, 0, w, h]]
    assert mapped.manifest_sha256 != native.manifest_sha256


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_official_protocols_score_the_surviving_classes_and_no_other(dataset: str) -> None:
    protocol = CATALOG.dataset(dataset).protocols["official-body28"]
    space_map = CATALOG.space_map(protocol.options["annotated_in"], "body28")
    names = CATALOG.space("body28").names
    assert set(protocol.scoring["classes"]) == {names[i] for i in space_map.surviving}
    assert len(protocol.scoring["classes"]) in (7, 8)
    assert "never beside a 28-class number" in protocol.caveat
    assert protocol.published == ()
    scores = task_for(protocol, CATALOG.space("body28")).metrics[0].scores
    assert sum(name.startswith("iou/") for name in scores) == len(protocol.scoring["classes"])


def test_a_relative_root_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair(tmp_path / "set", "x", ALL_LABELS)
    monkeypatch.chdir(tmp_path)
    sample = opened("humans-2k", Path("set"))[0]
    assert np.array_equal(sample.target.labels_HW, ALL_LABELS)


def test_labels_without_a_target_are_ignored_not_background(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    found = opened("cihp", tmp_path, images="images", labels="labels")[0].target.labels_HW.ravel()
    assert found.tolist() == [0, 255, 3, 255, 255, 22, 255, 22, 255, 12, 255, 255, 22, 2, 255, 255, 255, 255, 8, 17]


def test_the_34_labels_of_the_studio_set_become_28(tmp_path: Path) -> None:
    pair(tmp_path, "x", np.arange(34, dtype=np.uint8).reshape(2, 17))
    found = opened("humans-2k", tmp_path, "raw34")[0].target.labels_HW.ravel()
    assert [i for i, label in enumerate(found) if label == 255] == [
        2,
        3,
        4,
        7,
        17,
        28,
    ]  # chair, eyeglasses, headset ...
    assert [label for label in found if label != 255] == list(range(28))


def test_everyone_is_a_person_in_the_set_of_two(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    found = opened("cihp", tmp_path, "person", images="images", labels="labels")[0].target.labels_HW
    assert np.array_equal(found, ALL_LABELS > 0)


def test_face_labels_lie_beside_their_pictures(tmp_path: Path) -> None:
    for stem in ("000001", "000000"):
        put(tmp_path / f"{stem}.png", np.zeros((4, 5, 3), np.uint8))
        put(tmp_path / f"{stem}_seg.png", np.where(ALL_LABELS < 19, ALL_LABELS, 255).astype(np.uint8))
        (tmp_path / f"{stem}_ldmks.txt").write_text("1 2\n" * 70)
    adapter = opened("facesynthetics", tmp_path)
    assert adapter.keys == ["facesynthetics/000000", "facesynthetics/000001"]
    assert adapter[0].target.labels_HW.ravel().tolist() == [*range(19), 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_that_the_source_set_lacks_is_the_samples_fault(tmp_path: Path, dtype: type) -> None:
    labels = ALL_LABELS.astype(dtype)
    labels[0, 0] = 20
    put(tmp_path / "images/x.png", np.zeros((4, 5, 3), np.uint8))
    put(tmp_path / "labels/x.png", labels)
    with pytest.raises(SampleFault, match=r"label 20; valid are 0\.\.19") as caught:
        opened("cihp", tmp_path, images="images", labels="labels")[0]
    assert (caught.value.code, caught.value.side) == ("label.value", "input")


def test_palette_maps_keep_their_indices(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    picture = Image.fromarray(ALL_LABELS, mode=None).convert("P")
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "labels/x.png")
    adapter = opened("cihp", tmp_path, "lip20", images="images", labels="labels")
    assert np.array_equal(adapter[0].target.labels_HW, ALL_LABELS)


def test_broken_files_are_their_own_rows_fault(tmp_path: Path) -> None:
    for stem in ("a", "b", "c", "d"):
        pair(tmp_path, stem, ALL_LABELS)
    put(tmp_path / "labels/a.png", np.zeros((4, 5, 3), np.uint8))
    put(tmp_path / "labels/b.png", np.zeros((5, 4), np.uint8))
    whole = (tmp_path / "labels/c.png").read_bytes()
    (tmp_path / "labels/c.png").write_bytes(whole[:-20])
    (tmp_path / "images/d.jpg").write_bytes(b"<html>")
    adapter = opened("cihp", tmp_path, images="images", labels="labels")
    codes = []
    for index in range(4):
        with pytest.raises(SampleFault) as caught:
            adapter[index]
        codes.append(caught.value.code)
    assert codes == ["label.mode", "image.exif_policy", "image.truncated", "image.decode"]


def test_samples_without_a_partner_are_counted_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    put(tmp_path / "images/alone.png", np.zeros((4, 5, 3), np.uint8))
    put(tmp_path / "labels/only.png", ALL_LABELS)
    adapter = opened("humans-2k", tmp_path)
    assert adapter.keys == ["humans-2k/x"]
    assert adapter.notes == ["1 pictures without labels left out", "1 labels without picture left out"]
    (tmp_path / "labels/x.png").unlink()
    with pytest.raises(DataMissing, match="2 pictures, 1 label maps"):
        opened("humans-2k", tmp_path)


def test_one_stem_in_two_formats_is_refused(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    put(tmp_path / "images/x.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(DatasetRejected, match=r"x\.jpg and x\.png"):
        opened("humans-2k", tmp_path)


def test_a_folder_that_declares_itself_is_not_taken_for_a_private_set(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    (tmp_path / "frame.json").write_text("{}")
    with pytest.raises(DataMissing, match="data set 'folder', not 'humans-2k'"):
        opened("humans-2k", tmp_path)


def test_no_map_is_never_a_guess(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    with pytest.raises(LabelSpaceMismatch):
        opened("humans-2k", tmp_path, annotated_in="face19")


@pytest.mark.parametrize(
    "options", [{"labells": "x"}, {"images": 3}, {"images": "../x"}, {"labels": "/etc"}, {"images": ""}]
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any]) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    with pytest.raises(CardError):
        opened("humans-2k", tmp_path, **options)


def test_the_manifest_follows_the_labels(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    first = opened("humans-2k", tmp_path).manifest_sha256
    assert opened("humans-2k", tmp_path).manifest_sha256 == first
    pair(tmp_path, "x", ALL_LABELS[::-1].copy())
    assert opened("humans-2k", tmp_path).manifest_sha256 != first
