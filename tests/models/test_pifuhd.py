"""PIFuHD's normal network: files, sizes, axes, padding."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.errors import CardError, CheckpointRejected, UntrustedCheckpoint
from sapiens_bench.models.pifuhd import PIFuHD, build_generator


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


@pytest.fixture
def weights(shared: Path) -> Path:
    return shared / "golden" / "baselines" / "pifuhd_netF_tiny.safetensors"


def test_the_published_network_has_the_published_number_of_weights() -> None:
    count = sum(p.numel() for p in build_generator(None).parameters())
    assert count / 1e6 == pytest.approx(182.44, abs=0.01)


def test_an_official_style_pickle_with_options_gives_the_same_network(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    others = {"netG.surface_classifier.weight": torch.zeros(3)}
    content = {"model_state_dict": {**state, **others}, "opt": Namespace(name="x"), "opt_netG": Namespace(lr=1.0)}
    torch.save(content, tmp_path / "pifuhd.pt")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        ours, theirs = build_generator(tmp_path / "pifuhd.pt")(image), build_generator(weights)(image)
    assert torch.equal(ours, theirs)


def test_a_file_that_asks_for_code_or_holds_another_network_is_refused(weights: Path, tmp_path: Path) -> None:
    torch.save({"model_state_dict": load_file(weights), "opt": print}, tmp_path / "code.pt")
    with pytest.raises(UntrustedCheckpoint):
        build_generator(tmp_path / "code.pt")
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointRejected, match="no PIFuHD file"):
        build_generator(tmp_path / "other.safetensors")
    state = load_file(weights)
    del state["netG.netF.model.31.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointRejected, match="1 missing"):
        build_generator(tmp_path / "part.safetensors")


def test_normals_are_unit_at_the_size_of_the_picture_alone_and_in_a_batch(fake: ModuleType, weights: Path) -> None:
    model = PIFuHD(fake.context("pifuhd", weights, "normal", "safetensors", (64, 64)))
    pictures = [fake.picture(90, 50), fake.picture(40, 120)]
    for x, together in zip(pictures, fake.predict(model, pictures)):
        (alone,) = fake.predict(model, [x])
        assert together.normals_HW3.shape == x.image_HW3.shape
        np.testing.assert_allclose(np.linalg.norm(together.normals_HW3, axis=-1), 1, atol=1e-4)
        assert ((together.normals_HW3 * alone.normals_HW3).sum(-1) > 0.999).mean() > 0.999


def test_axis_sign_turns_the_axes(fake: ModuleType, weights: Path) -> None:
    plain, turned = (
        fake.predict(PIFuHD(fake.context("pifuhd", weights, "normal", "safetensors", (64, 64), axis_sign=sign)), [x])[0]
        for x in [fake.picture(64, 48)]
        for sign in ([1, 1, 1], [1, -1, -1])
    )
    np.testing.assert_array_equal(turned.normals_HW3, plain.normals_HW3 * np.float32([1, -1, -1]))


def test_the_border_of_a_padded_picture_is_mid_grey(fake: ModuleType, weights: Path) -> None:
    model = PIFuHD(fake.context("pifuhd", weights, "normal", "safetensors", (64, 64)))
    fitted = model.fit(np.full((100, 50, 3), 255, np.uint8))
    assert fitted.inside == (0, 16, 64, 48)
    assert not fitted.image_hw3[:, :16].any()
    assert fitted.image_hw3[:, 16:48].min() > 1


def test_a_card_without_an_input_size_is_refused(fake: ModuleType, weights: Path) -> None:
    with pytest.raises(CardError, match="needs 'input'"):
        PIFuHD(fake.context("pifuhd", weights, "normal", "safetensors", None))
