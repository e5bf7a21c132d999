"""A cell is plain data: another process can rebuild it. And nothing is opened before everything is validated."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.specs import CellSpec, ModelSpec
from sapiens_bench.errors import CardError, DeviceError, MachineFault, SapiensBenchError, UnknownName, UsageError
from sapiens_bench.store.record import read_run

REBUILD = """
import pickle, sys
from sapiens_bench.engine.build import build_model, open_data
from sapiens_bench.engine.specs import CellSpec
spec = CellSpec.from_json(sys.stdin.read()) if sys.argv[1] == "json" else pickle.load(sys.stdin.buffer)
data = open_data(spec.data)
model = build_model(spec.model, "cpu")
print(*list(data.adapter.keys[:2]), type(model).__name__, data.adapter[0].input.image_HW3.shape[2])
"""


@pytest.mark.parametrize("how", ["pickle", "json"])
def test_a_cell_can_be_sent_to_another_process_and_rebuilt_there(how: str) -> None:
    request = Request(task="pose", models=("movenet-lightning",), split="tiny", datasets=("synthetic-humans",))
    (spec,) = resolve(request, Catalog.load()).cells
    text = pickle.dumps(spec) if how == "pickle" else spec.to_json().encode()
    done = subprocess.run([sys.executable, "-c", REBUILD, how], input=text, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    found = done.stdout.decode().split()
    assert found == ["synthetic-humans/tiny/000000", "synthetic-humans/tiny/000001", "MoveNet", "3"]


def test_a_cell_with_a_map_between_sets_survives_json() -> None:
    request = Request(task="pose", models=("blazepose-lite",), split="tiny", datasets=("synthetic-humans",))
    (spec,) = resolve(request, Catalog.load()).cells
    assert spec.space_map is not None
    again = CellSpec.from_json(spec.to_json())
    assert (again.data, again.model, again.space_map) == (spec.data, spec.model, spec.space_map)
    assert again.to_json() == spec.to_json()


@pytest.mark.parametrize("name", ["movenet-thunder", "sapiens-0.3b", "floor-silhouette-depth", "oracle"])
def test_a_model_spec_survives_json(name: str) -> None:
    from sapiens_bench.cards.locate import WeightFiles
    from sapiens_bench.engine.model_specs import space_of

    catalog = Catalog.load()
    entry = catalog.model(name)
    files = WeightFiles(Path("/weights/x"), {"more": Path("/weights/y")}, "0" * 64, pinned=True)
    spec = ModelSpec(entry, files, space_of(entry, catalog), dict(entry.variant.options), "fp32", 3, "")
    assert ModelSpec.from_json(spec.to_json()) == spec


WRONG: list[tuple[dict[str, Any], type[SapiensBenchError], str]] = [
    ({"options": {"pading": 2}}, UnknownName, "padding"),
    ({"options": {"padding": "wide"}}, CardError, "padding.*wide"),
    ({"options": {"padding": -1}}, CardError, "padding"),
    ({"data_options": {"splt": "tiny"}}, CardError, "split"),
    ({"protocol": "gt-bx"}, UnknownName, "gt-box"),
    ({"datasets": ("synthetic-human",)}, UnknownName, "synthetic-humans"),
    ({"models": ("movenet-thundr",)}, UnknownName, "movenet-thunder"),
    ({"task": "poze"}, UnknownName, "pose"),
    ({"split": "tinny"}, UnknownName, "tiny"),
    ({"device": "gpu"}, DeviceError, "cuda"),
    ({"weights_root": "nowhere", "models": ("sapiens-0.3b-coco17",)}, UsageError, "nowhere"),
]


@pytest.mark.parametrize(("change", "kind", "message"), WRONG, ids=lambda v: str(v)[:40] if isinstance(v, dict) else "")
def test_a_mistyped_request_is_refused_before_anything_is_rendered(
    change: dict[str, Any], kind: type[SapiensBenchError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    asked = {"task": "pose", "models": ("movenet-thunder",), "datasets": ("synthetic-humans",), **change}
    with pytest.raises(kind, match=f"(?s){message}"):
        resolve(Request(**asked), Catalog.load())
    assert not (tmp_path / "cache" / "data").exists()


def test_an_option_reaches_the_models_that_have_it_and_a_note_names_the_others(tmp_path: Path) -> None:
    request = Request(
        task="pose", models=("movenet-thunder", "oracle"), datasets=("synthetic-humans",), split="tiny", out=tmp_path,
        options={"padding": 1.5},
    )  # fmt: skip
    plan = resolve(request, Catalog.load())
    assert [spec.model.options for spec in plan.cells] == [{"padding": 1.5}, {}]
    assert any("padding does not reach oracle" in note for note in plan.notes)


def test_a_full_disk_while_reading_a_picture_is_no_fault_of_the_picture(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = toy.ToyAdapter.__getitem__

    def full(self: Any, index: int) -> Any:
        if index == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(toy.ToyAdapter, "__getitem__", full)
        with pytest.raises(MachineFault, match="No space left on device") as caught:
            toy.go(tmp_path)
    assert caught.value.exit_code == 4
    rows = sorted(p.name for p in (tmp_path / "rows").rglob("shard-*.parquet"))
    assert rows == ["shard-00000.parquet"]  # the shard of picture 7 was not committed
    assert read_run(tmp_path).status == "incomplete"
    assert toy.go(tmp_path).cells[0].counts.ok == 30


def test_running_out_of_memory_in_a_model_stops_the_run(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(self: Any, outputs: Any, geometry: Any) -> Any:
        raise MemoryError

    plan = toy.plan(tmp_path)
    monkeypatch.setattr("sapiens_bench.testing.toy.ToyModel.finish", starve)
    from sapiens_bench.engine.run import run

    with pytest.raises(MachineFault, match="MemoryError"):
        run(plan)
    assert not list((tmp_path / "rows").rglob("shard-*.parquet"))


def test_an_array_is_no_option(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no plain value"):
        resolve(Request(task="pose", models=("movenet-thunder",), options={"padding": np.ones(2)}), Catalog.load())
