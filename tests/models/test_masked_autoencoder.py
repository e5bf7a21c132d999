"""A pre-training checkpoint paints hidden patches: seen ones stay, places are kept, encoders alone are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.models.parts.masked_autoencoder import Decoder, MaskedAutoencoder, patches_of
from sapiens_bench.models.sapiens_net import PATCH, Encoder, EncoderConfig

GRID = (4, 4)


def state() -> dict[str, Tensor]:
    """Encoder and decoder of a small pre-training, as the official file names them."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(64, 2, 1, 128, GRID, class_token=True))
    decoder = Decoder(64, 32, 1, 64, 17, 16)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    parts = {"backbone": encoder.state_dict(), "neck": decoder.state_dict()}
    return {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}


def opened(folder: Path, found: dict[str, Tensor]) -> MaskedAutoencoder:
    torch.save({"state_dict": found}, folder / "mae.pth")
    return MaskedAutoencoder(folder / "mae.pth", encoder_heads=1)


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def in_patches(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image.reshape(4, PATCH, 4, PATCH, 3).transpose(0, 2, 1, 3, 4).reshape(16, PATCH, PATCH, 3)


def test_seen_patches_stay_and_hidden_ones_are_painted(tmp_path: Path) -> None:
    network = opened(tmp_path, state())
    found = network.reconstruct(picture(), 0.75)
    truth, masked, painted = (in_patches(each) for each in (found.picture, found.masked, found.painted))
    same = [bool((a == b).all()) for a, b in zip(truth, masked, strict=True)]
    assert sum(same) == 4
    assert [bool((a == b).all()) for a, b in zip(truth, painted, strict=True)] == same
    again, other = network.reconstruct(picture(), 0.75), network.reconstruct(picture(), 0.75, seed=1)
    assert (again.painted == found.painted).all()
    assert (other.masked != found.masked).any()
    assert sum(bool((a == b).all()) for a, b in zip(truth, in_patches(network.reconstruct(picture(), 0.9).masked))) == 1


def test_a_decoder_that_says_nothing_paints_the_mean_of_each_patch(tmp_path: Path) -> None:
    mute = {name: torch.zeros_like(t) if "decoder_pred" in name else t for name, t in state().items()}
    found = opened(tmp_path, mute).reconstruct(picture(), 0.75)
    assert found.error == pytest.approx(1, abs=0.01)
    hidden = [i for i in range(16) if (in_patches(found.masked)[i] != in_patches(found.picture)[i]).any()]
    patch = in_patches(found.painted)[hidden[0]]
    assert patch.reshape(-1, 3).std(0).max() == 0
    # One mean over the three normalised colours, so each colour differs by its own scale only.
    means = in_patches(found.picture)[hidden[0]].reshape(-1, 3).mean(0)
    assert np.abs(patch[0, 0] - means).max() < 25


def test_every_token_comes_back_to_its_place() -> None:
    decoder = Decoder(8, 8, 1, 8, 5, 1)
    for name, parameter in decoder.named_parameters():
        torch.nn.init.zeros_(parameter)
        if name in ("decoder_embed.weight", "decoder_pred.weight"):
            torch.nn.init.eye_(parameter)
        if name == "ln1.weight":
            torch.nn.init.ones_(parameter)
    decoder.mask_token.data[..., 7] = 1.0
    order = torch.tensor([2, 0, 3, 1])  # patches 2 and 0 are seen
    seen = torch.zeros(1, 3, 8)
    seen[0, 1, 2], seen[0, 2, 0] = 1.0, 1.0  # each seen token lights the channel of its place
    with torch.inference_mode():
        values = decoder(seen, torch.argsort(order)[None])[0]
    assert values[:, :8].argmax(1).tolist() == [0, 7, 2, 7]


def test_patches_run_row_by_row_with_colours_last() -> None:
    image = torch.arange(3 * 32 * 48).view(1, 3, 32, 48)
    patches = patches_of(image)
    assert patches.shape == (1, 6, 768)
    assert patches[0, 4, :3].tolist() == image[0, :, 16, 16].tolist()
    assert patches[0, 4, 3 * (2 * 16 + 5) + 1] == image[0, 1, 18, 21]


def test_an_encoder_alone_and_senseless_ratios_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejected, match="no decoder"):
        opened(tmp_path, {name: t for name, t in state().items() if name.startswith("backbone.")})
    with pytest.raises(CheckpointRejected, match="decoder cannot be used"):
        opened(tmp_path, {name: t for name, t in state().items() if name != "neck.mask_token"})
    network = opened(tmp_path, state())
    for ratio in (0.0, 0.99, 1.5):
        with pytest.raises(UsageError, match="mask ratio"):
            network.reconstruct(picture(), ratio)


def test_the_tool_says_in_one_line_why_a_file_does_not_do(repository: Path, tmp_path: Path) -> None:
    torch.save({name: t for name, t in state().items() if name.startswith("backbone.")}, tmp_path / "x_clean.pth")
    Image.fromarray(picture()).save(tmp_path / "in.png")
    words = [tmp_path / "x_clean.pth", tmp_path / "out.jpg", tmp_path / "in.png"]
    done = subprocess.run(
        [sys.executable, str(repository / "tools" / "draw_reconstruction.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no decoder" in done.stderr
    assert "Traceback" not in done.stderr
