"""Run folders on object stores: what counts there, what does not, and going on from another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest

from sapiens_bench.engine.events import ShardDone
from sapiens_bench.errors import FolderInUse, StorageFull, StoreError, UsageError
from sapiens_bench.store.addresses import staging, url_of
from sapiens_bench.store.lock import locked
from sapiens_bench.store.remote import Remote, fetched, mirrored

CELL = Path("rows/toy/toy/plain/toy-plain")
DATA = {"n": 30}


@pytest.fixture
def toy() -> Iterator[ModuleType]:
    from sapiens_bench.testing import toy

    with toy.installed():
        yield toy


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket on a server of this process that speaks S3."""
    server_module = pytest.importorskip("moto.server", reason="pip install moto[server] s3fs")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Somewhere empty."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}/run"
    if request.param == "file":
        return f"file://{tmp_path}/store/run"
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)
    return "memory://bucket/run"


def objects(url: str) -> dict[str, bytes]:
    """Name -> bytes of everything there."""
    fs, root = fsspec.core.url_to_fs(url)
    return {path[len(root) :].lstrip("/"): fs.cat_file(path) for path in fs.find(root)}


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / CELL).iterdir())}


def computed(toy: ModuleType, local: Path, **fields: Any) -> set[int]:
    """Run the toy there; the shards that were computed."""
    events: list[Any] = []
    toy.go(local, DATA, on_event=events.append, **fields)
    return {event.number for event in events if isinstance(event, ShardDone)}


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (Path("s3://bucket/runs/a/"), "s3://bucket/runs/a"),
        (Path("gs://bucket/a"), "gs://bucket/a"),
        (Path("file:///tmp/a"), "file:///tmp/a"),
        ("memory://a/b", "memory://a/b"),
        (Path("runs/a"), ""),
        (Path("C:/runs"), ""),
        (Path("/runs/s3:/a"), ""),
        (Path("it: a/b"), ""),
    ],
)
def test_addresses_survive_the_paths_of_the_command_line(path: Path | str, url: str) -> None:
    assert url_of(path) == url


def test_a_run_is_there_as_here_and_another_machine_has_nothing_left_to_do(
    toy: ModuleType, tmp_path: Path, url: str
) -> None:
    with mirrored(url, tmp_path / "here") as local:
        assert computed(toy, local) == set(range(6))
    there = objects(url)
    assert {"plan.json", "run.json", f"{CELL}/cell.json", f"{CELL}/commit-00005.json"} <= set(there)
    shards = [name for name in there if "shard-" in name]
    assert len(shards) == 12  # of rows and predictions
    assert all(len(name.rpartition("-")[2]) == 64 + len(".parquet") for name in shards)
    assert json.loads(there["run.json"])["status"] == "done"
    with mirrored(url, tmp_path / "elsewhere") as local:
        assert files(local) == files(tmp_path / "here")
        assert computed(toy, local) == set()


def test_a_shard_without_its_record_or_with_other_bytes_is_computed_again(
    toy: ModuleType, tmp_path: Path, url: str
) -> None:
    with mirrored(url, tmp_path / "here") as local:
        toy.go(local, DATA)
    whole = files(tmp_path / "here")
    fs, root = fsspec.core.url_to_fs(url)
    fs.rm(f"{root}/{CELL}/commit-00001.json")  # killed between the two objects
    (third,) = (name for name in objects(url) if f"{CELL}/shard-00003" in name)
    fs.pipe_file(f"{root}/{third}", objects(url)[third][:-1] + b"?")
    fs.pipe_file(f"{root}/{CELL}/commit-00004.json", b"{}")
    with mirrored(url, tmp_path / "elsewhere") as local:
        assert computed(toy, local) == {1, 3, 4}
        assert files(local) == whole
    fetched(url, tmp_path / "third")
    assert files(tmp_path / "third") == whole


def test_what_could_not_be_sent_is_kept_said_and_sent_by_the_same_command(
    toy: ModuleType, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[[Remote, Path], None] = Remote.send

    def refuses(self: Remote, path: Path) -> None:
        if path.name == "commit-00002.json":
            with self._said():
                raise ConnectionError("no route to host")
        real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "send", refuses)
        with (
            pytest.raises(StorageFull, match=r"no route to host.*same command"),
            mirrored(url, tmp_path / "a") as local,
        ):
            toy.go(local, DATA)
    assert f"{CELL}/commit-00002.json" not in objects(url)
    with mirrored(url, tmp_path / "a") as local:
        assert f"{CELL}/commit-00001.json" in objects(url)
        computed(toy, local)
    assert {f"{CELL}/commit-{n:05d}.json" for n in range(6)} <= set(objects(url))


def test_what_the_store_lost_is_sent_again_by_the_machine_that_has_it(
    toy: ModuleType, tmp_path: Path, url: str
) -> None:
    with mirrored(url, tmp_path / "a") as local:
        toy.go(local, DATA)
    whole = objects(url)
    fs, root = fsspec.core.url_to_fs(url)
    (third,) = (name for name in whole if f"{CELL}/shard-00003" in name)
    fs.rm(f"{root}/{third}")
    fs.pipe_file(f"{root}/{CELL}/commit-00004.json", b"{}")
    with mirrored(url, tmp_path / "a"):
        pass
    assert objects(url) == whole


def test_two_machines_that_fill_one_address_leave_one_sound_run(toy: ModuleType, tmp_path: Path, url: str) -> None:
    with mirrored(url, tmp_path / "a") as a, mirrored(url, tmp_path / "b") as b:
        computed(toy, a, part=(1, 2))
        computed(toy, b)
    with mirrored(url, tmp_path / "c") as c:
        assert computed(toy, c) == set()
        assert files(c) == files(tmp_path / "b")


def test_a_run_of_this_machine_bars_a_second_one(tmp_path: Path, url: str) -> None:
    def second(local: Path) -> None:
        with mirrored(url, local):
            pytest.fail("let in")

    with mirrored(url, tmp_path / "a") as local, locked(local), pytest.raises(FolderInUse, match="is in use by"):
        second(local)


def test_names_that_lead_elsewhere_are_passed_over(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/evil/run/run.json", b"{}")
    fs.store["/evil/run/../../out.json"] = fs.store["/evil/run/run.json"]
    fs.store["/evil/run/a\\..\\out.json"] = fs.store["/evil/run/run.json"]
    fetched("memory://evil/run", tmp_path / "deep/run")
    assert [p.name for p in tmp_path.rglob("*.json")] == ["run.json"]


def test_what_is_no_store_or_no_run_is_refused_in_words(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        fetched(url, tmp_path / "a")
    with pytest.raises(UsageError, match=r"nosuch.* Known: s3://"), mirrored("nosuch://a/b", tmp_path / "b"):
        pass


def test_a_store_in_memory_is_refused_by_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sapiens_bench.cli import main

    words = ["run", "--task", "pose", "--models", "movenet-thunder", "--split", "tiny", "--out", "memory://a/b"]
    monkeypatch.setattr("sys.argv", ["sapiens-bench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "ends with this command" in capsys.readouterr().err


def test_without_an_address_nothing_is_told_of_writes(toy: ModuleType, tmp_path: Path) -> None:
    from sapiens_bench.store import files as store_files

    with mirrored("memory://gone/run", tmp_path / "a"):
        assert len(store_files._watchers) == 1
    assert store_files._watchers == []
    shutil.rmtree(tmp_path / "a", ignore_errors=True)


@pytest.mark.slow
def test_the_commands_take_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fault_suite.hostile import pictures
    from fault_suite.hostile.place import Place, called

    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    place, url = Place(tmp_path / "files"), f"file://{tmp_path}/store/run"
    (place.root / "pictures").mkdir()
    (place.root / "pictures/ok.jpg").write_bytes(pictures.encoded(pictures.scene(), "JPEG"))
    pictures.write_set(place, "one", [("one", "ok.jpg", pictures.SIZE)], "ignore")
    ran = called(
        "run", "--task", "pose", "--models", "oracle", "--dataset", "one", "--cards", place.root / "picture_cards",
        "--data-root", place.root, "--out", url, "--n-boot", 0, "--device", "cpu",
    )  # fmt: skip
    assert (ran.code, f"Run: {url}" in ran.out, f"report {url} --format latex" in ran.out) == (0, True, True), ran.said
    assert "cache" not in ran.out
    shutil.rmtree(tmp_path / "cache/remote")
    read = called("verify", "run", url, "--cards", place.root / "picture_cards")
    assert read.code == 0, read.said
    assert staging(url, tmp_path / "cache").is_dir()
    shutil.rmtree(tmp_path / "cache/remote")
    told = called("report", url, "--cards", place.root / "picture_cards")  # one of the commands that take several runs
    assert told.code == 0, told.said
    refused = called("rerun", url, "--out", f"{url}2")
    assert (refused.code, "path of this machine" in refused.err) == (2, True)
