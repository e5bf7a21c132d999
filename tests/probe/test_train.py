"""The loop on a small head: it learns, resumes to the same bits after a kill, and stops where a loss is not finite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sapiens_bench.errors import ProbeDiverged, StoreError
from sapiens_bench.probe.train import Job, Settings, fit, make_optimizer, rows_of_step

SETTINGS = Settings(steps=20, batch=4, lr=1e-2, warm_up=3, checkpoint_every=5, log_every=5, validate_every=10)


def job(poison_at: int = -1) -> Job:
    """Line through points: rows are numbers, the module learns to double them."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    calls = 0

    def losses(module: nn.Module, rows: Sequence[int], step: int | None) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        x = torch.tensor([[float(row)] for row in rows]) / 10
        loss = (module(x) - 2 * x).abs().mean()
        return {"line": loss * float("nan") if calls == poison_at else loss}

    return Job(module, losses, list(range(20)), [20, 21, 22])


def weights(job: Job) -> list[Tensor]:
    return [tensor.clone() for tensor in job.module.state_dict().values()]


def test_a_training_learns_and_writes_its_log(tmp_path: Path) -> None:
    first = fit(job(), SETTINGS, tmp_path / "short")
    longer = fit(job(), Settings(**{**SETTINGS.__dict__, "steps": 200}), tmp_path / "long")
    assert longer < first / 2
    lines = (tmp_path / "short" / "log.csv").read_text().splitlines()
    assert lines[0] == "step,split,lr,loss,line"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["5", "train"], ["10", "train"], ["10", "validation"], ["15", "train"], ["20", "train"], ["20", "validation"],
    ]  # fmt: skip


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 7, 12, 19])
def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path: Path, after: int) -> None:
    whole = job()
    loss = fit(whole, SETTINGS, tmp_path / "whole")

    def stop(step: int, _: float) -> None:
        if step == after:
            raise Killed

    with pytest.raises(Killed):
        fit(job(), SETTINGS, tmp_path / "cut", stop)
    steps: list[int] = []
    resumed = job()
    assert fit(resumed, SETTINGS, tmp_path / "cut", lambda step, _: steps.append(step)) == loss
    assert steps[0] == after - after % 5 + 1
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert (tmp_path / "cut" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()


def test_a_killed_process_loses_no_more_than_the_last_interval(tmp_path: Path, repository: Path) -> None:
    code = (
        "import sys, os, signal, torch; sys.path.insert(0, sys.argv[2]); torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from test_train import SETTINGS, fit, job\n"
        "fit(job(), SETTINGS, Path(sys.argv[1]), lambda s, _: os.kill(os.getpid(), signal.SIGKILL) if s == 13 else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), os.path.dirname(__file__)], timeout=120)
    assert done.returncode == -signal.SIGKILL
    whole, resumed, steps = job(), job(), list[int]()
    fit(whole, SETTINGS, tmp_path / "whole")
    fit(resumed, SETTINGS, tmp_path, lambda step, _: steps.append(step))
    assert steps[0] == 11  # the checkpoint of step 10 was there
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_loss_that_is_not_finite_stops_with_its_step_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ProbeDiverged, match=r"step 8 is not finite \(line nan\)"):
        fit(job(poison_at=8), SETTINGS, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 5
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["module"].values())


def test_a_last_step_that_breaks_the_weights_is_found_on_the_rows_held_back_and_not_saved(tmp_path: Path) -> None:
    honest = job()

    def losses(module: nn.Module, rows: object, step: int | None) -> dict[str, torch.Tensor]:
        found = honest.losses(module, rows, step)  # type: ignore[arg-type]
        return {name: loss * float("nan") if step is None else loss for name, loss in found.items()}

    last = Settings(**{**SETTINGS.__dict__, "validate_every": 0})
    with pytest.raises(ProbeDiverged, match=rf"The validation loss after step {last.steps} is not finite \(line nan\)"):
        fit(replace(honest, losses=losses), last, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] < last.steps


def test_a_checkpoint_of_other_settings_or_cut_off_is_refused(tmp_path: Path) -> None:
    fit(job(), SETTINGS, tmp_path)
    with pytest.raises(StoreError, match=r"another training: lr 0\.01 there, 0\.001 now\. Give another --out"):
        fit(job(), Settings(**{**SETTINGS.__dict__, "lr": 1e-3}), tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be used"):
        fit(job(), SETTINGS, tmp_path)


def test_a_checkpoint_made_from_something_else_is_refused_by_its_name(tmp_path: Path) -> None:
    ours = replace(job(), made_from={"backbone": "a", "loss": "l1"})
    fit(ours, SETTINGS, tmp_path)
    fit(replace(job(), made_from=ours.made_from), SETTINGS, tmp_path)
    with pytest.raises(StoreError, match=r"another training: another backbone\. "):
        fit(replace(job(), made_from={"backbone": "b", "loss": "l1"}), SETTINGS, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["made_from"]  # as earlier versions wrote it: nobody knows what it was made from
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(StoreError, match="another backbone, another loss"):
        fit(ours, SETTINGS, tmp_path)


def test_every_pass_takes_each_row_once_and_batches_run_over_its_end() -> None:
    settings = Settings(steps=9, batch=4, seed=3)
    rows = list(range(100, 110))
    seen = [row for step in range(5) for row in rows_of_step(step, settings, rows)]
    assert sorted(seen[:10]) == rows
    assert sorted(seen[10:20]) == rows
    assert seen[:10] != seen[10:20]
    assert rows_of_step(2, settings, rows) == rows_of_step(2, settings, rows)


def test_a_fine_tuned_trunk_has_falling_rates_and_no_decay_of_vectors() -> None:
    module = nn.ModuleDict({"backbone": nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])})})
    module["head"] = nn.Linear(2, 2)
    job = Job(module, lambda m, rows, step: {}, [0], [0], n_layers=2)
    groups = make_optimizer(job, Settings(steps=1, lr=1.0, layer_decay=0.5, weight_decay=0.1)).param_groups
    found = {(group["lr"], group["weight_decay"], len(group["params"])) for group in groups}
    assert found == {(0.25, 0.1, 1), (0.25, 0.0, 1), (0.5, 0.1, 1), (0.5, 0.0, 1), (1.0, 0.1, 1), (1.0, 0.0, 1)}


def test_the_first_bad_step_is_named_where_losses_are_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sapiens_bench.probe.train.stops_to_look", lambda device: True)
    with pytest.raises(ProbeDiverged, match="step 8 is not finite"):
        fit(job(poison_at=8), SETTINGS, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 5
    whole, watched = job(), job()
    fit(whole, SETTINGS, tmp_path / "whole")
    monkeypatch.undo()
    fit(watched, SETTINGS, tmp_path / "watched")
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(watched), strict=True))
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "watched" / "log.csv").read_bytes()
