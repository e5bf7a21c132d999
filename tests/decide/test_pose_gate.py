"""The committed baseline against the shipped models: as they are, in other batches, and with a broken decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sapiens_bench
from sapiens_bench.decide.compare import compare
from sapiens_bench.decide.gate import gate
from sapiens_bench.decide.sides import Side, read_side
from sapiens_bench.decide.spec import GateSpec
from sapiens_bench.models.movenet import MoveNet

NAME = "movenet-thunder"


@pytest.fixture(scope="module")
def baseline(repository: Path) -> Side:
    return read_side(repository / "results/golden/pose_tiny_baseline.parquet")


def run(out: Path, models: str = NAME, **options: Any) -> Side:
    sapiens_bench.evaluate(
        task="pose",
        models=models,
        datasets="synthetic-humans",
        split="tiny",
        device="cpu",
        out=out,
        n_boot=1,
        **options,
    )
    return read_side(out)


def test_the_committed_baseline_is_small_and_holds_the_four_shipped_models(baseline: Side, repository: Path) -> None:
    assert (repository / "results/golden/pose_tiny_baseline.parquet").stat().st_size < 200_000
    assert [m.model for m in baseline.members] == [
        "blazepose-lite", "blazepose-full", "movenet-lightning", "movenet-thunder",
    ]  # fmt: skip
    assert {m.rows.num_rows for m in baseline.members} == {12}


def test_a_rerun_in_other_batches_is_green_and_a_shift_of_one_pixel_in_the_decoder_is_red(
    baseline: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = GateSpec(models=(NAME,))
    rerun = run(tmp_path / "rerun", batch_size=3)
    assert gate(baseline, rerun, spec).verdict == "pass"
    assert gate(rerun, rerun, spec).verdict == "pass"

    finish = MoveNet.finish

    def shifted(self: MoveNet, outputs: dict[str, Any], geometry: Any) -> Any:
        moved = {name: values + np.float32([1 / self.size, 1 / self.size, 0]) for name, values in outputs.items()}
        return finish(self, moved, geometry)

    monkeypatch.setattr(MoveNet, "finish", shifted)
    broken = run(tmp_path / "broken")
    outcome = gate(baseline, broken, spec)
    (row,) = outcome.rows
    assert outcome.verdict == "fail"
    assert row.difference.found.difference < -0.02
    assert row.difference.found.upper < 0
    (d,) = compare([rerun, broken]).differences
    assert d.found.difference == pytest.approx(row.difference.found.difference, abs=0.01)
