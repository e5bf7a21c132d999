"""Runs on a Ray cluster of this machine: the rows of the local engine, whatever ends on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from sapiens_bench.engine.again import request_of
from sapiens_bench.engine.events import Note
from sapiens_bench.engine.ray_cluster import PREFIX, joined
from sapiens_bench.errors import TooManyErrors, UsageError
from sapiens_bench.store.record import RunRecord, read_run
from sapiens_bench.testing import toy as toy_module

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*:ResourceWarning")]
FIELDS: dict[str, Any] = {"batch_size": 4, "shard_size": 4}
RAY: dict[str, Any] = {**FIELDS, "engine": "ray", "workers": 2}
DATA = {"n": 40, "input_faults": [3]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One for all tests here, which every run finds joined."""
    with joined("", cores=2):
        yield


def shards(out: Path) -> dict[str, bytes]:
    paths = [p for kind in ("rows", "preds") for p in (out / kind).rglob("*") if p.is_file()]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def test_rows_and_scores_are_those_of_the_local_engine(cluster: None, toy: ModuleType, tmp_path: Path) -> None:
    models = ("toy-plain", "toy-biased", "toy-oracle", "toy-broken")
    local = toy.go(tmp_path / "local", DATA, models=models, **FIELDS)
    ray = toy.go(tmp_path / "ray", DATA, models=models, **RAY)
    assert shards(tmp_path / "local") == shards(tmp_path / "ray")
    assert [c.scores for c in local.cells] == [c.scores for c in ray.cells]
    assert [(c.model, c.status, c.how) for c in local.cells] == [(c.model, c.status, c.how) for c in ray.cells]
    assert ray.cells[0].timing.images == 40
    assert ray.request["engine"] == "ray"
    assert sum(ray.request["worker_hosts"].values()) == 2
    assert not list((tmp_path / "ray").rglob(".tmp-*"))
    assert request_of(ray).engine == "local"  # the cluster of then is not asked for again


def test_each_engine_goes_on_where_the_other_stopped(cluster: None, toy: ModuleType, tmp_path: Path) -> None:
    whole = toy.go(tmp_path / "whole", DATA, **FIELDS)

    def stop_at_third(event: object) -> None:
        if getattr(event, "number", 0) == 3:
            raise KeyboardInterrupt

    for first, then in ((FIELDS, RAY), (RAY, FIELDS)):
        out = tmp_path / first.get("engine", "local")
        with pytest.raises(Exception, match="Stopped"):
            toy.go(out, DATA, on_event=stop_at_third, **first)
        assert read_run(out).status == "interrupted"
        assert toy.go(out, DATA, **then).cells[0].scores == whole.cells[0].scores
        assert shards(out) == shards(tmp_path / "whole")


def test_a_shard_that_kills_three_workers_counts_as_misses_until_it_is_tried_again(
    cluster: None, toy: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []

    deadly, out = tmp_path / "deadly", tmp_path / "run"
    options = {"kill_at": [10], "kill_while": str(deadly)}

    def watch(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    def go(out: Path, **fields: Any) -> RunRecord:
        return toy.go(out, {"n": 40}, options=options, on_event=watch, **fields)

    sound = go(tmp_path / "sound", **FIELDS)
    deadly.touch()
    with pytest.raises(TooManyErrors, match="4 of 40"):
        go(out, max_errors=None, **RAY)
    record = read_run(out)
    cell = record.cells[0]
    assert (record.status, cell.counts.done, cell.counts.ok) == ("done", 40, 36)
    assert [(cause.kind, cause.side, cause.count) for cause in cell.causes] == [("worker.crash", "prediction", 4)]
    mae, before = cell.scores["grey/mae"].value, sound.cells[0].scores["grey/mae"].value
    assert mae == pytest.approx((36 * before + 4) / 40)  # a miss costs 1, and nothing is left out
    assert sum("A worker is gone" in note for note in notes) == 3
    assert any("4 images of" in note and "count as misses" in note and "rm -r" in note for note in notes)
    (why,) = (out / "failed").rglob("shard-00002.json")
    assert len(json.loads(why.read_text())["workers_ended"]) == 3
    committed = shards(out)
    assert go(out, **FIELDS).cells[0].counts.ok == 36  # the local engine does not walk into it
    assert shards(out) == committed
    deadly.unlink()
    shutil.rmtree(out / "failed")
    assert go(out, **FIELDS).cells[0].scores == sound.cells[0].scores
    assert shards(out) == shards(tmp_path / "sound")
    assert "raylet" not in "".join(capfd.readouterr())  # what Ray has to say of dead workers
    assert all(len(note) < 500 for note in notes)


def test_a_folder_that_workers_do_not_see_is_refused(
    cluster: None, toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sapiens_bench.engine import spread

    @contextmanager
    def told_elsewhere(folder: Path, setup: object) -> Iterator[Path]:
        yield tmp_path / "elsewhere" / "told"

    monkeypatch.setattr(spread, "told_in", told_elsewhere)
    with pytest.raises(UsageError, match="does not see the run folder"):
        toy.go(tmp_path / "run", DATA, **RAY)
    assert read_run(tmp_path / "run").status == "failed"


def test_another_version_on_a_worker_is_refused_and_named(
    cluster: None, toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sapiens_bench.engine import ray_pool

    ours = ray_pool.installed_versions()
    monkeypatch.setattr(ray_pool, "installed_versions", lambda: {**ours, "torch": "0.4.1"})
    with pytest.raises(UsageError, match=r"torch: .*, here 0\.4\.1"):
        toy.go(tmp_path / "run", DATA, **RAY)


def test_a_device_waits_for_nothing_between_two_shards(cluster: None, toy: ModuleType, tmp_path: Path) -> None:
    """Loading takes as long as computing; with the next shard loaded meanwhile, only the first one is waited for."""
    record = toy.go(tmp_path, {"n": 48, "delay_s": 0.05}, options={"forward_s": 0.2}, **{**RAY, "workers": 1})
    timing = record.cells[0].timing
    assert timing.wait_s < 0.5 * timing.prepare_s


def test_without_an_address_nobody_is_asked_and_the_local_engine_never_loads_ray(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sapiens_bench.testing import toy\n"
        f"with toy.installed(): toy.go(Path({str(tmp_path)!r}))\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("ends", "code", "status"),
    [
        ("everything that a terminal reaches", 130, "interrupted"),
        ("raylet", 4, "incomplete"),
        ("agents of the raylet", 4, "incomplete"),
    ],
)
def test_a_run_that_is_stopped_goes_on_later_and_leaves_no_process_or_folder(
    tmp_path: Path, ends: str, code: int, status: str
) -> None:
    out, options = tmp_path / "run", {"forward_s": 0.2}
    given = json.dumps({**RAY, "data": {"n": 96}, "options": options})
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sapiens_bench.testing.toy", str(out), given],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell that starts jobs in the background ignores SIGINT in them, and Python inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("shard ")
    started = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in started if child.name().startswith("ray::Worker")]
    if "raylet" in ends:
        (raylet,) = (child for child in started if child.name() == "raylet")
        if "agents" in ends:  # it ends with them, in good order
            for agent in [child for child in raylet.children() if "Agent" in child.name()]:
                with suppress(psutil.NoSuchProcess):  # the raylet was quicker
                    agent.kill()
        else:
            raylet.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert ("raylet" in errors) is ("raylet" in ends)
    assert read_run(out).status == status
    assert list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{process.pid}-*")) == []
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    with toy_module.installed():
        record = toy_module.go(out, {"n": 96}, options=options, **FIELDS)
    assert (record.status, record.cells[0].counts.ok) == ("done", 96)


def test_an_address_where_nobody_answers_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    given, out = json.dumps({"engine": "ray", "address": "127.0.0.1:9"}), tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sapiens_bench.testing.toy", str(out), given],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "No Ray cluster can be joined at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*"))  # another request may have the folder
