"""Sapiens v1 wrappers and programs: options, tasks and shapes that a run through the engine does not reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.errors import CheckpointRejected, UntrustedCheckpoint
from sapiens_bench.models.options import SapiensV1Options
from sapiens_bench.models.parts.program import Program
from sapiens_bench.models.sapiens_load import build_network, load_encoder
from sapiens_bench.models.sapiens_v1 import SapiensDense, SapiensPose, build
from sapiens_bench.types import ModelInput

HEIGHT, WIDTH = 128, 96
SPACES = {"pose17": "coco17", "seg": "body28"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


def model(shared: Path, catalog: Catalog, name: str, **options: Any) -> SapiensPose | SapiensDense:
    space = catalog.space(SPACES[name]) if name in SPACES else None
    path = shared / "golden" / "sapiens-v1" / "models" / f"{name}.safetensors"
    spec, task = input_spec(HEIGHT, WIDTH), name.rstrip("0123456789")
    return build(context("sapiens_v1", task, path, "safetensors", spec, space, {"heads": 4, **options}))


def picture(h: int, w: int, n_boxes: int = 1) -> ModelInput:
    rng = np.random.default_rng(h)
    boxes = np.array([[0, 0, w, h]] * n_boxes, np.float32).reshape(-1, 4)
    return ModelInput("k", rng.integers(0, 256, (h, w, 3), np.uint8), boxes, np.ones(n_boxes, np.float32))


def outputs(wrapper: SapiensPose | SapiensDense, *pictures: ModelInput) -> list[Any]:
    """The predictions of several pictures that go through one forward pass."""
    prepared = [wrapper.prepare(x) for x in pictures]
    tensors = {
        name: torch.from_numpy(np.concatenate([p.tensors[name] for p in prepared])) for name in prepared[0].tensors
    }
    with torch.inference_mode():
        found = {name: value.numpy() for name, value in wrapper.forward(tensors).items()}
    ends = np.cumsum([len(next(iter(p.tensors.values()))) for p in prepared])
    parts = [{n: v[e - len(p.tensors["image"]) : e] for n, v in found.items()} for p, e in zip(prepared, ends)]
    return [wrapper.finish(part, p.geometry) for part, p in zip(parts, prepared)]


@pytest.mark.parametrize(("name", "field"), [("seg", "labels_HW"), ("depth", "depth_HW"), ("normal", "normals_HW3")])
def test_pictures_of_different_size_in_one_batch_do_not_touch_each_other(
    shared: Path, catalog: Catalog, name: str, field: str
) -> None:
    wrapper = model(shared, catalog, name)
    pictures = [picture(90, 70), picture(60, 110)]
    together = outputs(wrapper, *pictures)
    for x, both in zip(pictures, together):
        (alone,) = outputs(wrapper, x)
        assert getattr(both, field).shape[:2] == x.image_HW3.shape[:2]
        if name == "seg":
            assert (getattr(both, field) == getattr(alone, field)).mean() > 0.999
        else:
            np.testing.assert_allclose(getattr(both, field), getattr(alone, field), atol=1e-3)


def test_nobody_in_the_picture_gives_no_crop_and_an_empty_prediction(shared: Path, catalog: Catalog) -> None:
    wrapper = model(shared, catalog, "pose17")
    prepared = wrapper.prepare(picture(40, 30, n_boxes=0))
    assert prepared.tensors["crop"].shape == (0, 3, HEIGHT, WIDTH)
    prediction = wrapper.finish({}, prepared.geometry)
    assert prediction.keypoints_NK2_px.shape == (0, 17, 2)


def test_axis_sign_turns_the_normals_and_nothing_else(shared: Path, catalog: Catalog) -> None:
    (plain,) = outputs(model(shared, catalog, "normal"), picture(50, 40))
    (turned,) = outputs(model(shared, catalog, "normal", axis_sign=[1, -1, -1]), picture(50, 40))
    np.testing.assert_array_equal(turned.normals_HW3, plain.normals_HW3 * np.array([1, -1, -1], np.float32))


def test_the_flip_test_of_depth_is_the_mean_with_the_mirrored_picture(shared: Path, catalog: Catalog) -> None:
    x = picture(HEIGHT, WIDTH)
    mirror = ModelInput("m", np.ascontiguousarray(x.image_HW3[:, ::-1]), x.boxes_xyxy_px, x.box_scores)
    plain, other = outputs(model(shared, catalog, "depth"), x, mirror)
    (both,) = outputs(model(shared, catalog, "depth", flip_test=True), x)
    np.testing.assert_allclose(both.depth_HW, (plain.depth_HW + other.depth_HW[:, ::-1]) / 2, atol=1e-4)


def test_flip_test_belongs_to_the_full_pipeline_unless_asked_for(shared: Path, catalog: Catalog) -> None:
    def flips(**options: Any) -> bool:
        return bool(getattr(model(shared, catalog, "pose17", **options), "flip_test"))  # noqa: B009

    assert flips()
    assert not flips(pipeline="lite")
    assert flips(pipeline="lite", flip_test=True)
    assert not flips(flip_test=False)


def test_the_lite_demo_runs_without_flip_on_the_published_cards() -> None:
    for name, entry in Catalog.load().models.items():
        if entry.card.wrapper == "sapiens_v1":
            assert "flip_test" not in entry.variant.options, name  # an explicit value would overrule the pipeline


def test_every_form_of_a_pretraining_file_gives_the_same_encoder(shared: Path, tmp_path: Path) -> None:
    clean = shared / "golden" / "sapiens-v1" / "models" / "encoder_pretrain.safetensors"
    state = load_file(clean)
    torch.save(state, tmp_path / "flat_clean.pth")
    decoder = {"neck.decoder_embed.weight": torch.zeros(2, 2)}
    mae = {f"backbone.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": {**mae, **decoder}, "meta": {"epoch": 1600}}, tmp_path / "mae.pth")
    image = torch.randn(1, 3, 64, 64)
    wanted = load_encoder(clean, heads=4)(image)
    for name in ("flat_clean.pth", "mae.pth"):
        assert torch.equal(load_encoder(tmp_path / name, heads=4)(image), wanted)


class Nameless(nn.Module):
    """A program whose tensors have lost the official names; ``n`` maps at a quarter of the size."""

    def __init__(self, n: int, fixed: int = 0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, n, 4, stride=4)
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out.view(self.fixed, *out.shape[1:]) if self.fixed else out


def exported(path: Path, net: nn.Module, batch: int, limits: tuple[int, int] | None = None) -> Path:
    shapes = None if limits is None else ({0: torch.export.Dim("b", min=limits[0], max=limits[1])},)
    example = torch.zeros(batch, 3, HEIGHT, WIDTH)
    torch.export.save(torch.export.export(net.eval(), (example,), dynamic_shapes=shapes), path)
    return path


def opened(path: Path, kind: Any = "export", **changes: Any) -> Program:
    fixed: dict[str, Any] = {"pinned": True, "input_hw": (HEIGHT, WIDTH), "device": "cpu", "precision": "fp32"}
    return Program(path, kind, **{**fixed, **changes})


@pytest.mark.parametrize(("batch", "limits"), [(1, None), (3, None), (2, (1, 4)), (4, (2, 4))])
def test_any_number_of_pictures_goes_through_a_program_of_fixed_or_bounded_batch(
    tmp_path: Path, batch: int, limits: tuple[int, int] | None
) -> None:
    net = Nameless(17).eval()
    program = opened(exported(tmp_path / "p.pt2", net, batch, limits))
    for n in (1, 2, 3, 5, 7):
        image = torch.randn(n, 3, HEIGHT, WIDTH)
        with torch.inference_mode():
            torch.testing.assert_close(program(image), net(image))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("fixed", [1, 2])
def test_a_script_that_was_traced_with_a_fixed_batch_runs_all_the_same(tmp_path: Path, fixed: int) -> None:
    net = Nameless(17, fixed).eval()
    torch.jit.trace(net, torch.zeros(fixed, 3, HEIGHT, WIDTH)).save(str(tmp_path / "s.pt2"))
    program = opened(tmp_path / "s.pt2", "torchscript")
    image = torch.randn(5, 3, HEIGHT, WIDTH)
    with torch.inference_mode():
        torch.testing.assert_close(program(image), net.layer(image))


def test_a_program_without_names_is_judged_by_a_trial_run(tmp_path: Path) -> None:
    path = exported(tmp_path / "p.pt2", Nameless(17), 1)
    size: dict[str, Any] = {"input_hw": (HEIGHT, WIDTH), "options": SapiensV1Options(), "pinned": True}
    build_network("pose", path, outputs=17, **size)
    with pytest.raises(CheckpointRejected, match="gives 17 maps, but the card asks for 133"):
        build_network("pose", path, outputs=133, **size)
    with pytest.raises(CheckpointRejected, match="asks for 3"):
        build_network("normal", path, outputs=None, **size)
    with pytest.raises(UntrustedCheckpoint):
        build_network("pose", path, outputs=17, **{**size, "pinned": False})
    with pytest.raises(CheckpointRejected, match=r"\(256, 192\)"):
        build_network("pose", path, outputs=17, **{**size, "input_hw": (256, 192)})


def test_a_program_with_official_names_is_judged_by_them(shared: Path, tmp_path: Path) -> None:
    source = shared / "golden" / "sapiens-v1" / "models" / "pose17.safetensors"
    net = build_network("pose", source, input_hw=(HEIGHT, WIDTH), outputs=17, options=SapiensV1Options(heads=4))
    path = exported(tmp_path / "p.pt2", net, 1)
    with pytest.raises(CheckpointRejected, match="17-keypoint pose checkpoint, but the card asks for seg"):
        build_network("seg", path, input_hw=(HEIGHT, WIDTH), outputs=28, options=SapiensV1Options(), pinned=True)


def test_a_program_with_nan_weights_is_refused(tmp_path: Path) -> None:
    net = Nameless(17)
    with torch.no_grad():
        net.layer.bias[3] = float("nan")
    with pytest.raises(CheckpointRejected, match="NaN"):
        opened(exported(tmp_path / "p.pt2", net, 1))


def test_half_precision_files_are_widened_and_run_in_fp32(shared: Path, tmp_path: Path) -> None:
    source = shared / "golden" / "sapiens-v1" / "models" / "pose17.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(source).items()}, tmp_path / "half.safetensors")
    size: dict[str, Any] = {"input_hw": (HEIGHT, WIDTH), "outputs": 17, "options": SapiensV1Options(heads=4)}
    image = torch.randn(1, 3, HEIGHT, WIDTH)
    with torch.inference_mode():
        a, b = (build_network("pose", path, **size)(image) for path in (source, tmp_path / "half.safetensors"))
    assert b.dtype == torch.float32
    assert 0 < float((a - b).abs().max()) < 0.1
