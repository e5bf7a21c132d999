"""``list``, ``data`` and ``weights``: what there is and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


def test_list_shows_tasks_data_sets_and_models(call: Call) -> None:
    _, out, _ = call("list")
    for name in ("pose", "normal", "synthetic-humans", "coco-val2017", "movenet-thunder", "sapiens-1b"):
        assert name in out


def test_list_as_json_is_complete_and_filtered(call: Call) -> None:
    rows = json.loads(call("list", "models", "--task", "pose", "--json")[1])
    assert {row["task"] for row in rows} == {"pose"}
    thunder = next(row for row in rows if row["id"] == "movenet-thunder")
    assert (thunder["status"], thunder["licence"], thunder["in_all"]) == ("shipped", "Apache-2.0", True)
    assert next(row for row in rows if row["id"] == "oracle")["status"] == "needs none"
    assert set(json.loads(call("list", "--json")[1])) == {"tasks", "datasets", "models"}


def test_list_as_json_gives_every_option_with_type_default_range_and_meaning(call: Call) -> None:
    rows = {row["id"]: row for row in json.loads(call("list", "models", "--json")[1])}
    sapiens = {option["name"]: option for option in rows["sapiens-1b"]["options"]}
    assert sapiens["pipeline"]["type"] == "full | lite"
    assert rows["oracle"]["options"] == []
    assert all("options_error" not in row for row in rows.values())
    options = [option for row in rows.values() for option in row["options"]]
    assert all(set(o) == {"name", "type", "default", "is_required", "range", "doc"} for o in options)
    assert any(o["range"].startswith("g") for o in options)
    assert all(o["type"] and o["doc"] for o in options)


@pytest.mark.parametrize("what", ["datasets", "detectors"])
def test_data_sets_and_detectors_have_their_options_too(call: Call, what: str) -> None:
    rows = json.loads(call("list", what, "--json")[1])
    assert all("options" in row and "options_error" not in row for row in rows)
    assert any(row["options"] for row in rows)


def test_a_model_whose_code_is_broken_says_so_in_its_row(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("class X: pass\n")
    (tmp_path / "x.yaml").write_text(
        "schema: model/1\nid: xs\ntitle: X\ntask: depth\nlicence: {name: MIT}\nwrapper: ./x.py:X\n"
        "trained_on: nothing\nvariants: [{id: x, title: X}]\n"
    )
    rows = json.loads(call("list", "models", "--json", "--cards", tmp_path)[1])
    row = next(row for row in rows if row["id"] == "x")
    assert row["options"] == []
    assert "class X (x.py) has no method prepare, forward, finish" in row["options_error"]


def test_list_spaces_names_their_maps(call: Call) -> None:
    rows = {row["id"]: row for row in json.loads(call("list", "spaces", "--json")[1])}
    assert rows["coco17"]["entries"] == 17
    assert "coco17" in rows["blazepose33"]["maps_to"]


def test_list_spaces_gives_all_that_a_drawing_needs(call: Call) -> None:
    coco = next(row for row in json.loads(call("list", "spaces", "--json")[1]) if row["id"] == "coco17")
    assert len(coco["colours"]) == len(coco["names"]) == len(coco["sigmas"]) == 17
    assert all(0 <= end < 17 for pair in coco["skeleton"] for end in pair)


def test_list_published_prints_every_number_and_as_json_its_source(call: Call) -> None:
    code, out, _ = call("list", "published")
    assert code == 0
    _, table = out.split("\nsapiens1-t3-humans-5k: ")
    heading, *lines = table.split("\n\nsapiens1-t4")[0].splitlines()
    assert "Table 3" in heading
    assert "61.1" in next(line for line in lines if line.startswith("Sapiens-2B")).split()
    assert "§" in next(line for line in lines if line.startswith("DWPose-l"))
    entries = {row["id"]: row for row in json.loads(call("list", "published", "--json")[1])}
    row = entries["sapiens1-t3-humans-5k"]["rows"]["ViTPose+-L"]
    assert row["attributes"] == {"input_size": "256x192"}
    assert all(value is None or value["source"] for value in row["values"].values())


def test_terms_are_shown_where_something_is_forbidden(call: Call) -> None:
    _, out, _ = call("list", "datasets")
    line = next(line for line in out.splitlines() if line.startswith("hi4d "))
    assert "Hi4D terms (no commercial use, not to be passed on)" in line
    facts = {row["id"]: row for row in json.loads(call("list", "datasets", "--json")[1])}
    assert facts["hi4d"]["may_redistribute"] is False
    assert facts["coco-val2017"]["may_redistribute"] is None
    assert "not to be passed on" in call("data", "show", "hi4d")[1]


def test_what_was_copied_out_of_a_data_set_carries_its_terms(tmp_path: Path) -> None:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cli.licences import leave_terms

    catalog = Catalog.load()
    assert "not to be passed on" in leave_terms(catalog.dataset("hi4d"), tmp_path / "a")
    assert "no commercial use" in (tmp_path / "a" / "LICENCE.txt").read_text()
    assert leave_terms(catalog.dataset("synthetic-humans"), tmp_path / "b") == ""
    assert "CC0-1.0" in (tmp_path / "b" / "LICENCE.txt").read_text()


def test_list_says_which_data_sets_are_here(call: Call, coco: Path) -> None:
    rows = {r["id"]: r["status"] for r in json.loads(call("list", "datasets", "--json", "--data-root", coco)[1])}
    assert rows["coco-val2017"] == "here"
    assert rows["synthetic-humans"] == "made on first use"
    assert rows["humans-5k"] == "not found"


def test_data_show_tells_how_to_get_it(call: Call) -> None:
    _, out, _ = call("data", "show", "coco-val2017")
    for part in ("cocodataset.org", "CC-BY-4.0", "val2017/*.jpg", "gt-box"):
        assert part in out


def test_data_check_counts_images_and_goes_on_without_optional_files(call: Call, coco: Path) -> None:
    code, out, _ = call("data", "check", "coco-val2017", "--data-root", coco)
    assert code == 0
    assert "gt-box: 4 images" in out
    assert "detector-70: not ready" in out


def test_detectors_are_listed_with_the_way_to_get_them(call: Call) -> None:
    code, out, _ = call("list", "detectors")
    assert code == 0
    assert "rtdetr" in out
    assert "missing" in out


def test_data_prepare_refuses_what_lies_ready(call: Call, coco: Path) -> None:
    code, _, err = call("data", "prepare", "coco-val2017", "--data-root", coco)
    assert code == 2
    assert "nothing to prepare" in err


@pytest.mark.slow
def test_data_prepare_renders_the_first_images(call: Call) -> None:
    code, out, err = call("data", "prepare", "synthetic-humans", "--split", "tiny", "--limit", "1", "--workers", "1")
    assert code == 0, err
    assert "1 images of synthetic-humans are ready" in out


def test_data_path_names_the_folders(call: Call) -> None:
    import os

    assert os.environ["SAPIENS_BENCH_CACHE"] in call("data", "path")[1].replace("\n", "")


def test_weights_show_tells_where_the_file_is(call: Call) -> None:
    _, out, _ = call("weights", "show", "movenet-thunder")
    assert "movenet_thunder.safetensors" in out
    assert "Apache-2.0" in out
    assert "none needed" in call("weights", "show", "oracle")[1]


def test_weights_list_says_what_is_missing(call: Call) -> None:
    _, out, _ = call("weights", "list", "--task", "pose")
    line = next(line for line in out.splitlines() if line.startswith("sapiens-1b "))
    assert "missing" in line
    assert "CC-BY-NC-4.0" in line
