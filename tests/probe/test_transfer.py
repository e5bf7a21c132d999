"""A finished head is trained on: the same trunk's as it is, another trunk's behind new linear maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import UsageError
from sapiens_bench.probe.request import DataName, ProbeRequest
from sapiens_bench.probe.run import probe
from sapiens_bench.probe.transfer import least_squares


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def request(folder: Path, out: Path, **changed: object) -> ProbeRequest:
    chosen: dict[str, object] = {
        "backbone": "movenet-lightning", "tasks": ("seg", "depth"), "train": DataName("discs", "train"), "out": out,
        "views": 1, "input_hw": (64, 64), "batch": 4, "width": 16, "steps": 1, "lr": 1e-9, "cards": (folder,),
        "device": "cpu", "threads": 1, "name": "head", "depth_loss": "aligned",
    }  # fmt: skip
    return ProbeRequest(**{**chosen, **changed})  # type: ignore[arg-type]


def test_least_squares_finds_a_linear_map() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(400, 6) + 3, torch.randn(4, 6), torch.randn(4)
    found_weight, found_bias = least_squares(x, x @ weight.T + bias)
    assert torch.allclose(found_weight, weight, atol=0.02)
    assert torch.allclose(found_bias, bias, atol=0.1)


def test_a_head_goes_on_from_its_file_and_helps_another_trunk(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    (first,) = probe(request(cards, tmp_path / "first", steps=120, lr=3e-3), catalog, quiet)
    file = tmp_path / "first" / first.file
    (again,) = probe(request(cards, tmp_path / "again", start_from=file), catalog, quiet)
    before, after = load_file(file), load_file(tmp_path / "again" / again.file)
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    assert again.validation_loss == pytest.approx(first.validation_loss, rel=0.02)
    losses = {}
    for trunk in ("movenet-thunder", "blazepose-full"):  # the second has a level more
        (new,) = probe(request(cards, tmp_path / f"{trunk}-new", backbone=trunk), catalog, quiet)
        (taken,) = probe(request(cards, tmp_path / trunk, backbone=trunk, start_from=file), catalog, quiet)
        losses[trunk] = (new.validation_loss, taken.validation_loss)
    assert all(taken < new - 0.5 * (new - first.validation_loss) for new, taken in losses.values()), losses


def test_a_folder_whose_head_began_with_a_file_is_gone_on_from(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    """Its checkpoint has no normalisation layers, those of a head fitted anew have."""
    (first,) = probe(request(cards, tmp_path / "first", steps=20, lr=3e-3), catalog, quiet)
    probe(request(cards, tmp_path / "second", start_from=tmp_path / "first" / first.file), catalog, quiet)
    (third,) = probe(request(cards, tmp_path / "third", start_from=tmp_path / "second"), catalog, quiet)
    assert third.validation_loss == pytest.approx(first.validation_loss, rel=0.02)
    (other,) = probe(request(cards, tmp_path / "other", start_from=tmp_path / "first"), catalog, quiet)
    assert other.validation_loss == pytest.approx(first.validation_loss, rel=0.05)
    with pytest.raises(UsageError, match="checkpoint is of a head of another plan"):
        probe(request(cards, tmp_path / "wrong", start_from=tmp_path / "second", width=8), catalog, quiet)


def test_a_head_that_does_not_fit_is_refused(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="is not there"):
        probe(request(cards, tmp_path / "a", start_from=tmp_path / "none.safetensors"), catalog, quiet)
    (first,) = probe(request(cards, tmp_path / "first"), catalog, quiet)
    file = tmp_path / "first" / first.file
    with pytest.raises(UsageError, match="another plan"):
        probe(request(cards, tmp_path / "b", start_from=file, width=8), catalog, quiet)
    other = request(cards, tmp_path / "c", start_from=file, backbone="movenet-thunder", input_hw=(96, 64))
    with pytest.raises(UsageError, match="at the same --input"):
        probe(other, catalog, quiet)
