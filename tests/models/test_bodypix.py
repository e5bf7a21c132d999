"""BodyPix: a person map and a part map in one ONNX file, by card only. The stand-in has its outputs, 3 x 3 cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sapiens_bench import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.card_options import OnnxSegOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.onnx import OnnxMaps
from sapiens_bench.types import ModelInput

SIDE = 33  # 16 x 2 + 1: maps of 3 x 3


def stand_in(path: Path, person: NDArray[np.float32], parts: NDArray[np.float32]) -> Path:
    """A file that answers every picture [1, 33, 33, 3] with these maps [h, w] and [h, w, C], and one more output."""
    maps = {"segments": person[None, ..., None], "part_heatmaps": parts[None], "heatmaps": np.zeros((1, 3, 3, 17))}
    nodes, outputs = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=1)], []
    nodes.append(helper.make_node("Sub", ["mean", "mean"], ["nothing"]))
    constants = []
    for name, value in maps.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_map"))
        nodes.append(helper.make_node("Add", [f"{name}_map", "nothing"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape)))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, SIDE, SIDE, 3])
    graph = helper.make_graph(nodes, "bodypix", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def card_of(repository: Path, **options: Any) -> dict[str, Any]:
    """The package's card for another file and size."""
    card: dict[str, Any] = yaml.safe_load((repository / "baselines" / "bodypix.yaml").read_text())
    (variant,) = card["variants"]
    variant["id"] = "tiny-bodypix"
    variant["weights"] = {"file": "tiny.onnx", "format": "onnx", "sha256": None, "get": {"how": "Made by the test."}}
    variant["input"] |= {"height": SIDE, "width": SIDE}
    variant["options"] |= options
    return card | {"id": "tiny-bodypix-family"}


def model_of(repository: Path, path: Path, **options: Any) -> OnnxMaps:
    card = ModelCard.model_validate_json(json.dumps(card_of(repository, **options)))
    (variant,) = card.variants
    chosen = read_options(OnnxSegOptions, variant.options, "the test")
    return OnnxMaps(ModelContext(card, variant, path, {}, "cpu", "fp32", Catalog.load().space("bodypix25"), chosen))


def maps() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A person from a quarter of the width on; hands of the right above, feet of the left below the middle row."""
    person = np.tile(np.float32([-1, 1, 3]), (3, 1))
    parts = np.zeros((3, 3, 24), np.float32)
    parts[..., 11], parts[..., 22] = np.float32([[2], [0], [-2]]), np.float32([[-2], [0.01], [2]])
    return person, parts


def labels(model: OnnxMaps, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    x = ModelInput("k", image, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    tensors, geometry = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    found: NDArray[np.uint8] = model.finish({key: value.numpy() for key, value in outputs.items()}, geometry).labels_HW
    return found


def test_outer_cells_lie_on_the_pictures_outer_pixels_and_parts_fill_the_person(
    repository: Path, tmp_path: Path
) -> None:
    model = model_of(repository, stand_in(tmp_path / "tiny.onnx", *maps()))
    found = labels(model, np.zeros((SIDE, SIDE, 3), np.uint8))
    names = Catalog.load().space("bodypix25").names
    assert (found[:, :9] == 0).all()  # the logit is 0 at pixel 8, half way between cells 0 and 1
    assert {names[i] for i in np.unique(found[:16, 9:])} == {"Right_Hand"}
    assert {names[i] for i in np.unique(found[17:, 9:])} == {"Left_Foot"}


def test_without_corner_alignment_the_border_lies_elsewhere(repository: Path, tmp_path: Path) -> None:
    model = model_of(repository, stand_in(tmp_path / "tiny.onnx", *maps()), corner_aligned=False)
    found = labels(model, np.zeros((SIDE, SIDE, 3), np.uint8))
    assert (found[:, :11] == 0).all()
    assert (found[:, 11:] > 0).all()


def test_a_wide_picture_keeps_its_aspect_between_black_bars(repository: Path, tmp_path: Path) -> None:
    model = model_of(repository, stand_in(tmp_path / "tiny.onnx", *maps()))
    x = ModelInput("k", np.full((20, 66, 3), 255, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    image = model.prepare(x).tensors["image"][0]
    assert image.shape == (3, SIDE, SIDE)
    assert set(np.unique(image)) == {-1.0, 1.0}  # as the network was trained: -1 black, 1 white
    assert (image[:, 11:21] == 1).all()


def test_maps_that_do_not_fit_the_card_are_refused(repository: Path, tmp_path: Path) -> None:
    person, parts = maps()
    path = stand_in(tmp_path / "tiny.onnx", person, parts[..., :20])
    with pytest.raises(CheckpointRejected, match=r"\(1, 20, 3, 3\).*parts \[B, 24, h, w\]"):
        model_of(repository, path)
    with pytest.raises(CardError, match="person_output is 'segment'"):
        model_of(repository, path, person_output="segment")


def test_maps_join_every_part_to_its_side_and_trousers_cannot_be_reached() -> None:
    catalog = Catalog.load()
    space, coarse = catalog.space("bodypix25"), catalog.space("coarse12")
    found = catalog.space_map("bodypix25", "coarse12")
    assert found.approximate
    for name, target in zip(space.names, found.index, strict=True):
        joined = coarse.names[target]
        assert joined.split("_")[0] == name.split("_")[0] or joined in ("Head", "Torso", "Background"), (name, joined)
    mirrored = [coarse.flip_index[found.index[i]] for i in range(25)]
    assert mirrored == [found.index[space.flip_index[i]] for i in range(25)]  # left goes where right goes
    assert {coarse.names[i] for i in range(12)} - {coarse.names[i] for i in found.surviving} == {"Lower_Clothing"}
    to_person = catalog.space_map("bodypix25", "person2")
    assert (not to_person.approximate, list(to_person.index)) == (True, [0] + [1] * 24)


def test_a_tiny_form_runs_end_to_end_on_rendered_people(repository: Path, tmp_path: Path) -> None:
    stand_in(tmp_path / "tiny.onnx", *maps())
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(card_of(repository)))
    record = evaluate(
        task="seg", models=["tiny-bodypix"], datasets="synthetic-humans", protocol="person", split="tiny", limit=2,
        cards=tmp_path / "tiny.yaml", weights_root=tmp_path, out=tmp_path / "run", n_boot=10, device="cpu",
    )  # fmt: skip
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 2)


def test_the_published_file_finds_rendered_people(shared: Path, tmp_path: Path) -> None:
    record = evaluate(
        task="seg", models=["bodypix-mobilenet-050"], datasets="synthetic-humans", protocol="person", split="tiny",
        limit=3, weights_root=shared / "data" / "bodypix", out=tmp_path / "run", n_boot=10, device="cpu",
    )  # fmt: skip
    (cell,) = record.cells
    assert cell.status == "done", cell
    headline = cell.scores[cell.headline].value
    assert headline is not None
    assert headline > 0.6
