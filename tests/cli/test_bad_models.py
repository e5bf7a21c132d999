"""Model files that cannot be used, through the command line: a clear refusal, and the other models go on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sapiens_bench.cards.catalog import Catalog

Call = Callable[..., tuple[int, str, str]]
TINY = ("--split", "tiny", "--limit", "1", "--n-boot", "0", "--dataset", "synthetic-humans")
IN, OUT = ["b", 3, 64, 48], ["b", 17, 16, 12]


def onnx_file(path: Path, node: onnx.NodeProto, batch: int | str = "b", domain: str = "") -> Path:
    """One node from a picture to 17 heatmaps."""
    shapes = {"x": [batch, *IN[1:]], "heatmaps": [batch, *OUT[1:]]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    weight = numpy_helper.from_array(np.ones((17, 3, 4, 4), np.float32), "w")
    graph = helper.make_graph([node], "g", [x], [y], [weight] if "w" in node.input else [])
    known = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=known)
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())
    return path


def run(call: Call, out: Path, *words: str | Path) -> tuple[int, str, str]:
    return call("run", "--task", "pose", *TINY, "--normalise", "0..1", "--out", out, *words)


def test_an_unknown_operator_is_refused_and_the_other_model_is_scored(call: Call, tmp_path: Path) -> None:
    node = helper.make_node("WarpDrive", ["x"], ["heatmaps"], domain="com.acme")
    path = onnx_file(tmp_path / "warp.onnx", node, domain="com.acme")
    code, said, error = run(call, tmp_path / "r", "--models", f"{path},movenet-lightning")
    assert code == 6
    assert "MoveNet Lightning" in said
    assert "1 image scored." in said
    assert "warp.onnx" in error
    assert "com.acme" in error
    assert "Traceback" not in error


def test_a_program_of_another_torch_is_refused_and_the_other_model_is_scored(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"archive_format": "pt2", "version": "999", "serialized_exported_program.json": "{}"}.items():
            archive.writestr(f"old/{name}", text)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    more = ("--input", "64x48", "--output", "heatmap", "--space", "coco17", "--trust-checkpoint", f"{path}:{sha256}")
    code, said, error = run(call, tmp_path / "r", "--models", f"{path},movenet-lightning", *more)
    assert code == 6
    assert "1 image scored." in said
    assert "old.pt2 cannot be opened" in error


def test_a_file_of_one_picture_at_a_time_runs_whatever_the_batch_size(call: Call, tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path = onnx_file(tmp_path / "fixed.onnx", conv, batch=1)
    code, said, _ = run(call, tmp_path / "r", "--models", str(path), "--batch-size", "4")
    assert code == 0
    assert "takes one image at a time" in said


@pytest.mark.parametrize(
    ("keep", "said"), [(0, "is not a readable ONNX file: it is empty"), (200, "is not a readable ONNX file")]
)
def test_a_file_that_ends_too_early_is_named(call: Call, tmp_path: Path, keep: int, said: str) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path = onnx_file(tmp_path / "cut.onnx", conv)
    path.write_bytes(path.read_bytes()[:keep])
    code, _, error = run(call, tmp_path / "r", "--models", str(path))
    assert code == 2
    assert f"cut.onnx {said}" in error


def _missing(folder: Path) -> str:
    return str(folder / "gone.onnx")


def _empty(folder: Path) -> str:
    (folder / "empty.onnx").write_bytes(b"")
    return str(folder / "empty.onnx")


def _corrupt(folder: Path) -> str:
    (folder / "noise.onnx").write_bytes(bytes(range(256)) * 4)
    return str(folder / "noise.onnx")


def _bare_hub_folder(folder: Path) -> str:
    (folder / "hub").mkdir()
    (folder / "hub" / "model.safetensors").write_bytes(b"")
    return str(folder / "hub")


def _weights_alone(folder: Path) -> str:
    (folder / "state.pth").write_bytes(b"")
    return str(folder / "state.pth")


def _not_in_the_cache(folder: Path) -> str:
    return "hf:nobody/nothing"


def _no_results(folder: Path) -> str:
    return f"predictions:{folder / 'none.json'}"


def _syntax_error(folder: Path) -> str:
    (folder / "code.py").write_text("class MyModel(:\n")
    return f"{folder / 'code.py'}:MyModel"


BAD = [
    (_missing, "gone.onnx does not exist"),
    (_empty, "is not a readable ONNX file: it is empty"),
    (_corrupt, "noise.onnx is not a readable ONNX file"),
    (_bare_hub_folder, "is a folder without config.json"),
    (_weights_alone, "holds weights without a network"),
    (_not_in_the_cache, "is not in the Hugging Face cache"),
    (_no_results, "none.json does not exist"),
    (_syntax_error, "code.py"),
]


@pytest.mark.parametrize(("make", "reason"), BAD)
def test_a_file_that_cannot_be_read_while_planning_stops_no_other_model(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], str], reason: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub_cache"))
    said = ("--space", "coco17") if make is _syntax_error else ()
    named = make(tmp_path)
    code, printed, error = call(
        "run",
        "--task",
        "pose",
        *TINY,
        "--out",
        tmp_path / "r",
        "--models",
        named,
        "--models",
        "movenet-lightning",
        *said,
    )
    assert code == 6, printed + error
    assert "1 image scored." in printed
    assert reason in error
    code, _, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "alone", "--models", named, *said)
    assert code == 2
    assert reason in error


def test_two_files_that_cannot_be_read_each_keep_their_row(call: Call, tmp_path: Path) -> None:
    models = f"{_missing(tmp_path)},{_empty(tmp_path)},movenet-lightning"
    code, printed, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", "--models", models)
    assert code == 6
    assert "2 of 3 row(s) were refused" in error
    assert "gone.onnx" in printed
    assert "empty.onnx" in printed


def test_results_whose_set_has_no_map_are_a_refusal_when_their_file_was_named(call: Call, tmp_path: Path) -> None:
    points = {n: [v for k in range(n) for v in (10 + k, 20 + k, 1)] for n in (16, 17)}
    names = [{"id": 1, "name": "person", "keypoints": list(Catalog.load().space("coco17").names), "skeleton": []}]
    person = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": points[17], "num_keypoints": 17, "area": 900}
    picture = {"id": 1, "file_name": "a.jpg", "width": 90, "height": 90}
    truth = {
        "images": [picture],
        "categories": names,
        "annotations": [person | {"bbox": [5, 15, 30, 30], "iscrowd": 0}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for n, found in points.items():
        result = {"image_id": 1, "category_id": 1, "keypoints": found, "score": 0.9}
        (tmp_path / f"of{n}.json").write_text(json.dumps([result]))
    files = (tmp_path / "of17.json", tmp_path / "of16.json")
    code, said, error = call("score", "--truth", tmp_path / "truth.json", *files, "--out", tmp_path / "r")
    assert code == 6
    assert "No map from 'mpii-16' to 'coco17'" in error
    assert "of16: its points are taken for those of mpii-16" in said + error
    assert "1 image scored." in said


def test_a_file_that_has_come_is_scored_in_the_row_that_was_refused(call: Call, tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    models = ("--models", f"{_missing(tmp_path)},movenet-lightning")
    assert run(call, tmp_path / "r", *models)[0] == 6
    onnx_file(tmp_path / "gone.onnx", conv)
    code, printed, error = run(call, tmp_path / "r", *models)
    assert code == 0, error
    assert "gone.onnx" in printed


def _results(path: Path, *ids: object, n: int = 17) -> Path:
    points = [v for k in range(n) for v in (10 + k, 20 + k, 1)]
    path.write_text(json.dumps([{"image_id": i, "category_id": 1, "keypoints": points, "score": 0.9} for i in ids]))
    return path


@pytest.mark.parametrize("foreign", [999_999, "nobody.jpg"])
def test_results_of_other_images_are_refused_also_where_pictures_are_rendered(
    call: Call, tmp_path: Path, foreign: object
) -> None:
    path = _results(tmp_path / "found.json", foreign)
    models = ("--models", f"predictions:{path}", "--models", "movenet-lightning")
    code, said, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", *models)
    assert code == 6
    assert "none of its 1 results belongs to an image" in error
    assert "1 image scored." in said
    assert f"sapiens-bench errors {tmp_path / 'r'}" in said  # the first thing to do next


def test_results_that_repeat_each_other_are_said(call: Call, tmp_path: Path) -> None:
    path = _results(tmp_path / "twice.json", 0, 0, 0)
    code, said, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", "--models", f"predictions:{path}")
    assert code == 0, error
    assert "2 results stand in it more than once" in said + error


def test_results_that_are_no_json_are_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('[{"image_id": 1,')
    models = ("--models", f"predictions:{tmp_path / 'cut.json'}")
    code, _, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", *models)
    assert code == 2
    assert "cut.json: not JSON at line 1, column 17" in error
    assert "Write the results again." in error


def test_a_misspelt_file_is_told_beside_its_neighbour(call: Call, tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path = onnx_file(tmp_path / "network.onnx", conv)
    code, _, error = run(call, tmp_path / "r", "--models", tmp_path / "netwrk.onnx")
    assert code == 2
    assert f"Did you mean {path}?" in error.replace("\n", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("height: 64", "height: 96"), "takes [3, 64, 48], the card of net says [3, 96, 48]"),
        (("space: coco17", "space: goliath308"), "Another keypoint set, or no pose network"),
        (("sha256: ", "sha256: 0000"), "write its new sha256 into the card"),
    ],
)
def test_a_card_that_does_not_say_what_the_file_is_stops_no_other(
    call: Call, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path, card = onnx_file(tmp_path / "net.onnx", conv), tmp_path / "cards" / "net.yaml"
    assert call("card", "init", path, "--task", "pose", "--normalise", "0..1", "--out", card)[0] == 0
    text = card.read_text()
    old, new = change
    at = text.index(old)
    end = at + len(new) if old == "sha256: " else at + len(old)  # a hash keeps its length
    card.write_text(text[:at] + new + text[end:])
    more = ("--cards", card.parent, "--weights-root", tmp_path, "--models", "net,movenet-lightning")
    code, printed, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", *more)
    assert code == 6, printed + error
    assert said in " ".join(error.split())
    assert "1 image scored." in printed


def test_a_folder_that_is_not_there_is_told_as_such_and_stops_no_other(call: Call, tmp_path: Path) -> None:
    models = f"{tmp_path / 'absent'},movenet-lightning"
    code, printed, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "r", "--models", models)
    assert code == 6, printed + error
    assert "absent does not exist." in " ".join(error.split())
    code, _, error = call("run", "--task", "pose", *TINY, "--out", tmp_path / "s", "--models", "some-org/vitpose")
    assert (code, "name it hf:some-org/vitpose" in " ".join(error.split())) == (2, True)


def test_card_init_prints_the_command_that_runs_what_it_wrote(call: Call, tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path, card = onnx_file(tmp_path / "net.onnx", conv), tmp_path / "cards" / "net.yaml"
    printed = call("card", "init", path, "--task", "pose", "--normalise", "0..1", "--out", card)[1]
    words = printed.split("sapiens-bench ")[1].split()
    code, printed, error = call(*words, *TINY, "--out", tmp_path / "r")
    assert (code, "1 image scored." in printed) == (0, True), error


def test_a_card_that_names_code_is_written_beside_it_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Net:\n    pass\n")
    said = ("card", "init", f"{tmp_path / 'mine.py'}:Net", "--task", "pose", "--space", "coco17", "--out")
    code, _, error = call(*said, tmp_path / "cards" / "net.yaml")
    assert (code, "beside the code" in " ".join(error.split())) == (2, True)
    assert not (tmp_path / "cards").exists()
    assert call(*said, tmp_path / "net.yaml")[0] == 0
