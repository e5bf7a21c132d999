"""Pose networks by card: every kind of answer, number format and batch size, through ONNX and torch programs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sapiens_bench.api import evaluate
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.errors import CardError, CheckpointRejected, DeviceError
from sapiens_bench.models.exported import ExportedPoses
from sapiens_bench.models.onnx import OnnxMaps, OnnxPoses
from sapiens_bench.models.parts import onnx_session
from sapiens_bench.models.parts.card_poses import looks_like
from sapiens_bench.models.parts.decoders import Coordinates
from sapiens_bench.models.simcc import Simcc
from sapiens_bench.types import ModelInput

HW = (96, 72)
SPOTS = np.array([[60.0, 80.0], [140.0, 50.0]])
BOXES = np.array([[30, 40, 96, 130], [110, 10, 180, 95]], np.float32)
KINDS: dict[str, dict[str, Any]] = {
    "heatmap": {"output": "heatmap"},
    "simcc": {"output": "simcc"},
    "pixel": {"output": "coords", "units": "pixel"},
    "share": {"output": "coords", "units": "share"},
}
WITHIN_PX = {"heatmap": 3.5, "simcc": 1.5, "pixel": 1.5, "share": 1.5}  # heatmap cells are four pixels wide


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    torch.set_num_threads(1)
    import tiny_onnx

    return tiny_onnx


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Any:
    from sapiens_bench.cards.catalog import Catalog

    return Catalog.load().space("coco17")


def people() -> ModelInput:
    """Two people, each with one bright spot, in a dark picture."""
    image = np.zeros((150, 200, 3), np.uint8)
    for x, y in SPOTS:
        cv2.circle(image, (int(x), int(y)), 4, (250, 250, 250), -1)
    return ModelInput("k", cv2.GaussianBlur(image, (7, 7), 0), BOXES, np.array([1.0, 0.5], np.float32))


def predict(model: Any, x: ModelInput) -> Any:
    prepared = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({name: torch.from_numpy(value) for name, value in prepared.tensors.items()})
    return model.finish({name: value.cpu().numpy() for name, value in outputs.items()}, prepared.geometry)


def onnx_model(path: Path, space: Any, answer: str = "heatmap", hw: tuple[int, int] = HW, **options: Any) -> OnnxPoses:
    return OnnxPoses(context("onnx", "pose", path, "onnx", input_spec(*hw), space, {**KINDS[answer], **options}))


@pytest.mark.parametrize("kind", ["fp32", "fp16", "fp64", "uint8"])
@pytest.mark.parametrize("answer", list(KINDS))
def test_every_answer_in_every_number_format_finds_the_spot(
    tiny: ModuleType, space: Any, tmp_path: Path, answer: str, kind: str
) -> None:
    found = predict(onnx_model(tiny.write(tmp_path / "net.onnx", answer, kind=kind), space, answer), people())
    away = np.linalg.norm(found.keypoints_NK2_px - SPOTS[:, None], axis=2)
    assert away.shape == (2, 17)
    assert away.max() < WITHIN_PX[answer]
    np.testing.assert_array_equal(found.instance_scores_N, [1.0, 0.5])


@pytest.mark.parametrize("codec", ["udp", "udp_vitpose", "plain"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_every_heatmap_codec_finds_the_spot(
    tiny: ModuleType, space: Any, tmp_path: Path, codec: str, flip_test: bool
) -> None:
    model = onnx_model(tiny.write(tmp_path / "net.onnx"), space, codec=codec, flip_test=flip_test)
    assert np.abs(predict(model, people()).keypoints_NK2_px - SPOTS[:, None]).max() < WITHIN_PX["heatmap"]


def test_channels_last_gives_the_same(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    first = onnx_model(tiny.write(tmp_path / "a.onnx"), space)
    last = onnx_model(tiny.write(tmp_path / "b.onnx", channels_last=True), space, layout="NHWC")
    one, other = predict(first, people()), predict(last, people())
    np.testing.assert_array_equal(one.keypoints_NK2_px, other.keypoints_NK2_px)
    np.testing.assert_array_equal(one.keypoint_scores_NK, other.keypoint_scores_NK)


@pytest.mark.parametrize("how", [{"batch": 1}, {"batch": 4}, {"inner_batch": 1}])
@pytest.mark.parametrize("answer", ["heatmap", "simcc"])
def test_a_fixed_batch_gives_the_same_and_is_noted(
    tiny: ModuleType, space: Any, tmp_path: Path, answer: str, how: dict[str, int]
) -> None:
    free = onnx_model(tiny.write(tmp_path / "free.onnx", answer), space, answer)
    fixed = onnx_model(tiny.write(tmp_path / "fixed.onnx", answer, **how), space, answer)
    one, other = predict(free, people()), predict(fixed, people())
    np.testing.assert_array_equal(one.keypoints_NK2_px, other.keypoints_NK2_px)
    assert free.notes == ()
    assert len(fixed.notes) == 1
    assert "at a time" in fixed.notes[0]


def test_eight_bit_pictures_go_in_as_they_are_and_it_is_noted(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    model = onnx_model(tiny.write(tmp_path / "net.onnx", kind="uint8"), space)
    crops = torch.from_numpy(model.prepare(people()).tensors["crop"])
    assert torch.equal(model.normalise(crops).byte(), crops)
    assert "mean and std" in model.notes[0]


def test_padding_is_the_side_of_the_crop_over_that_of_the_box(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "net.onnx", "simcc")
    for padding in (1.0, 1.25, 2.0):
        model = Simcc(context("simcc", "pose", path, "onnx", input_spec(*HW), space, {"padding": padding}))
        scale = model.prepare(people()).geometry.scale_N2
        np.testing.assert_allclose(scale[0], [padding * 90 * 0.75, padding * 90], rtol=1e-6)
        assert np.abs(predict(model, people()).keypoints_NK2_px - SPOTS[:, None]).max() < 2 * padding


def test_vectors_are_told_apart_by_name_or_by_length_and_others_are_left_alone(
    tiny: ModuleType, space: Any, tmp_path: Path
) -> None:
    for names in (
        {"simcc_y": "simcc_y", "simcc_x": "simcc_x"},
        {"simcc_y": "out_y", "simcc_x": "out_x"},
        {"simcc_x": "a", "simcc_y": "b"},
    ):
        path = tiny.write(tmp_path / "net.onnx", "simcc", names=names, extra=True)
        model = Simcc(context("simcc", "pose", path, "onnx", input_spec(*HW), space))
        assert np.abs(predict(model, people()).keypoints_NK2_px - SPOTS[:, None]).max() < 1.5


def test_equally_long_vectors_are_never_swapped(
    tiny: ModuleType, space: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "W", 96)
    monkeypatch.setitem(tiny.ANSWERS, "simcc", {"simcc_x": ["K", 192], "simcc_y": ["K", 192]})
    named = tiny.write(tmp_path / "named.onnx", "simcc", names={"simcc_y": "simcc_y", "simcc_x": "simcc_x"})
    other = tiny.write(tmp_path / "other.onnx", "simcc", names={"simcc_y": "v", "simcc_x": "u"})
    right = predict(onnx_model(named, space, "simcc", (96, 96)), people()).keypoints_NK2_px
    assert np.abs(right - SPOTS[:, None]).max() < 1.5
    with pytest.raises(CheckpointRejected, match=r"v \[1, 17, 192\], u \[1, 17, 192\].*output_names"):
        onnx_model(other, space, "simcc", (96, 96))
    told = onnx_model(other, space, "simcc", (96, 96), output_names=["u", "v"])
    np.testing.assert_array_equal(predict(told, people()).keypoints_NK2_px, right)
    with pytest.raises(CardError, match="output_names has 'w'"):
        onnx_model(other, space, "simcc", (96, 96), output_names=["w", "v"])


@pytest.mark.parametrize(
    ("answer", "asked", "says"),
    [
        ("heatmap", "simcc", r"heatmaps \[1, 17, 24, 18\].*2 bins per pixel.*output: heatmap"),
        ("simcc", "heatmap", r"simcc_x \[1, 17, 144\].*one map \[1, 17, h, w\].*output: simcc"),
        ("pixel", "heatmap", r"xy \[1, 17, 2\].*output: coords"),
        ("heatmap", "pixel", r"output: heatmap"),
    ],
)
def test_an_answer_of_another_kind_is_named_with_the_option_for_it(
    tiny: ModuleType, space: Any, tmp_path: Path, answer: str, asked: str, says: str
) -> None:
    with pytest.raises(CheckpointRejected, match=says):
        onnx_model(tiny.write(tmp_path / "net.onnx", answer), space, asked)


def test_files_that_are_not_what_the_card_says_are_refused(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "net.onnx")
    with pytest.raises(CheckpointRejected, match=r"takes \[3, 96, 72\].*says \[3, 256, 192\] \(NCHW\)"):
        onnx_model(path, space, hw=(256, 192))
    with pytest.raises(CheckpointRejected, match=r"says \[96, 72, 3\] \(NHWC\)"):
        onnx_model(path, space, layout="NHWC")
    with pytest.raises(CheckpointRejected, match=r"17 keypoints as heatmaps.*Another keypoint set"):
        onnx_model(tiny.write(tmp_path / "k.onnx", k=26), space)
    given_context = context("onnx", "pose", path, "onnx", input_spec(*HW), space, KINDS["heatmap"])
    with pytest.raises(DeviceError, match="--precision fp32"):
        OnnxPoses(dataclasses.replace(given_context, precision="bf16"))


def test_a_loop_that_does_not_end_is_stopped(
    tiny: ModuleType, space: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session, "LOOP_LIMIT_S", 0.3)
    path = tiny.write_endless(tmp_path / "endless.onnx")
    for build, task, options in ((OnnxPoses, "pose", KINDS["heatmap"]), (OnnxMaps, "normal", {})):
        with pytest.raises(CheckpointRejected, match=r"its Loop does not end within 0\.3 s an image"):
            build(context("onnx", task, path, "onnx", input_spec(*HW), space if task == "pose" else None, options))


def test_only_files_with_a_loop_run_against_the_clock(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    assert onnx_session.may_loop(tiny.write_endless(tmp_path / "endless.onnx"))
    model = onnx_model(tiny.write(tmp_path / "net.onnx"), space)
    assert model.file.limit_s is None


def test_weights_beside_the_graph_are_read(tiny: ModuleType, space: Any, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "net.onnx", "share", external="net.bin")
    assert (tmp_path / "net.bin").stat().st_size > 1024
    assert np.abs(predict(onnx_model(path, space, "share"), people()).keypoints_NK2_px - SPOTS[:, None]).max() < 1.5
    (tmp_path / "net.bin").unlink()
    with pytest.raises(CheckpointRejected, match="External data path does not exist"):
        onnx_model(path, space, "share")


class Brightest(nn.Module):
    """The networks of ``tiny_onnx`` in torch."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer, self.unused = answer, nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Any:
        grey = (x.mean(1, keepdim=True) + 2.5) * 0.2
        if self.answer == "heatmap":
            return nn.functional.avg_pool2d(grey, 4).repeat(1, 17, 1, 1)
        even = nn.functional.avg_pool2d(grey, 3, 1, 1)
        columns, rows = even.amax(2), even.amax(3)
        if self.answer == "simcc":
            x_long, y_long = (side.repeat_interleave(2, 2).repeat(1, 17, 1) for side in (columns, rows))
            return x_long, y_long
        xy = torch.stack([columns.argmax(2).float(), rows.argmax(2).float()], 2)
        return {"xy": xy.repeat(1, 17, 1), "score": torch.full_like(xy[..., 0], 0.25).repeat(1, 17)}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", ["torchscript", "export"])
@pytest.mark.parametrize("answer", ["heatmap", "simcc", "pixel"])
def test_torch_programs_give_what_onnx_files_give(
    tiny: ModuleType, space: Any, tmp_path: Path, answer: str, kind: Any
) -> None:
    net, path = Brightest(answer).eval(), tmp_path / "net.pt2"
    example = torch.zeros(1, 3, *HW)
    if kind == "torchscript":
        torch.jit.trace(net, example, strict=False).save(str(path))
    else:
        torch.export.save(torch.export.export(net, (example,)), path)
    program = ExportedPoses(context("exported", "pose", path, kind, input_spec(*HW), space, KINDS[answer]))
    other = onnx_model(tiny.write(tmp_path / "net.onnx", answer), space, answer)
    ours, theirs = predict(program, people()), predict(other, people())
    np.testing.assert_allclose(ours.keypoints_NK2_px, theirs.keypoints_NK2_px, atol=1e-3)
    if answer == "pixel":
        np.testing.assert_array_equal(ours.keypoint_scores_NK, np.full((2, 17), 0.25))


@given(st.lists(st.floats(0, 71, width=32), min_size=3, max_size=3), st.sampled_from(["pixel", "share"]))
def test_a_mirrored_answer_that_agrees_changes_no_coordinate(columns: list[float], units: Any) -> None:
    """Column u of a crop is column W - 1 - u of its mirror image; the answers swap left and right."""
    unit, swap = (1.0 if units == "pixel" else 72.0), np.array([1, 0, 2])
    plain = torch.tensor([[[u / unit, 3.0, 0.5] for u in columns]])
    mirrored = torch.tensor([[[(71 - columns[i]) / unit, 3.0, 0.5] for i in swap]])
    (merged,) = Coordinates(units, 72).merged((plain,), (mirrored,), swap)
    np.testing.assert_allclose(merged.numpy(), plain.numpy(), atol=1e-4)


def card(folder: Path, identity: str, wrapper: str, weights: dict[str, Any], options: dict[str, Any]) -> None:
    content = {
        "schema": "model/1", "id": identity, "title": identity, "task": "pose", "wrapper": wrapper, "space": "coco17",
        "licence": {"name": "none"}, "trained_on": "nothing", "input": {"height": HW[0], "width": HW[1]},
        "variants": [{"id": identity, "title": identity, "options": options,
                      "weights": {"get": {"how": "made by the test"}, **weights}}],
    }  # fmt: skip
    (folder / f"{identity}.yaml").write_text(json.dumps(content))  # JSON is YAML


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_cards_of_both_wrappers_run_on_real_photographs(tiny: ModuleType, shared: Path, tmp_path: Path) -> None:
    weights, cards = tmp_path / "weights", tmp_path / "cards"
    weights.mkdir()
    cards.mkdir()
    tiny.write(weights / "net.onnx", "heatmap", kind="uint8", batch=1)
    torch.jit.trace(Brightest("simcc"), torch.zeros(1, 3, *HW)).save(str(weights / "net.pt2"))
    pinned = hashlib.sha256((weights / "net.pt2").read_bytes()).hexdigest()
    card(cards, "t-onnx", "onnx", {"file": "net.onnx", "format": "onnx", "sha256": None}, KINDS["heatmap"])
    script = {"file": "net.pt2", "format": "torchscript", "sha256": pinned}
    card(cards, "t-script", "exported", script, {"output": "simcc", "flip_test": True})
    card(cards, "t-wrong", "exported", script, {"output": "heatmap"})
    record = evaluate(
        task="pose", models=("t-*",), datasets=("coco-val2017",), data_root=shared / "data" / "coco",
        weights_root=weights, cards=(cards,), out=tmp_path / "out", device="cpu", n_boot=0, workers=1,
    )  # fmt: skip
    good, script_too, wrong = record.cells
    assert [(c.status, c.counts.ok) for c in (good, script_too)] == [("done", 4)] * 2
    assert "t-onnx: The ONNX file takes one image at a time, whatever the batch size." in record.notes
    assert wrong.status == "refused"
    assert "output: simcc" in wrong.how


def test_an_answer_is_recognised_by_its_shapes() -> None:
    assert looks_like({"a": (1, 17, 64, 48)}, 17) == "heatmap"
    assert looks_like({"a": (1, 17, 384), "b": (1, 17, 512)}, 17) == "simcc"
    assert looks_like({"a": (1, 17, 3)}, 17) == "coords"
    assert looks_like({"a": (1, 26, 3), "b": (1,)}, 17) is None
