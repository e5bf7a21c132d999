"""What runs inside an actor, in this process: the same bytes as the local engine, and refusals that name the reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sapiens_bench.engine.jobs import Setting, Todo, job_of
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.ray_pool import Needs, answer_of, needs_of, room, setup_of_run
from sapiens_bench.engine.ray_worker import Worker, installed_versions
from sapiens_bench.engine.threads import division
from sapiens_bench.errors import CardError, MachineFault, UsageError
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.fingerprint import check_claim, write_claim

DATA = {"n": 20, "input_faults": [3]}
HOW: dict[str, Any] = {"batch_size": 4, "shard_size": 4, "engine": "ray", "threads": 1, "workers": None}


def todos_of(plan: Plan) -> list[Todo]:
    found = []
    for spec in plan.cells:
        data = plan.opened(spec)
        job = job_of(spec, plan.out, Setting.of(plan.how, "cpu", division(1)), data.open.adapter)
        write_claim(check_claim(plan.out / "rows" / spec.cell.folder, spec.fields, spec.cell.shard_size))
        found.append(Todo(spec, data, job, job.missing_shards(data.open.adapter, data.open.task)[0]))
    return found


def setup(plan: Plan, **changes: Any) -> dict[str, Any]:
    """What a worker knows after it has read the file, as plain values."""
    file = write_atomic(plan.out / ".tmp-told", json.dumps(setup_of_run(todos_of(plan), plan.how, plan.out)).encode())
    first = {"versions": installed_versions(), "file": str(file), "device": "cpu", "threads": 1}
    return {**json.loads(file.read_text()), **first, **changes}


def shards(out: Path) -> dict[str, bytes]:
    paths = [p for kind in ("rows", "preds") for p in (out / kind).rglob("*") if p.is_file()]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def greeted(plan: Plan) -> Worker:
    worker = Worker()
    told = worker.hello(setup(plan))
    assert told["kind"] == "ready", told
    return worker


def test_a_worker_writes_the_bytes_that_the_local_engine_writes(toy: ModuleType, tmp_path: Path) -> None:
    models = ("toy-plain", "toy-biased")
    local = toy.go(tmp_path / "local", DATA, models=models, batch_size=4, shard_size=4)
    worker = greeted(toy.plan(tmp_path / "far", DATA, models=models, **HOW))
    told = [worker.compute(cell, shard, ahead) for cell in (0, 1) for shard, ahead in
            ((0, 1), (1, 3), (3, None), (2, 4), (4, None))]  # fmt: skip
    assert [t["kind"] for t in told] == ["done"] * 10
    assert [bool(t["item_key"]) for t in told] == [True] + [False] * 9
    assert sum(t["timing"]["images"] for t in told) == 40
    assert shards(tmp_path / "local") == shards(tmp_path / "far")
    assert json.loads(json.dumps(told)) == told
    assert local.status == "done"


def test_a_shard_that_was_ahead_and_goes_to_another_is_not_committed(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, DATA, **HOW)
    worker = greeted(plan)
    worker.compute(0, 0, 1)
    worker.compute(0, 2, None)
    folder = tmp_path / "rows" / plan.cells[0].cell.folder
    assert sorted(p.name for p in folder.glob("commit-*")) == ["commit-00000.json", "commit-00002.json"]


def test_a_model_that_cannot_be_built_is_refused_with_its_reason(toy: ModuleType, tmp_path: Path) -> None:
    told = greeted(toy.plan(tmp_path, DATA, models=("toy-broken",), **HOW)).compute(0, 0, None)
    assert (told["kind"], told["error"]) == ("refused", CardError.__name__)
    assert "no such layer" in told["message"]
    assert answer_of(told).kind == "refused"


def test_other_versions_are_told_before_anything_else_is_looked_at(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, DATA, **HOW)
    told = Worker().hello({"versions": {**setup(plan)["versions"], "numpy": "0.1"}})
    assert told["kind"] == "other"


def test_other_data_under_the_same_path_end_the_run(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, DATA, **HOW)
    worker = Worker()
    told = setup(plan)
    cell = json.loads(told["cells"][0])
    cell["fields"]["manifest_sha256"] = "0" * 64
    worker.hello({**told, "cells": [json.dumps(cell)]})
    with pytest.raises(UsageError, match=r"^On .*: .* holds another toy than the driver's machine has there"):
        answer_of(worker.compute(0, 0, None))


def test_other_code_beside_a_card_ends_the_run(toy: ModuleType, tmp_path: Path) -> None:
    told = setup(toy.plan(tmp_path, DATA, **HOW))
    cell = json.loads(told["cells"][0])
    cell["model"]["code_sha256"] = "0" * 64
    worker = Worker()
    worker.hello({**told, "cells": [json.dumps(cell)]})
    with pytest.raises(UsageError, match="is another one than on the driver's machine"):
        answer_of(worker.compute(0, 0, None))


def test_lack_of_memory_makes_a_worker_unfit_and_names_the_machine(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, DATA, options={"most_crops": 0}, **HOW)
    told = greeted(plan).compute(0, 0, None)
    answer = answer_of(told)
    assert answer.kind == "unfit"
    assert told["host"] in answer.about


def test_a_worker_that_does_not_see_the_run_folder_says_so(toy: ModuleType, tmp_path: Path) -> None:
    told = Worker().hello(setup(toy.plan(tmp_path / "a", DATA, **HOW), file=str(tmp_path / "b" / ".tmp-told")))
    assert told["kind"] == "blind"


def test_a_worker_where_the_folder_of_the_command_is_missing_says_so(toy: ModuleType, tmp_path: Path) -> None:
    told = Worker().hello(setup(toy.plan(tmp_path, DATA, **HOW), folder="/no/such/folder"))
    assert told["kind"] == "stop"
    with pytest.raises(FileNotFoundError, match="/no/such/folder"):
        answer_of(told)


@pytest.mark.parametrize(
    ("fields", "nodes", "needs", "fits"),
    [
        ({}, [{"CPU": 16.0}, {"CPU": 8.0}], Needs(8, 0), [2, 1]),
        ({"workers": 4}, [{"CPU": 16.0}, {"CPU": 8.0}], Needs(6, 0), [2, 1]),
        ({"workers": 1}, [{"CPU": 4.0}, {"CPU": 4.0}], Needs(4, 0), [1, 1]),
        ({}, [{"CPU": 2.0}, {"CPU": 64.0, "GPU": 8.0}], Needs(8, 1), [0, 8]),
        ({"gpus_per_worker": 0.5}, [{"CPU": 64.0, "GPU": 8.0}], Needs(4, 0.5), [16]),
        ({"gpus_per_worker": 2}, [{"CPU": 64.0, "GPU": 8.0}], Needs(16, 2), [4]),
        ({"gpus_per_worker": 0.3}, [{"CPU": 64.0, "GPU": 1.0}], Needs(19, 0.3), [3]),
        ({"device": "cpu"}, [{"CPU": 64.0, "GPU": 8.0}], Needs(64, 0), [1]),
        ({"threads": 3}, [{"CPU": 8.0}], Needs(3, 0), [2]),
        ({}, [{"CPU": 4.0, "GPU": 8.0}], Needs(1, 1), [4]),
    ],
)
def test_what_a_worker_takes_of_its_machine(
    toy: ModuleType,
    tmp_path: Path,
    fields: dict[str, Any],
    nodes: list[dict[str, float]],
    needs: Needs,
    fits: list[int],
) -> None:
    given = {"device": "auto", "threads": None, **fields}
    how = toy.plan(tmp_path, **{**HOW, **given}).how
    assert needs_of(how, nodes) == needs
    assert [room(needs, node) for node in nodes] == fits


@pytest.mark.parametrize("fields", [{"device": "cuda"}, {"device": "cpu", "gpus_per_worker": 1}])
def test_gpus_that_are_not_there_or_not_wanted_are_refused(
    toy: ModuleType, tmp_path: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"GPU|gpus"):
        needs_of(toy.plan(tmp_path, **{**HOW, **fields}).how, [{"CPU": 4.0}])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"engine": "spark"}, "Unknown engine 'spark'"),
        ({"address": "head:6379"}, "--address belongs to --engine ray"),
        ({"gpus_per_worker": 0.5}, "--gpus-per-worker belongs to --engine ray"),
        ({"engine": "ray", "gpus_per_worker": 1.5}, "a share of one GPU such as 0.5, or a whole number"),
        ({"engine": "ray", "device": "cuda:1"}, "the cluster chooses the GPU"),
        ({"engine": "ray", "part": (1, 2)}, "--engine ray needs none"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    toy: ModuleType, tmp_path: Path, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        toy.plan(tmp_path, **fields)


def test_a_machine_fault_of_a_worker_has_its_class(toy: ModuleType) -> None:
    told = {"kind": "stop", "host": "h", "error": "StorageFull", "message": "no room", "errno": None, "memory": False,
            "trace": "", "unfit": False}  # fmt: skip
    with pytest.raises(Exception, match=r"^On h: no room$") as caught:
        answer_of(told)
    assert type(caught.value).__name__ == "StorageFull"
    assert answer_of({**told, "error": MachineFault.__name__, "unfit": True}).kind == "unfit"
