"""Mattes, albedo and point maps of a user's own network or stored elsewhere: what the numbers mean is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.own_hub import HUB_KINDS
from sapiens_bench.engine.own_models import card_for
from sapiens_bench.engine.request import OwnModel
from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.models import WRAPPERS
from sapiens_bench.models.options import OPTIONS
from sapiens_bench.store.record import CellRecord

MEANT = {"matting": "alpha", "albedo": "srgb", "pointmap": "", "depth": "metric_depth", "normal": ""}
CHANNELS = {"matting": 1, "albedo": 3, "pointmap": 3, "depth": 1, "normal": 3}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def constant_net(path: Path, values: list[float]) -> Path:
    """An ONNX file whose map has these values everywhere, whatever the picture shows."""
    n = len(values)
    weight = numpy_helper.from_array(np.zeros((n, 3, 1, 1), np.float32), "w")
    bias = numpy_helper.from_array(np.asarray(values, np.float32), "b")
    shapes = {"x": ["b", 3, 32, 24], "y": ["b", n, 32, 24]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w", "b"], ["y"])], "g", [x], [y], [weight, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def scored(task: str, model: Any, **said: Any) -> CellRecord:
    (cell,) = evaluate(task=task, model=model, split="tiny", limit=1, n_boot=0, normalise="0..1", **said).cells
    return cell


@pytest.mark.parametrize("task", list(MEANT))
def test_an_onnx_file_of_maps_is_scored_in_one_line(tmp_path: Path, task: str) -> None:
    values = [0.5] if CHANNELS[task] == 1 else [0.1, 0.2, 0.9]
    cell = scored(task, str(constant_net(tmp_path / "net.onnx", values)), output=MEANT[task])
    assert cell.counts.ok == 1


@pytest.mark.parametrize("task", [task for task, said in MEANT.items() if said])
def test_what_the_numbers_mean_must_be_said(tmp_path: Path, catalog: Catalog, task: str) -> None:
    path = constant_net(tmp_path / "net.onnx", [0.5] * CHANNELS[task])
    with pytest.raises(UsageError, match=r"what its numbers mean\. Give --output"):
        card_for(str(path), task, OwnModel(normalise="0..1"), catalog)
    other = {"matting": "depth_kind"}.get(task, "output")
    said = card_for(str(path), task, OwnModel(normalise="0..1", output=MEANT[task]), catalog).variants[0].options
    assert MEANT[task] in said.values()
    assert other not in said or task == "matting"


def test_logits_of_a_matte_are_its_shares_behind_a_sigmoid(tmp_path: Path) -> None:
    logits = scored("matting", str(constant_net(tmp_path / "l.onnx", [2.0])), output="logits")
    share = 1 / (1 + np.exp(-2.0))
    shares = scored("matting", str(constant_net(tmp_path / "s.onnx", [share])), output="alpha")
    assert logits.scores["matting/sad"].value == pytest.approx(shares.scores["matting/sad"].value, rel=1e-6)


def test_colours_are_compared_in_the_space_that_was_said(tmp_path: Path) -> None:
    path = str(constant_net(tmp_path / "net.onnx", [0.2, 0.2, 0.2]))
    linear, srgb = (scored("albedo", path, output=said).scores["albedo/mae"].value for said in ("linear", "srgb"))
    assert linear != pytest.approx(srgb, rel=0.05)


def test_signs_of_points_are_an_option(tmp_path: Path) -> None:
    behind = str(constant_net(tmp_path / "net.onnx", [0.1, 0.2, -2.0]))
    assert scored("pointmap", behind, max_errors=1).counts.ok == 0  # no point lies in front of the camera
    assert scored("pointmap", behind, options={"axis_sign": [1, 1, -1]}).counts.ok == 1


class Shares(nn.Module):
    """[B, H, W] without an axis of channels, as many depth and matting networks answer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


def test_a_module_may_answer_without_an_axis_of_channels() -> None:
    cell = scored("matting", Shares(), input="32x24", output="alpha")
    assert (cell.title, cell.counts.ok) == ("Shares", 1)


def test_a_module_of_several_maps_is_refused_by_their_shapes() -> None:
    def two(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x[:, :1]

    with pytest.raises(CheckpointRejected, match=r"gives 2 tensors \(\(1, 3, 32, 24\), \(1, 1, 32, 24\)\)"):
        scored("normal", two, input="32x24")


def test_torch_programs_give_no_labels(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"never opened")
    said = OwnModel(space="body28", input="32x24", normalise="0..1", output="labels")
    with pytest.raises(UsageError, match="give scores"):
        card_for(str(tmp_path / "net.pt"), "seg", said, catalog)


# Point maps stored elsewhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_stored_points_are_scored(tmp_path: Path, layout: str) -> None:
    record = evaluate(task="pointmap", models=["oracle-pointmap"], split="tiny", limit=1, n_boot=0, save_maps=True)
    from sapiens_bench.tasks.pointmap.codec import PointmapCodec

    (root,) = Path("results/runs").glob("*/maps/pointmap/*/*/*")
    (saved,) = root.rglob("*.png")
    points = PointmapCodec().decode(saved.read_bytes(), saved.name, ()).points_HW3
    assert record.cells[0].counts.ok == 1
    folder = tmp_path / "points"
    folder.mkdir()
    stored = points * np.array([1, -1, -1], np.float32) * 1000
    name = "_".join(saved.relative_to(root).with_suffix("").parts[1:])
    np.save(folder / f"{name}_points.npy", stored if layout == "hwc" else stored.transpose(2, 0, 1))
    said: dict[str, Any] = {"axis_sign": [1, -1, -1], "unit": "mm"}
    found = evaluate(
        task="pointmap", models=[f"predictions:{folder}"], split="tiny", limit=1, n_boot=0, options=said
    ).cells[0]
    assert found.counts.ok == 1, found
    assert found.scores["pointmap/l2"].value < 1e-3


def test_truth_for_points_is_not_read_from_folders(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "found").mkdir()
    with pytest.raises(UsageError, match="name a data set"):
        evaluate(task="pointmap", models=["predictions:found"], datasets=["truth:truth"])


# Hub folders ----------------------------------------------------------------------------------------------------------


def folder(path: Path, kind: str, cls: str = "", processor: Any = None, **more: Any) -> str:
    path.mkdir(parents=True, exist_ok=True)
    config = {"model_type": kind, **more} | ({"architectures": [cls]} if cls else {})
    (path / "config.json").write_text(json.dumps(config))
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 64, "width": 48}}
    (path / "preprocessor_config.json").write_text(json.dumps(half if processor is None else processor))
    (path / "model.safetensors").write_bytes(b"x")
    return str(path)


def test_every_kind_of_the_table_has_a_wrapper_for_its_tasks() -> None:
    for kind in HUB_KINDS.values():
        assert kind.wrapper in WRAPPERS
        options = OPTIONS[kind.wrapper]
        assert isinstance(options, dict)
        assert {task for tasks in kind.classes.values() for task in tasks} <= options.keys()


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("depth_anything", {}, "affine_invariant_inverse_depth"),
        ("depth_anything", {"depth_estimation_type": "metric"}, "metric_depth"),
        ("zoedepth", {}, "metric_depth"),
        ("depth_pro", {}, "metric_depth"),
        ("sapiens2", {"architectures": ["Sapiens2ForPointmapEstimation"]}, "scale_invariant_depth"),
    ],
)
def test_a_depth_folder_says_what_its_numbers_mean(
    tmp_path: Path, catalog: Catalog, kind: str, more: dict[str, Any], expected: str
) -> None:
    card = card_for(folder(tmp_path, kind, **more), "depth", OwnModel(), catalog)
    assert card.variants[0].options["depth_kind"] == expected
    assert card.wrapper == HUB_KINDS[kind].wrapper


def test_a_dpt_folder_does_not_say_and_is_asked(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="Give --output metric_depth"):
        card_for(folder(tmp_path, "dpt"), "depth", OwnModel(), catalog)


def test_sam_takes_its_own_square_and_speaks_of_people(tmp_path: Path, catalog: Catalog) -> None:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"longest_edge": 1024}}
    path = folder(tmp_path, "sam", processor=half, vision_config={"image_size": 512})
    card = card_for(path, "seg", OwnModel(), catalog)
    assert (card.wrapper, card.space, card.input.height, card.input.width) == ("sam", "person2", 512, 512)


@pytest.mark.parametrize(
    ("kind", "task", "output", "settled"),
    [
        ("zoedepth", "depth", "affine_invariant_inverse_depth", r"zoedepth answers with \(metric_depth\)"),
        ("segformer", "seg", "labels", "segformer answers with, so --output labels means nothing"),
        ("vitpose", "pose", "coords", "vitpose answers with, so"),
    ],
)
def test_an_output_that_a_folder_settles_otherwise_is_refused(
    tmp_path: Path, catalog: Catalog, kind: str, task: str, output: str, settled: str
) -> None:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 64}
    with pytest.raises(UsageError, match=settled):
        card_for(folder(tmp_path, kind, processor=half), task, OwnModel(output=output), catalog)


def test_an_output_that_a_folder_settles_may_be_said(tmp_path: Path, catalog: Catalog) -> None:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 64}
    card = card_for(folder(tmp_path, "zoedepth", processor=half), "depth", OwnModel(output="metric_depth"), catalog)
    assert card.variants[0].options == {"depth_kind": "metric_depth"}


def test_sapiens2_is_for_the_task_of_its_class(tmp_path: Path, catalog: Catalog) -> None:
    path = folder(tmp_path, "sapiens2", "Sapiens2ForNormalEstimation")
    assert card_for(path, "normal", OwnModel(), catalog).wrapper == "sapiens2"
    with pytest.raises(UsageError, match="for --task normal, not seg"):
        card_for(path, "seg", OwnModel(), catalog)
    with pytest.raises(UsageError, match="no albedo class: the authors' own files have cards"):
        card_for(path, "albedo", OwnModel(), catalog)


def test_a_folder_of_mattes_is_known(tmp_path: Path, catalog: Catalog) -> None:
    card = card_for(folder(tmp_path, "sapiens2", "Sapiens2ForImageMatting"), "matting", OwnModel(), catalog)
    assert (card.wrapper, card.space) == ("sapiens2", None)


@pytest.mark.parametrize(
    ("kind", "cls", "message"),
    [
        ("detr", "", "known are depth_anything, depth_pro, dpt"),
        ("segformer", "SegformerForImageClassification", "SegformerForSemanticSegmentation is run"),
    ],
)
def test_other_kinds_are_refused_with_the_list(
    tmp_path: Path, catalog: Catalog, kind: str, cls: str, message: str
) -> None:
    with pytest.raises(CheckpointRejected, match=message):
        card_for(folder(tmp_path, kind, cls), "seg", OwnModel(), catalog)


@pytest.mark.parametrize(
    ("processor", "mean"),
    [
        ({"size": 64, "do_normalize": False}, 0.0),
        ({"image_processor": {"size": 64, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}}, 127.5),
    ],
)
def test_the_processor_may_be_written_in_other_ways(
    tmp_path: Path, catalog: Catalog, processor: dict[str, Any], mean: float
) -> None:
    card = card_for(folder(tmp_path, "zoedepth", processor=processor), "depth", OwnModel(), catalog)
    assert (card.input.height, card.input.width, card.input.mean[0]) == (64, 64, mean)


@pytest.mark.parametrize("size", [{"height": 0, "width": -3}, {"height": True, "width": 64}, 10**9, "64", [64, 64]])
def test_a_size_that_is_none_is_asked_for(tmp_path: Path, catalog: Catalog, size: Any) -> None:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": size}
    with pytest.raises(UsageError, match="does not say the size of its input"):
        card_for(folder(tmp_path, "zoedepth", processor=half), "depth", OwnModel(), catalog)


def test_a_config_that_no_library_writes_is_refused_or_passed_by(tmp_path: Path, catalog: Catalog) -> None:
    odd = folder(tmp_path / "a", "segformer", architectures=[["SegformerForSemanticSegmentation"]])
    with pytest.raises(CheckpointRejected, match="of segformer networks SegformerForSemanticSegmentation is run"):
        card_for(odd, "seg", OwnModel(space="atr18"), catalog)
    assert card_for(folder(tmp_path / "b", "vitpose", num_labels="many"), "pose", OwnModel(), catalog).space == "coco17"


def test_pixels_that_are_not_divided_by_255_are_asked_for(tmp_path: Path, catalog: Catalog) -> None:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 64, "do_rescale": False}
    with pytest.raises(UsageError, match="how pixels are normalised"):
        card_for(folder(tmp_path, "zoedepth", processor=half), "depth", OwnModel(), catalog)


def test_a_config_that_is_no_json_is_one_line(tmp_path: Path, catalog: Catalog) -> None:
    path = folder(tmp_path, "zoedepth")
    (tmp_path / "config.json").write_text('{"a": 1,\n\n oops')
    with pytest.raises(CheckpointRejected) as caught:
        card_for(path, "depth", OwnModel(), catalog)
    assert "\n" not in str(caught.value)
    assert "config.json" in str(caught.value)


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> Any:
    import tiny_nets

    return tiny_nets


@pytest.mark.parametrize(
    ("kind", "task", "said"),
    [
        ("zoedepth", "depth", {"input": "64x64", "normalise": "0..1"}),
        ("sam", "seg", {"normalise": "imagenet", "protocol": "person"}),
    ],
)
def test_a_saved_folder_is_scored_in_one_line(nets: Any, kind: str, task: str, said: dict[str, Any]) -> None:
    nets.save(getattr(nets, kind)(), Path(kind))
    (cell,) = evaluate(task=task, model=f"./{kind}", split="tiny", limit=1, n_boot=0, **said).cells
    assert (cell.title, cell.counts.ok) == (kind, 1)


def test_a_folder_of_another_number_of_classes_is_refused(nets: Any) -> None:
    nets.save(nets.segformer(), Path("folder"))
    said = {"input": "64x64", "normalise": "imagenet", "space": "person2", "protocol": "person"}
    with pytest.raises(CheckpointRejected, match="classes, the label set of folder has 2"):
        evaluate(task="seg", model="./folder", split="tiny", limit=1, n_boot=0, **said)
