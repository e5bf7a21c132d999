"""MoGe-2's ONNX files by card alone: any picture size, a number beside the picture, one channel of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_graphs
import torch
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.card_options import OnnxDepthOptions, OnnxNormalOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.onnx import OnnxMaps
from sapiens_bench.types import ModelInput


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_graphs.moge_file(tmp_path_factory.mktemp("moge") / "moge.onnx")


def model(name: str, file: Path, **changes: Any) -> OnnxMaps:
    """The package's card on the tiny file."""
    torch.set_num_threads(1)
    entry = Catalog.load().model(name)
    kind = OnnxDepthOptions if entry.card.task == "depth" else OnnxNormalOptions
    options = read_options(kind, {**entry.variant.options, **changes}, "the test")
    return OnnxMaps(ModelContext(entry.card, entry.variant, file, {}, "cpu", "fp32", None, options))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def answer(found: OnnxMaps, image: NDArray[np.uint8]) -> Any:
    x = ModelInput("k", image, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    tensors, geometry = found.prepare(x)
    with torch.inference_mode():
        outputs = found.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    return found.finish({key: value.numpy() for key, value in outputs.items()}, geometry)


def theirs(file: Path, image: NDArray[np.uint8], name: str, tokens: int = 3600) -> NDArray[np.float32]:
    """What ONNX Runtime gives for the picture as MoGe's authors feed it: 0 to 1, red first, its own size."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    feed = {"image": (image / 255).astype(np.float32).transpose(2, 0, 1)[None], "num_tokens": np.array(tokens)}
    found: NDArray[np.float32] = session.run([name], feed)[0][0]
    return found


@pytest.mark.parametrize("size", [(40, 30), (17, 64)])
def test_depth_is_the_z_of_the_points_at_the_pictures_own_size(file: Path, size: tuple[int, int]) -> None:
    image = picture(*size)
    found = answer(model("moge-2-l", file), image)
    assert found.kind == "affine_invariant_depth"
    np.testing.assert_allclose(found.depth_HW, theirs(file, image, "points")[..., 2], rtol=1e-5, atol=1e-5)
    coarse = answer(model("moge-2-l", file, numbers={"num_tokens": 1200}), image)
    np.testing.assert_allclose(coarse.depth_HW, found.depth_HW / 3, rtol=1e-5, atol=1e-5)


def test_normals_are_turned_from_opencvs_axes_and_made_unit(file: Path) -> None:
    image = picture(24, 32)
    raw = theirs(file, image, "normal")
    wanted = raw / np.linalg.norm(raw, axis=-1, keepdims=True) * np.float32([1, -1, -1])
    np.testing.assert_allclose(answer(model("moge-2-b-normal", file), image).normals_HW3, wanted, atol=1e-5)


def test_a_file_with_other_inputs_or_outputs_is_refused_with_the_names_it_has(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejected, match=r"no input 'tokens' .*num_tokens: tensor\(int64\)"):
        model("moge-2-s", file, numbers={"tokens": 3600})
    with pytest.raises(CheckpointRejected, match=r"takes image: .*, num_tokens: tensor\(int64\) \[\]"):
        model("moge-2-s", file, numbers={})
    with pytest.raises(CheckpointRejected, match=r"gives .*needs"):
        model("moge-2-s", file, channel=None)
    other = tiny_graphs.dense_file(tmp_path / "other.onnx", {"points": 3}, (518, 518))
    with pytest.raises(CheckpointRejected, match="no input 'num_tokens'"):
        model("moge-2-s", other)


def test_the_cards_of_all_sizes_say_the_same() -> None:
    catalog = Catalog.load()
    for names in (("moge-2-s", "moge-2-b", "moge-2-l"), ("moge-2-s-normal", "moge-2-b-normal", "moge-2-l-normal")):
        assert len({str(catalog.model(name).variant.options) for name in names}) == 1
