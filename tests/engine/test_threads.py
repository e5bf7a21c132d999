"""Who gets which cores, and that it changes nothing but the time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_bench.api import load_model
from sapiens_bench.engine.forward import Forward
from sapiens_bench.engine.loader import Loaded
from sapiens_bench.engine.threads import division, keep_freed_memory, prompt_launches, usable_cores
from sapiens_bench.errors import SampleFault
from sapiens_bench.testing import toy
from sapiens_bench.types import ModelInput


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("50000 100000", 1), ("150000 100000", 2), ("x", None)]
)
def test_the_quota_of_a_control_group_counts(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    mine = len(os.sched_getaffinity(0))
    assert usable_cores(tmp_path) == (mine if cores is None else min(mine, cores))


def test_the_quota_of_the_older_control_groups_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == 1


@pytest.mark.parametrize(
    ("limited", "told", "is_limited"),
    [
        ("system.slice/job.scope/cpu.max", "0::/system.slice/job.scope", True),
        ("system.slice/cpu.max", "0::/system.slice/job.scope", True),  # of a group that the process's own is in
        ("system.slice/other.scope/cpu.max", "0::/system.slice/job.scope", False),
        ("cpu.max", "0::/../elsewhere", True),  # as seen from inside a container
        ("cpu.max", "not a list of groups", True),
    ],
)
def test_the_quota_of_a_group_below_the_root_counts(tmp_path: Path, limited: str, told: str, is_limited: bool) -> None:
    """Batch systems and services put a process there; a container sees its own group as the root."""
    (tmp_path / "member").write_text(f"9:name=systemd:/a\n{told}\n")
    path = tmp_path / "groups" / limited
    path.parent.mkdir(parents=True)
    path.write_text("50000 100000\n")
    mine = len(os.sched_getaffinity(0))
    assert usable_cores(tmp_path / "groups", tmp_path / "member") == (1 if is_limited else mine)


def test_the_older_groups_of_a_batch_job_count(tmp_path: Path) -> None:
    (tmp_path / "member").write_text("3:cpu,cpuacct:/slurm/job_1\n0::/\n")
    folder = tmp_path / "cpu" / "slurm" / "job_1"
    folder.mkdir(parents=True)
    for name, value in (("quota", "50000"), ("period", "100000")):
        (folder / f"cpu.cfs_{name}_us").write_text(value)
        (tmp_path / "cpu" / f"cpu.cfs_{name}_us").write_text("-1" if name == "quota" else "100000")
    assert usable_cores(tmp_path, tmp_path / "member") == 1
    (folder / "cpu.cfs_quota_us").write_text("-1")
    assert usable_cores(tmp_path, tmp_path / "member") == len(os.sched_getaffinity(0))


def test_every_kind_of_work_has_a_thread_even_on_one_core() -> None:
    assert division(1).scorers == 1
    assert division(1).loaders == 2
    assert division(8).loaders == 8
    assert division(64).loaders == 16
    assert division(8, workers=3).loaders == 3


def item(model: Any, index: int, n_boxes: int) -> Loaded:
    rng = np.random.default_rng(index)
    image = rng.integers(0, 256, (120, 160, 3), np.uint8)
    boxes = np.tile(np.array([[20, 10, 100, 110]], np.float32), (n_boxes, 1)) + np.arange(n_boxes)[:, None]
    x = ModelInput(f"k{index}", image, boxes.astype(np.float32), np.ones(n_boxes, np.float32))
    return Loaded(index, f"k{index}", "g", sample=None, prepared=model.prepare(x))


@pytest.mark.parametrize("name", ["movenet-lightning", "blazepose-lite", "selfie-segmentation"])
def test_crops_beside_each_other_give_what_crops_together_give(name: str) -> None:
    model: Any = load_model(name)
    assert model.is_reentrant
    items = [item(model, 0, 3), item(model, 1, 0), item(model, 2, 1)]
    beside, together = Forward(model, "cpu", 8, operators=3), Forward(model, "cpu", 8, operators=1)
    for (_, ours), (_, theirs) in zip(beside(items), together(items), strict=True):
        assert not isinstance(ours, SampleFault)
        assert not isinstance(theirs, SampleFault)
        assert set(ours) == set(theirs)
        for key in ours:
            np.testing.assert_allclose(ours[key], theirs[key], atol=2e-3, rtol=1e-4)
    beside.close()


def test_a_crop_that_fails_charges_its_own_image_alone(toy: ModuleType) -> None:
    class Fragile:
        is_reentrant = True

        def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if float(tensors["x"][0, 0]) == 1:
                raise RuntimeError("a kernel failed")
            return {"y": tensors["x"] * 2}

    from sapiens_bench.types import Prepared

    items = [Loaded(i, f"k{i}", "g", prepared=Prepared({"x": np.full((2, 3), i, np.float32)}, None)) for i in range(3)]
    forward = Forward(Fragile(), "cpu", 8, operators=2)  # type: ignore[arg-type]
    found = {one.index: outputs for one, outputs in forward(items)}
    assert isinstance(found[1], SampleFault)
    assert found[1].side == "prediction"
    np.testing.assert_array_equal(found[2]["y"], np.full((2, 3), 4))  # type: ignore[index,call-overload]
    forward.close()


def test_a_gpu_is_fed_with_short_turns_and_the_old_ones_come_back() -> None:
    before = sys.getswitchinterval()
    with prompt_launches("cpu"):
        assert sys.getswitchinterval() == before
    with prompt_launches("cuda:1"):
        assert sys.getswitchinterval() == pytest.approx(1e-4)
    assert sys.getswitchinterval() == before


def test_waiting_is_passive_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['sapiens-bench', '--version']\n"
        "from sapiens_bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import os; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split()[-2:] == ["PASSIVE", "False"], done.stderr


def test_one_core_without_threads_writes_the_rows_that_threads_write(tmp_path: Path) -> None:
    """Everything in turn: the bytes of the shards are the same, and no thread of ours is begun."""
    begun: list[str] = []
    shards: list[list[bytes]] = []
    with toy.installed(), pytest.MonkeyPatch.context() as patch:
        for name, threads, workers in (("many", 2, 2), ("alone", 1, 1)):
            if name == "alone":
                patch.setattr(threading.Thread, "start", lambda self: begun.append(self.name))
            record = toy.go(tmp_path / name, {"n": 23, "exceptions": [4]}, threads=threads, workers=workers)
            assert record.status == "done"
            shards.append([path.read_bytes() for path in sorted((tmp_path / name / "rows").rglob("shard-*"))])
    assert len(shards[0]) == 5
    assert shards[0] == shards[1]
    assert [name for name in begun if name.startswith("sapiens-")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_freed_memory_is_kept_for_the_next_image() -> None:
    """In a process of its own: a picture's worth of memory, taken and freed again and again."""
    code = (
        "import resource, sys\n"
        "from sapiens_bench.engine.threads import keep_freed_memory\n"
        "sys.argv[1] == 'keep' and keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def image(): return [bytearray(b'x') * 900_000 for _ in range(4)]\n"
        "image()\n"
        "before = faults()\n"
        "for _ in range(50): image()\n"
        "print(faults() - before)\n"
    )

    def faults(word: str, **environment: str) -> int:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        return int(subprocess.run([sys.executable, "-c", code, word], env=others | environment,
                                  capture_output=True, text=True, check=True).stdout)  # fmt: skip

    assert faults("keep") < 2_000 < faults("not")
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > 2_000  # what the user has set stays


def test_where_there_is_no_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("another C library was asked"))
    keep_freed_memory()
