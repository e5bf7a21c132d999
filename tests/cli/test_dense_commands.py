"""``verify conventions``, ``data export`` and ``run --save-maps`` as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sapiens_bench.cli import app
from sapiens_bench.store.record import read_run

Call = Callable[..., tuple[int, str, str]]
CODE = """
import numpy as np
from pathlib import Path
from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.types import Prepared


class ToldOptions(Options):
    sign: tuple[int, int, int]


class Told:
    Options = ToldOptions

    def __init__(self, context):
        self.sign = np.asarray(context.options.sign, np.float32)

    def prepare(self, x):
        return Prepared({{}}, x.key.rpartition("/")[2])

    def forward(self, tensors):
        return {{}}

    def finish(self, outputs, stem):
        return NormalPrediction(np.nan_to_num(np.load(Path({root!r}) / f"normals/{{stem}}.npy"), nan=1.0) * self.sign)
"""
CARD = """schema: model/1
id: told
title: Told
task: normal
licence: {name: Apache-2.0}
wrapper: ./told.py:Told
trained_on: nothing
variants:
  - {id: told-right, title: Right, options: {sign: [1, 1, 1]}}
  - {id: told-wrong, title: Wrong, options: {sign: [1, -1, -1]}}
"""


@pytest.fixture
def root(sphere: ModuleType, tmp_path: Path) -> Path:
    data = sphere.write_folder(tmp_path / "data", {"a": sphere.perspective(), "b": sphere.perspective(x=-0.2)})
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/told.yaml").write_text(CARD)
    (tmp_path / "cards/told.py").write_text(CODE.format(root=str(data)))
    return Path(data)


def sapiens_bench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def test_verify_conventions_prints_every_sign_and_fails_on_the_wrong_card(root: Path, tmp_path: Path) -> None:
    common = ("--dataset", "folder", "--data-root", root, "--cards", tmp_path / "cards", "--device", "cpu")
    right = sapiens_bench("verify", "conventions", "--model", "told-right", *common, "--json", tmp_path / "c.json")
    assert right.exit_code == 0, right.output
    assert "+x +y +z" in right.output
    assert "best, declared" in right.output
    assert "the declaration holds" in right.output
    found = json.loads((tmp_path / "c.json").read_text())
    assert (found["outcome"], len(found["scores"]), found["n_images"]) == ("confirmed", 16, 2)
    wrong = sapiens_bench("verify", "conventions", "--model", "told-wrong", *common)
    assert wrong.exit_code == 2
    assert "axis_sign: [1, -1, -1]" in wrong.output
    assert "Traceback" not in wrong.output


def test_verify_conventions_of_something_without_one_is_explained(root: Path) -> None:
    for name, reason in (("floor-flat-normal", "is no network"), ("movenet-thunder", "predicts pose")):
        result = sapiens_bench("verify", "conventions", "--model", name)
        assert result.exit_code == 2
        assert reason in result.output
    result = sapiens_bench("verify", "conventions", "--model", "sapiens-1b-normal")
    assert result.exit_code == 2
    assert "weights get" in result.output


def test_export_then_run_with_maps_then_score_the_maps(root: Path, tmp_path: Path) -> None:
    common = ("--dataset", "folder", "--device", "cpu", "--n-boot", 0, "--workers", 1)
    for task in ("depth", "normal"):
        export = ("data", "export", "folder", "--task", task, "--data-root", root, "--out", tmp_path / "out")
        result = sapiens_bench(*export)
        assert result.exit_code == 0, result.output
        assert "2 of 2 samples" in result.output
    run = ("run", "--task", "normal", "--data-root", tmp_path / "out", *common)
    first = sapiens_bench(*run, "--models", "floor-flat-normal", "--save-maps", "--out", tmp_path / "r1")
    assert first.exit_code == 0, first.output
    maps = tmp_path / "r1/maps/normal/folder/normal/floor-flat-normal"
    assert len(list(maps.rglob("*.png"))) == 2
    again = sapiens_bench(*run, "--models", "saved-maps-normal", "--option", f"maps={maps}", "--out", tmp_path / "r2")
    assert again.exit_code == 0, again.output
    assert "Re-scored from saved maps (16 bit)" in again.output


def test_data_check_says_notes_and_faults_and_fails_where_nothing_is_sound(root: Path) -> None:
    first, *others = sorted((root / "images").iterdir())
    first.write_bytes(b"<!DOCTYPE html>")
    (root / "images/zzz.png").write_bytes(others[0].read_bytes())
    result = sapiens_bench("data", "check", "folder", "--data-root", root)
    assert result.exit_code == 0, result.output
    assert "note: image: zzz left out" in result.output
    assert "(it looks like a web page)" in result.output
    for path in others:
        path.write_bytes(b"")
    result = sapiens_bench("data", "check", "folder", "--data-root", root)
    assert result.exit_code == 3, result.output
    assert "every sample that was opened is at fault" in result.output


def test_data_check_names_labels_at_fault(tmp_path: Path) -> None:
    person = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 9, 9], "num_keypoints": 17}
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 16, "height": 12} for i in (1, 2)],
        "annotations": [{**person, "area": -4.0, "keypoints": [2.0, 3.0, 2] * 17}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/person_keypoints_val2017.json").write_text(json.dumps(document))
    (tmp_path / "val2017").mkdir()
    for i in (1, 2):
        Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tmp_path / f"val2017/{i}.png")
    (tmp_path / "val2017/a.jpg").write_bytes(b"")  # what the card's layout looks for
    result = sapiens_bench("data", "check", "coco-val2017", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert "at fault: coco-val2017/1: label.bbox: annotation 1: area -4" in result.output


def test_export_says_what_is_doubtful_and_fails_where_nothing_could_be_written(root: Path, tmp_path: Path) -> None:
    for mask in (root / "masks").iterdir():
        mask.write_bytes(b"no picture")
    result = sapiens_bench("data", "export", "folder", "--task", "depth", "--data-root", root, "--out", tmp_path / "o")
    assert result.exit_code == 3, result.output
    assert "note: 2 of the 2 samples looked at are at fault" in result.output
    assert "samples of folder (depth) could be read" in result.output


def test_export_of_a_task_the_set_lacks_is_refused(root: Path, tmp_path: Path) -> None:
    for task in ("pose", "colour"):
        result = sapiens_bench("data", "export", "folder", "--task", task, "--data-root", root, "--out", tmp_path / "o")
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_manifests_are_compared_and_a_difference_exits_1(call: Call, repository: Path, tmp_path: Path) -> None:
    shipped = repository / "sapiens_bench" / "embedded" / "synthetic_humans_manifest.jsonl"
    code, out, _ = call("data", "manifest", "compare", shipped, shipped)
    assert code == 0
    assert "Equal: 132 entries equal" in out
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join(shipped.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    code, out, err = call("data", "manifest", "compare", shipped, fewer)
    assert code == 1
    assert "missing" in out
    assert "1 not" in err


def test_an_export_into_a_file_is_refused_before_anything_is_rendered(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    code, _, error = call("data", "export", "synthetic-humans", "--task", "seg", "--out", tmp_path / "file")
    assert code == 2
    assert "is a file, and an export needs a folder" in error
    assert "Preparing" not in error


@pytest.mark.parametrize(("task", "score"), [("matting", "matting/sad"), ("albedo", "albedo/mae")])
def test_an_exported_folder_of_shares_holds_the_same_truth(call: Call, tmp_path: Path, task: str, score: str) -> None:
    out = tmp_path / "set"
    ask = ("data", "export", "synthetic-humans", "--task", task, "--split", "tiny", "--limit", "1", "--out", out)
    code, said, error = call(*ask)
    assert code == 0, error
    assert not (out / "frame.json").exists()  # nothing of these tasks is declared there
    command = next(line for line in said.splitlines() if "sapiens-bench run" in line).partition("#")[0].split()[1:]
    assert command[command.index("--models") + 1] == "all"
    command[command.index("--models") + 1] = f"oracle-{task}"
    code, _, error = call(*command, "--out", tmp_path / "run", "--n-boot", "0")
    assert code == 0, error
    assert read_run(tmp_path / "run").cells[0].scores[score].value < 1e-6
