"""Several processes, one training: the weights are those of one process with the same batch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli import app
from sapiens_bench.errors import ProbeDiverged
from sapiens_bench.models.parts.head_file import load_head
from sapiens_bench.probe import processes
from sapiens_bench.probe.fresh import Draws
from sapiens_bench.probe.request import DataName, ProbeRequest
from sapiens_bench.probe.run import probe

SAME = 2e-6  # rounding of sums in another order; 9e-7 was measured


def words(cards: Path, out: Path, *more: str) -> list[str]:
    return [
        "probe", "--backbone", "movenet-lightning", "--task", "seg,depth,normal", "--train", "discs:train",
        "--depth-loss", "aligned", "--views", "0", "--input", "64x64", "--batch-size", "4", "--width", "8",
        "--steps", "6", "--lr", "1e-3", "--warm-up", "1", "--threads", "1", "--device", "cpu",
        "--cards", str(cards), "--out", str(out), *more,
    ]  # fmt: skip


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Of the checkpoint, without what batch normalisation cancels: biases before it have no gradient but rounding."""
    state = torch.load(out / "seed-0" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 6
    cancelled = {name for name in state["module"] if name.endswith("norm.running_mean")}
    cancelled |= {name.replace("norm.running_mean", "conv.bias") for name in cancelled}
    return {name: tensor.float() for name, tensor in state["module"].items() if name not in cancelled}


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(cards: Path, tmp_path: Path) -> None:
    """Views are made at every step, batch normalisation looks at the whole batch, losses are means over its pixels.

    Adam divides a gradient by its size, so gradients that differ in more than rounding would be seen in six steps.
    """
    pytest.importorskip("accelerate")
    found = []
    for name, more in (("alone", []), ("two", ["--gpus", "2"])):
        done = CliRunner().invoke(app, words(cards, tmp_path / name, *more))
        assert done.exit_code == 0, done.output
        found.append(weights(tmp_path / name))
    assert len(found[0]) > 30
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        assert torch.allclose(tensor, found[1][name], atol=SAME, rtol=SAME), name
    assert load_head(tmp_path / "two" / "probe-movenet-lightning.safetensors")[0].made["processes"] == 2
    assert "processes" not in load_head(tmp_path / "alone" / "probe-movenet-lightning.safetensors")[0].made


@pytest.mark.slow
def test_accelerate_launches_the_command_as_well(cards: Path, tmp_path: Path) -> None:
    """As for two GPUs; the command says --device cpu."""
    pytest.importorskip("accelerate")
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        "-m", "sapiens_bench",
    ]  # fmt: skip
    out = tmp_path / "out"
    command = [*launch, *words(cards, out, "--eval", "discs:test", "--task", "normal")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (out / "run-normal").is_dir()
    assert done.stderr.count("loss 2.") == 1  # of the last step: one process speaks
    assert load_head(out / "probe-movenet-lightning.safetensors")[0].made["processes"] == 2


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_as_it_was_there(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    pytest.importorskip("accelerate")
    asked = ProbeRequest(
        "movenet-lightning", ("seg",), DataName("discs", "train"), tmp_path, input_hw=(64, 64), batch=4, width=8,
        steps=8, lr=1e30, warm_up=0, clip=0.0, cards=(cards,), device="cpu", threads=1, processes=2,
    )  # fmt: skip
    with pytest.raises(ProbeDiverged, match=r"step \d is not finite"):
        probe(asked, catalog, lambda what, done, total: None)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--gpus", "3"], "--batch-size 4 cannot be divided among 3 processes"),
        (["--gpus", "64", "--device", "auto", "--batch-size", "64"], "--gpus 64: this machine has"),
        (["--gpus", "2", "--device", "cuda:1"], "--gpus 2 with --device cuda:1: give cuda"),
    ],
)
def test_what_processes_cannot_do_is_one_line(cards: Path, tmp_path: Path, more: list[str], says: str) -> None:
    pytest.importorskip("accelerate")
    done = CliRunner().invoke(app, words(cards, tmp_path, *more))
    assert done.exit_code == 2
    assert says in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_without_accelerate_the_command_says_what_to_install(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, words(cards, tmp_path, "--gpus", "2"))
    assert (done.exit_code, "pip install 'sapiens-vision-bench[probe]'" in done.output) == (2, True)
    for name in processes.LAUNCHED:
        monkeypatch.setenv(name, "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    done = CliRunner().invoke(app, words(cards, tmp_path))
    assert (done.exit_code, "pip install 'sapiens-vision-bench[probe]'" in done.output) == (2, True)


def test_the_draws_of_a_part_are_those_of_the_batch() -> None:
    whole = Draws.of_step(6, 0, 3).on("cpu")
    assert torch.equal(Draws.of_step(6, 0, 3).part(slice(2, 4)).on("cpu"), whole[2:4])


def test_alone_nothing_is_changed() -> None:
    x = torch.tensor([3.0])
    assert processes.summed(x) is x
    assert processes.part(5) == slice(0, 5)
    assert float(processes.mean_over(x, torch.tensor(0.0))) == 3.0
