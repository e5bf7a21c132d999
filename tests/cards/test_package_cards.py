"""The cards that ship: all load, all names resolve, nothing promised that the sources do not hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import file_sha256
from sapiens_bench.cards.sources import package_folders

EMBEDDED_DEFAULT = {"movenet-lightning", "movenet-thunder", "blazepose-lite", "blazepose-full"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def test_every_card_of_the_package_loads_and_none_is_broken(catalog: Catalog) -> None:
    assert catalog.broken == {}
    assert not EMBEDDED_DEFAULT - set(catalog.models)
    assert not {"synthetic-humans", "coco-val2017", "coco-wholebody-val", "hi4d", "thuman2"} - set(catalog.datasets)
    assert not {"coco17", "coco-wholebody133", "goliath308", "blazepose33", "body28"} - set(catalog.spaces)
    assert len(catalog.published) >= 25


def test_every_space_that_a_card_names_exists_and_is_of_the_right_kind(catalog: Catalog) -> None:
    kinds = {"pose": "keypoints", "seg": "labels"}
    for entry in catalog.models.values():
        if (name := entry.card.space_of(entry.variant)) is not None:
            assert catalog.space(name).kind == kinds[entry.card.task], entry.id
    for dataset in catalog.datasets.values():
        for name, protocol in dataset.protocols.items():
            assert (protocol.space is None) == (protocol.task not in kinds), (dataset.id, name)
            if protocol.space is not None:
                assert catalog.space(protocol.space).kind == kinds[protocol.task]


def test_every_task_of_a_card_is_one_that_can_be_scored(catalog: Catalog) -> None:
    from sapiens_bench.tasks import TASKS

    assert catalog.tasks <= set(TASKS)
    for card in catalog.datasets.values():
        assert {protocol.task for protocol in card.protocols.values()} <= catalog.tasks, card.id


def test_options_and_scoring_keys_of_every_protocol_are_known(catalog: Catalog) -> None:
    from sapiens_bench.adapters import TABLE
    from sapiens_bench.cards.options import read_options
    from sapiens_bench.tasks import task_for

    for dataset in catalog.datasets.values():
        kind = getattr(TABLE.find(dataset.adapter, catalog.card_paths[dataset.id]), "Options", None)
        for name, protocol in dataset.protocols.items():
            about = f"{dataset.id}, {name}"
            task_for(protocol, None if protocol.space is None else catalog.space(protocol.space), about)
            if kind is not None:
                read_options(kind, protocol.options, about)


def test_every_map_card_builds(catalog: Catalog) -> None:
    assert len(catalog.maps) >= 15
    for source, target in catalog.maps:
        assert len(catalog.space_map(source, target).surviving) > 1


def test_every_published_name_that_a_card_uses_exists(catalog: Catalog) -> None:
    rows = {name: set(entry.rows) for name, (_, entry) in catalog.published.items()}
    for dataset in catalog.datasets.values():
        for protocol in dataset.protocols.values():
            assert set(protocol.published) <= set(rows), dataset.id
    for entry in catalog.models.values():
        assert set(entry.variant.published_in) <= set(rows), entry.id
        searched = entry.variant.published_in or tuple(rows)
        for name in entry.variant.published_as:
            assert any(name in rows[table] for table in searched), (entry.id, name)


def test_scores_of_published_entries_name_columns_that_exist(catalog: Catalog) -> None:
    for name, (_, entry) in catalog.published.items():
        columns = {column for row in entry.rows.values() for column in row}
        assert set(entry.metrics.values()) <= columns, name
        assert set(entry.scale) <= set(entry.metrics), name


def test_a_printed_per_cent_becomes_a_share(catalog: Catalog) -> None:
    protocol = catalog.dataset("coco-val2017").protocols["detector-70"]
    (row,) = catalog.published_rows(catalog.model("sapiens-0.3b-coco17").variant, protocol)
    assert row.scores()["oks/AP"] == 0.796
    assert row.scores()["oks/ARL"] == 0.891


def test_a_published_number_stands_only_beside_its_own_variant_and_boxes(catalog: Catalog) -> None:
    protocols = catalog.dataset("coco-val2017").protocols
    for name in ("sapiens-0.3b", "sapiens-0.3b-wholebody", "vitpose-plus-l"):
        assert catalog.published_rows(catalog.model(name).variant, protocols["detector-70"]) == []
    assert catalog.published_rows(catalog.model("sapiens-0.3b-coco17").variant, protocols["gt-box"]) == []
    (row,) = catalog.published_rows(catalog.model("vitpose-plus-l").variant, protocols["detector-56"])
    assert (row.name, row.scores()["oks/AP"]) == ("ViTPose++-L", 0.786)


def test_depth_and_normal_numbers_keep_their_units(catalog: Catalog) -> None:
    hi4d = catalog.dataset("hi4d").protocols
    (depth,) = catalog.published_rows(catalog.model("sapiens-2b-depth").variant, hi4d["depth-list"])
    assert depth.scores() == {"depth/rmse": 0.114, "depth/abs_rel": 0.036, "depth/delta1": 1.0}
    (normal,) = catalog.published_rows(catalog.model("sapiens-2b-normal").variant, hi4d["normal-list"])
    assert normal.scores()["normal/mean_deg"] == 12.14
    assert normal.scores()["normal/below_11_25"] == 0.6022


def test_embedded_weights_are_pinned_to_the_bytes_that_ship(catalog: Catalog) -> None:
    folder = package_folders().baselines.parent / "sapiens_bench" / "embedded"
    shipped = [
        e.variant.weights for e in catalog.models.values() if e.variant.weights and e.variant.weights.get.embedded
    ]
    assert len(shipped) >= len(EMBEDDED_DEFAULT)
    for weights in shipped:
        path = folder / weights.file
        assert weights.sha256 == file_sha256(path), weights.file
        assert weights.size_bytes == path.stat().st_size


def test_every_missing_weight_says_one_way_to_get_it(catalog: Catalog) -> None:
    for entry in catalog.models.values():
        if (weights := entry.variant.weights) is not None:
            assert len(weights.get.how) >= 20
            if weights.get.hub or weights.get.url:
                assert f"sapiens-bench weights get {entry.id} --accept-licence" in weights.get.how


def test_cards_of_models_and_data_sets_stay_readable() -> None:
    folders = package_folders()
    for path in (*folders.baselines.glob("*.yaml"), *folders.datasets.glob("*.yaml")):
        assert len(path.read_text("utf-8").splitlines()) <= 100, path.name


def test_left_and_right_are_mirror_images_in_every_set(catalog: Catalog) -> None:
    for space in catalog.spaces.values():
        assert len(space.flip_index) == len(space.names), space.id
        for i, j in enumerate(space.flip_index):
            name = space.names[i].lower()
            if name.startswith(("left", "right")):
                assert i != j, (space.id, name)
                assert space.names[j].lower().startswith("right" if name.startswith("left") else "left")


def test_parts_of_the_whole_body_have_the_documented_sizes(catalog: Catalog) -> None:
    sizes = {name: len(ids) for name, ids in catalog.space("coco-wholebody133").groups.items()}
    assert sizes == {"body": 17, "foot": 6, "face": 68, "left_hand": 21, "right_hand": 21}
    sizes = {name: len(ids) for name, ids in catalog.space("goliath308").groups.items()}
    assert sizes == {"body": 17, "foot": 6, "face": 238, "left_hand": 20, "right_hand": 20, "extra": 7}
    for name in ("coco-wholebody133", "goliath308", "wb53", "wb63", "wb83"):
        indices = [i for group in catalog.space(name).groups.values() for i in group]
        assert len(indices) == len(set(indices)) == len(catalog.space(name).names)


def test_label_colours_are_distinct(catalog: Catalog) -> None:
    for space in catalog.spaces.values():
        if space.kind == "labels":
            assert len(set(space.colours)) == len(space.names), space.id


def test_loading_the_catalogue_needs_no_heavy_package(tmp_path: Path) -> None:
    code = (
        "import sys; from sapiens_bench.cards.catalog import Catalog; import sapiens_bench.cards.locate;"
        "c = Catalog.load(); c.spaces; c.maps; c.published;"
        "heavy = ('torch', 'cv2', 'pandas', 'huggingface_hub', 'transformers', 'scipy');"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
