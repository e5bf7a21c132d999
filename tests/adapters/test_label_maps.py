"""Pictures with index maps: official maps, ignored labels, and what does not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense import label_maps
from sapiens_bench.adapters.dense.label_maps import LabelMaps
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import SpaceCard, SpaceMapCard
from sapiens_bench.cards.spaces import SourceSpace, build_map
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, LabelSpaceMismatch, SampleFault
from sapiens_bench.tasks import task_for

CATALOG = Catalog.load()
OFFICIAL = ["cihp", "lip", "atr", "pascal-person-part"]


def opened(dataset: str, root: Path, protocol: str | None = None, **options: Any) -> LabelMaps:
    card = CATALOG.dataset(dataset)
    p = card.protocols[protocol or card.default_protocol("seg") or ""]
    p = p.model_copy(update={"options": {**p.options, **options}})
    return LabelMaps(
        DataContext(
            card=card,
            protocol=p,
            space=CATALOG.space(p.space or ""),
            to_space=CATALOG.sources_of(p.space),
            root=root,
            split="",
            boxes="",
            seed=0,
            options=read_options(LabelMaps.Options, p.options, "test"),
        )
    )


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
    put(tmp_path / "labels/a.png", np.dstack([ALL_LABELS, ALL_LABELS, ALL_LABELS * 0]))
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
    assert [note.partition(" left out")[0] for note in adapter.notes] == ["images: alone", "labels: only"]
    (tmp_path / "labels/x.png").unlink()
    with pytest.raises(
        DataMissing, match=r"images: 2 files in .*, e\.g\. 'alone'; labels: 1 files in .*, e\.g\. 'only'"
    ):
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


def test_the_first_folder_that_is_there_is_taken(tmp_path: Path) -> None:
    for number, place in enumerate(("", "instance-level_human_parsing/")):
        root = tmp_path / str(number)
        put(root / f"{place}Validation/Images/x.jpg", np.zeros((4, 5, 3), np.uint8))
        put(root / f"{place}Validation/Category_ids/x.png", ALL_LABELS)
        put(root / f"{place}Validation/Instance_ids/x.png", ALL_LABELS)
        assert opened("cihp", root, "lip20").keys == ["cihp/x"]
        assert dataset_root(CATALOG.dataset("cihp"), root) == root
    inside = "TrainVal_images/TrainVal_images/val_images", "TrainVal_parsing_annotations/" * 2 + "val_segmentations"
    put(tmp_path / "lip" / inside[0] / "10.JPG", np.zeros((4, 5, 3), np.uint8))
    put(tmp_path / "lip" / inside[1] / "10.png", ALL_LABELS)
    assert opened("lip", dataset_root(CATALOG.dataset("lip"), tmp_path / "lip"), "lip20").keys == ["lip/10"]
    with pytest.raises(DataMissing, match=r"images/val_images/\S+ or val_images/"):
        dataset_root(CATALOG.dataset("lip"), tmp_path / "0")


def test_pictures_of_labels_beside_them_are_no_labels(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    put(tmp_path / "labels/x_vis.png", np.dstack([ALL_LABELS] * 3))
    adapter = opened("humans-2k", tmp_path)
    assert adapter.keys == ["humans-2k/x"]
    assert any("labels: x_vis left out" in note for note in adapter.notes)


def test_masks_of_0_and_255_are_refused_until_they_are_declared(tmp_path: Path) -> None:
    mask = (ALL_LABELS > 9).astype(np.uint8) * 255
    pair(tmp_path, "x", mask)
    with pytest.raises(DatasetRejected, match="no pixel of any foreground class"):
        opened("humans-2k", tmp_path)
    card = CATALOG.dataset("humans-2k")
    person = card.protocols["default"].model_copy(update={"space": "person2"})
    options = read_options(LabelMaps.Options, {"label_encoding": "mask"}, "test")
    found = LabelMaps(
        DataContext(card, person, CATALOG.space("person2"), CATALOG.sources_of("person2"), tmp_path, "", "", 0, options)
    )
    assert np.array_equal(found[0].target.labels_HW, mask > 0)
    with pytest.raises(CardError, match="label set of masks is person2"):
        opened("humans-2k", tmp_path, label_encoding="mask")


def test_identity_follows_picture_and_labels(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    adapter = opened("humans-2k", tmp_path)
    before = adapter.identity(0)
    (tmp_path / "images/x.jpg").write_bytes(b"another picture")
    assert adapter.identity(0) != before


def test_a_phone_picture_is_turned_as_its_labels_show(tmp_path: Path) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (4, 5)).save(tmp_path / "images/x.jpg", exif=exif)
    adapter = opened("humans-2k", tmp_path)
    assert adapter[0].input.image_HW3.shape == (4, 5, 3)
    assert any("orientation 6, read as viewed" in note for note in adapter.notes)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint16])
def test_label_arrays_of_any_whole_type(tmp_path: Path, dtype: type) -> None:
    pair(tmp_path, "x", ALL_LABELS)
    (tmp_path / "labels/x.png").unlink()
    np.save(tmp_path / "labels/x.npy", ALL_LABELS.astype(dtype))
    assert np.array_equal(opened("humans-2k", tmp_path)[0].target.labels_HW, ALL_LABELS)


def test_distinct_labels_are_those_of_numpy_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 28, (37, 53))
    for block in (1, 100, 10_000):
        monkeypatch.setattr(label_maps, "BLOCK", block)
        for dtype in (np.uint8, np.int64):
            assert label_maps.distinct(labels.astype(dtype)) == np.unique(labels).tolist()


def test_a_label_set_from_outside_the_package_is_known_to_the_adapter(tmp_path: Path) -> None:
    """Sets and maps come resolved in the context: no card folder is looked up below the plan."""
    mine = SpaceCard.model_validate(
        {"schema": "space/1", "id": "mine", "title": "t", "kind": "labels", "source": "s", "names": ("Nothing", "Body")}
    )
    pairs = {"Nothing": "Background", "Body": "Person"}
    joined = SpaceMapCard.model_validate(
        {"schema": "space-map/1", "id": "m", "source": "mine", "target": "person2", "provenance": "p", "pairs": pairs}
    )
    pair(tmp_path, "x", (ALL_LABELS > 9).astype(np.uint8))
    card, person = CATALOG.dataset("humans-2k"), CATALOG.space("person2")
    protocol = card.protocols["default"].model_copy(update={"space": "person2"})
    options = read_options(LabelMaps.Options, {"annotated_in": "mine"}, "test")
    known = {"mine": SourceSpace(mine, build_map(joined, mine, person))}
    found = LabelMaps(DataContext(card, protocol, person, known, tmp_path, "", "", 0, options))
    assert np.array_equal(found[0].target.labels_HW, ALL_LABELS > 9)


@pytest.mark.parametrize(("ignored", "dtype"), [(200, np.uint8), (1000, np.uint16), (-1, np.int16)])
def test_what_is_not_scored_is_what_the_label_set_of_the_files_says(tmp_path: Path, ignored: int, dtype: Any) -> None:
    stored = np.array([[0, 1, ignored], [1, 0, 0]], dtype)
    pair(tmp_path, "a", np.zeros((2, 3), np.uint8))
    (tmp_path / "labels/a.png").unlink()
    np.save(tmp_path / "labels/a.npy", stored)
    fields: dict[str, Any] = {"schema": "space/1", "id": "mine", "title": "x", "kind": "labels", "source": "x"}
    mine = SpaceCard(**fields, names=("back", "front"), ignore_index=ignored)
    person = CATALOG.space("person2")
    pairs = {"back": person.names[0], "front": person.names[1]}
    map_fields: dict[str, Any] = {"schema": "space-map/1", "id": "m", "source": "mine", "target": "person2"}
    joined = build_map(SpaceMapCard(**map_fields, provenance="x", pairs=pairs), mine, person)
    card = CATALOG.dataset("humans-2k")
    p = card.protocols[card.default_protocol("seg") or ""].model_copy(update={"space": "person2"})

    def labels(*, is_known: bool = True) -> LabelMaps:
        known = mine if is_known else mine.model_copy(update={"ignore_index": None})
        return LabelMaps(
            DataContext(
                card=card, protocol=p, space=person, to_space={"mine": SourceSpace(known, joined)}, root=tmp_path,
                split="", boxes="", seed=0, options=read_options(LabelMaps.Options, {"annotated_in": "mine"}, "test"),
            )
        )  # fmt: skip

    assert labels()[0].target.labels_HW.tolist() == [[0, 1, 255], [1, 0, 0]]
    with pytest.raises(SampleFault, match=rf"label {ignored}; valid are 0..1 and 255"):
        labels(is_known=False).target(0)
    np.save(tmp_path / "labels/a.npy", np.where(stored == ignored, 255, stored).astype(np.int16))
    with pytest.raises(SampleFault, match=rf"label 255; valid are 0..1 and {ignored}"):
        labels().target(0)


def test_an_ignored_number_is_no_label() -> None:
    fields: dict[str, Any] = {"schema": "space/1", "id": "mine", "title": "x", "source": "x", "names": ("a", "b")}
    with pytest.raises(ValueError, match="ignore_index"):
        SpaceCard(**fields, kind="labels", ignore_index=1)
