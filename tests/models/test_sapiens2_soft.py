"""Mattes and albedo of Sapiens2: against the library, and against numbers that the authors' head gave."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_files
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.sapiens2 import build
from sapiens_bench.models.sapiens2_albedo import AlbedoHead, build_head

INPUT = (128, 96)


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


def official(tmp_path: Path, name: str) -> Path:
    """A tiny file of a card, under the official names."""
    tiny_files.sapiens2(Catalog.load().models[name], path := tmp_path / f"{name}.safetensors")
    return path


def wrapper(fake: ModuleType, path: Path, task: str) -> Any:
    return build(fake.context("sapiens2", path, task, "hf" if path.is_dir() else "safetensors", INPUT))


def test_alpha_is_that_of_the_librarys_network_and_processing(fake: ModuleType, tmp_path: Path) -> None:
    import transformers

    path, x = official(tmp_path, "sapiens2-1b-matting"), fake.picture(120, 100)
    ours = fake.predict(model := wrapper(fake, path, "matting"), [x])[0].alpha_HW
    folder = path.with_suffix(".folder")
    path.rename(folder / "model.safetensors")
    theirs: Any = transformers.Sapiens2ForImageMatting.from_pretrained(folder)
    with torch.inference_mode():
        out = theirs(torch.from_numpy(model.prepare(x).tensors["image"]))
    processor: Any = transformers.Sapiens2ImageProcessor()
    (expected,) = processor.post_process_image_matting(out, target_sizes=[(120, 100)])
    np.testing.assert_allclose(ours, expected["alpha"][0], atol=1e-6)
    assert ours.std() > 0.01
    again = fake.predict(wrapper(fake, folder, "matting"), [x])[0].alpha_HW
    np.testing.assert_array_equal(again, ours)


def test_a_matting_picture_is_stretched_and_an_albedo_picture_padded(fake: ModuleType, tmp_path: Path) -> None:
    x = fake.picture(60, 200)
    matting = wrapper(fake, official(tmp_path, "sapiens2-1b-matting"), "matting")
    albedo = wrapper(fake, official(tmp_path, "sapiens2-0.4b-albedo"), "albedo")
    assert matting.fit(x.image_HW3).inside == (0, 0, 128, 96)
    top, left, bottom, right = albedo.fit(x.image_HW3).inside
    assert (left, right) == (0, 96)
    assert (top, bottom) == (50, 78)


def by_name(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that any machine draws alike: numpy's generator, names in order."""
    rng = np.random.default_rng(0)
    drawn = {}
    for name in sorted(state):
        shape = tuple(state[name].shape)
        values = rng.normal(0, 1, shape) / max(1, np.prod(shape[1:])) ** 0.5
        values = 1 + 0.3 * values if name.endswith("norm.weight") else values
        drawn[name] = torch.from_numpy(values.astype(np.float32))
    return drawn


def test_the_albedo_head_gives_the_numbers_of_the_authors_head() -> None:
    """Recorded from ``AlbedoHead`` of facebookresearch/sapiens2 with these weights, torch 2.14 on a CPU."""
    state = by_name(AlbedoHead(8, [8, 6], [(5, 3), (4, 1)]).state_dict())
    head = build_head(state, Path("file"))
    features = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (2, 8, 3, 2)).astype(np.float32))
    with torch.inference_mode():
        out = head(features)
    assert out.shape == (2, 3, 12, 8)
    found = torch.cat([out[0, :, 3, 5], out[1, :, 11, 0], out[0, :, 0, 7]])
    expected = [-0.02919, -0.055373, 0.981985, 0.113835, -0.324235, 1.033427, -0.04381, -0.112116, 0.943942]
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert float(out.std()) == pytest.approx(0.4971837, abs=1e-5)


def test_albedo_is_srgb_between_0_and_1_and_depends_on_the_picture(fake: ModuleType, tmp_path: Path) -> None:
    model = wrapper(fake, official(tmp_path, "sapiens2-0.4b-albedo"), "albedo")
    first, second = fake.predict(model, [fake.picture(90, 150), fake.picture(140, 60)])
    assert first.space == "srgb"
    assert first.albedo_HW3.shape == (90, 150, 3)
    assert second.albedo_HW3.shape == (140, 60, 3)
    assert 0 <= first.albedo_HW3.min() <= first.albedo_HW3.max() <= 1
    assert first.albedo_HW3.std() > 0.005


def test_an_albedo_file_with_a_fault_is_refused(fake: ModuleType, tmp_path: Path) -> None:
    path = official(tmp_path, "sapiens2-0.4b-albedo")
    state = load_file(path)
    norm = "decode_head.upsample_blocks.1.2.norm.weight"
    save_file({n: t for n, t in state.items() if n != norm}, path)
    with pytest.raises(CheckpointRejected, match=r"missing \(upsample_blocks\.1\.2\.norm\.weight\)"):
        wrapper(fake, path, "albedo")
    save_file(state | {"decode_head.other.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointRejected, match="unexpected"):
        wrapper(fake, path, "albedo")
    with pytest.raises(CheckpointRejected, match="albedo network of 3 maps, but tiny asks for normal"):
        wrapper(fake, path, "normal")
    folder = path.with_suffix(".folder")
    path.rename(folder / "model.safetensors")
    with pytest.raises(CheckpointRejected, match="no albedo network"):
        wrapper(fake, folder, "albedo")
