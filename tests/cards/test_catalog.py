"""Selecting models, cards from outside the package, and names that do not exist."""

from __future__ import annotations

import shutil
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from sapiens_bench.cards import sources
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CardError, LabelSpaceMismatch, UnknownName, UsageError

MODEL = """\
schema: model/1
id: {id}-family
title: Mine
task: pose
licence: {{name: MIT}}
wrapper: {wrapper}
space: {space}
trained_on: nothing
variants: [{{id: {id}, title: Mine}}]
"""
SPACE = """\
schema: space/1
id: two
title: Two points
kind: keypoints
source: a test
names: [left_eye, right_eye]
flip_index: [1, 0]
sigmas: [0.025, 0.025]
"""
MAP = """\
schema: space-map/1
id: coco17__two
source: coco17
target: two
provenance: by name
pairs: {left_eye: left_eye, right_eye: right_eye}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def write_model(folder: Path, name: str, wrapper: str = "movenet", space: str = "coco17") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(MODEL.format(id=name, wrapper=wrapper, space=space), encoding="utf-8")
    return path


def ids(catalog: Catalog, *patterns: str, task: str = "pose") -> list[str]:
    return [entry.id for entry in catalog.select(task, patterns)]


def test_all_means_networks_and_floors_of_the_default_and_never_a_diagnostic(catalog: Catalog) -> None:
    pose = ids(catalog, "all")
    assert "movenet-lightning" in pose
    assert {"oracle", "noisy-oracle", "blazepose-heavy", "zoomnas"}.isdisjoint(pose)
    assert "floor-background" in ids(catalog, "all", task="seg")


def test_ids_families_globs_and_comma_lists_select_in_card_order_without_repeats(catalog: Catalog) -> None:
    assert ids(catalog, "oracle") == ["oracle"]
    assert ids(catalog, "blazepose") == ["blazepose-lite", "blazepose-full", "blazepose-heavy"]
    mixed = ids(catalog, "movenet-thunder, movenet-*", "blazepose-lite")
    assert mixed == ["blazepose-lite", "movenet-lightning", "movenet-thunder"]
    order = list(catalog.models)
    chosen = ids(catalog, "*")
    assert chosen == sorted(chosen, key=order.index)
    assert set(chosen) == {i for i, e in catalog.models.items() if e.card.task == "pose"}


def test_a_misspelt_model_gets_the_nearest_names(catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match="movenet-thunder"):
        catalog.select("pose", ["movenet-tunder"])
    with pytest.raises(UnknownName, match="sapiens"):
        catalog.select("pose", ["sapeins-*"])
    with pytest.raises(UsageError, match=r"No pointmap model is part of `--models all`.* oracle-pointmap"):
        catalog.select("pointmap", ["all"])
    with pytest.raises(UnknownName, match="movenet-thunder"):
        catalog.model("movenet-tunder")
    with pytest.raises(UnknownName, match="coco-val2017"):
        catalog.dataset("coco-val-2017")
    with pytest.raises(UnknownName, match="goliath308"):
        catalog.space("goliath-308")


def test_the_model_of_the_same_name_of_this_task_is_offered(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match=r"'oracle' is a model for pose, not for depth. Did you mean 'oracle-depth'\?"):
        catalog.select("depth", ["oracle"])


def test_a_model_of_another_task_is_named_as_such(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="model for normal, not for pose"):
        catalog.select("pose", ["pifuhd"])


def test_no_pattern_and_unknown_task_are_errors_of_the_request(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="No model was named"):
        catalog.select("pose", ["", " , "])
    with pytest.raises(UnknownName, match="pose"):
        catalog.select("poze", ["all"])


def test_cards_from_a_folder_join_the_catalogue(tmp_path: Path) -> None:
    write_model(tmp_path, "mine", space="two")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    (tmp_path / "map.yaml").write_text(MAP, encoding="utf-8")
    catalog = Catalog.load([tmp_path])
    assert catalog.broken == {}
    assert catalog.model("mine").path == tmp_path / "mine.yaml"
    assert catalog.card_paths["mine-family"] == tmp_path / "mine.yaml"
    (tmp_path / "mine.yaml").rename(tmp_path / "mine.yml")
    assert Catalog.load([tmp_path]).model("mine").path == tmp_path / "mine.yml"
    assert list(catalog.space_map("coco17", "two").index) == [1, 2]
    assert ids(catalog, "mine", "movenet-thunder") == ["movenet-thunder", "mine"]


def test_a_broken_card_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    write_model(tmp_path, "mine")
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: model/1\nid: no\n", encoding="utf-8")
    lost = write_model(tmp_path, "lost", space="coco-17")
    clash = write_model(tmp_path, "movenet-thunder")
    catalog = Catalog.load([tmp_path])
    assert "mine" in catalog.models
    assert set(catalog.broken) == {str(bad), str(lost), str(clash)}
    assert "truth value" in catalog.broken[str(bad)]
    assert "coco17" in catalog.broken[str(lost)]
    assert "exists already" in catalog.broken[str(clash)]
    assert catalog.model("movenet-thunder").card.id == "movenet"
    with pytest.raises(UnknownName, match=r"card\(s\) were refused") as error:
        catalog.model("qqq")
    text = str(error.value)
    assert f"{lost}, key 'space': Unknown keypoint or label set 'coco-17'. Did you mean 'coco17'" in text
    assert f"{clash}, key 'variants': 'movenet-thunder' exists already; every id is unique, so give yours" in text
    assert text.index("truth value") < text.index("coco-17") < text.index("Known:")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ('file: f, get: {how: h}, also: {"../../victim.txt": null}', "also"),
        ('file: f, get: {how: h, hub: {repo: a/b, file: "../f"}}', "hub.file"),
        ('file: f, get: {how: h, hub: {repo: "../a/b"}}', "hub.repo"),
        ('file: f, get: {how: h, url: "http://a.example/f"}', "get.url"),
        (f"file: {'x' * 300}, get: {{how: h}}", "file systems"),
    ],
)
def test_a_card_with_a_hostile_path_is_refused_by_name_and_all_else_works(
    tmp_path: Path, weights: str, says: str
) -> None:
    bad = write_model(tmp_path, "bad")
    text = bad.read_text(encoding="utf-8")
    facts = f"weights: {{format: pth, sha256: null, {weights}}}"
    bad.write_text(text.replace("title: Mine}]", f"title: Mine, {facts}}}]"), encoding="utf-8")
    write_model(tmp_path, "good")
    catalog = Catalog.load([tmp_path])
    assert "good" in catalog.models
    assert list(catalog.broken) == [str(bad)]
    assert says in catalog.broken[str(bad)]


def test_a_damaged_card_of_the_package_is_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = sources.package_folders()
    copies = {name: tmp_path / name for name in ("baselines", "datasets", "published")}
    for name, folder in copies.items():
        shutil.copytree(getattr(own, name), folder)
    for name in ("movenet.yaml", "cihp.yaml", "spaces/atr18.yaml"):
        path = copies["baselines" if name == "movenet.yaml" else "datasets"] / name
        path.write_text("schema: model/1\nid: [", encoding="utf-8")
    spaces = copies["datasets"] / "spaces"
    folders = sources.CardFolders(copies["baselines"], copies["datasets"], spaces, spaces / "maps", copies["published"])
    monkeypatch.setattr("sapiens_bench.cards.catalog.package_folders", lambda: folders)
    catalog = Catalog.load()
    assert "blazepose-full" in catalog.models
    assert "lip" in catalog.datasets
    assert "atr18" not in catalog.spaces
    assert {Path(path).name for path in catalog.broken} == {"movenet.yaml", "cihp.yaml", "atr18.yaml"}


def test_an_outside_map_for_existing_sets_must_be_new_and_right(tmp_path: Path) -> None:
    again = MAP.replace("target: two", "target: wb53").replace("source: coco17", "source: goliath308")
    (tmp_path / "again.yaml").write_text(again, encoding="utf-8")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(MAP.replace("right_eye: right_eye", "right_eye: third_eye"), encoding="utf-8")
    broken = Catalog.load([tmp_path]).broken
    assert "exists already" in broken[str(tmp_path / "again.yaml")]
    assert "'third_eye' is not a name of 'coco17'" in broken[str(tmp_path / "wrong.yaml")]


def test_code_beside_a_card_is_allowed_only_where_the_user_pointed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("class Net: ...\n", encoding="utf-8")
    good = write_model(tmp_path, "mine", wrapper="./net.py:Net")
    assert "mine" in Catalog.load([good]).models
    for i, wrapper in enumerate(["../net.py:Net", "./sub/net.py:Net", "/net.py:Net", "./net.py", "./absent.py:Net"]):
        bad = write_model(tmp_path, f"bad{i}", wrapper=wrapper)
        assert "wrapper" in Catalog.load([bad]).broken[str(bad)], wrapper


def test_a_link_to_code_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "net.py").write_text("class Net: ...\n", encoding="utf-8")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "net.py").symlink_to(tmp_path / "elsewhere" / "net.py")
    path = write_model(tmp_path / "cards", "mine", wrapper="./net.py:Net")
    assert "not a file beside the card" in Catalog.load([path]).broken[str(path)]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        Catalog.load([tmp_path / "absent"])


def test_plugins_give_cards_without_code_and_a_broken_one_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_plugin_of_cards"
    package.mkdir()
    write_model(package, "from-plugin")
    sneaky = write_model(package, "sneaky", wrapper="./net.py:Net")
    raising = tmp_path / "my_raising_plugin"
    raising.mkdir()
    (raising / "__init__.py").write_text("raise RuntimeError('boom')\n", encoding="utf-8")
    (tmp_path / "my_exiting_plugin").mkdir()
    (tmp_path / "my_exiting_plugin" / "__init__.py").write_text("import sys\nsys.exit('bye')\n", encoding="utf-8")
    points = [
        EntryPoint("good", "my_plugin_of_cards", sources.ENTRY_POINTS),
        EntryPoint("raises", "my_raising_plugin.cards", sources.ENTRY_POINTS),
        EntryPoint("absent", "no_such_package_at_all", sources.ENTRY_POINTS),
        EntryPoint("exits", "my_exiting_plugin.cards", sources.ENTRY_POINTS),
    ]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "entry_points", lambda group: EntryPoints(points))
    catalog = Catalog.load()
    assert "from-plugin" in catalog.models
    assert "--cards" in catalog.broken[str(sneaky)]
    assert "boom" in catalog.broken["plug-in raises"]
    assert "plug-in absent" in catalog.broken
    assert "bye" in catalog.broken["plug-in exits"]


def test_cards_are_found_in_a_wheel_and_beside_an_editable_package(tmp_path: Path, repository: Path) -> None:
    own = sources.package_folders(repository / "sapiens_bench")
    wheel = tmp_path / "site-packages" / "sapiens_bench"
    shutil.copytree(own.baselines, wheel / "_cards" / "baselines")
    shutil.copytree(own.datasets, wheel / "_cards" / "datasets")
    shutil.copytree(own.published, wheel / "_cards" / "published")
    found = sources.package_folders(wheel)
    assert found.maps == wheel / "_cards" / "datasets" / "spaces" / "maps"
    assert [p.name for p in sources.card_files(found.baselines)] == [p.name for p in sources.card_files(own.baselines)]
    with pytest.raises(CardError, match="installation is incomplete"):
        sources.package_folders(tmp_path / "sapiens_bench")


def test_a_missing_map_says_what_exists_and_nothing_is_guessed(catalog: Catalog) -> None:
    with pytest.raises(LabelSpaceMismatch, match="can be mapped to coco17"):
        catalog.space_map("blazepose33", "coco-wholebody133")
    with pytest.raises(LabelSpaceMismatch, match="has no map at all"):
        catalog.space_map("coco17", "goliath308")


def test_a_card_of_a_task_that_nobody_has_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "dance.yaml").write_text(
        "schema: model/1\nid: d\ntitle: D\ntask: dance\nlicence: {name: MIT}\nwrapper: movenet\ntrained_on: x\n"
        "variants: [{id: dancer, title: Dancer}]\n"
    )
    catalog = Catalog.load([tmp_path])
    catalog.refuse_unknown_tasks(["pose", "seg"])
    assert "dancer" not in catalog.models
    assert "Unknown task 'dance'" in catalog.broken[str(tmp_path / "dance.yaml")]
