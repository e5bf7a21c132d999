"""One file from an address: what a server, a network or a kill can do to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.cards.folders import downloads
from sapiens_bench.errors import SecurityRefusal, StorageFull, UsageError, WeightsMissing
from sapiens_bench.fetch.download import download
from sapiens_bench.testing.hub import FakeHub

URL = "https://files.example/nets/net.bin"
DATA = bytes(range(256)) * 5_000


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "net.bin"


def leftovers() -> set[str]:
    return {path.suffix for path in downloads().iterdir()} - {".lock"}


def test_a_file_comes_whole_and_its_progress_is_told(hub: FakeHub, target: Path) -> None:
    hub.put(URL, DATA)
    told: list[tuple[str, int, int]] = []
    download(URL, target, size=len(DATA), progress=lambda *facts: told.append(facts))
    assert target.read_bytes() == DATA
    assert told[-1] == ("net.bin", len(DATA), len(DATA))
    assert leftovers() == set()


def test_a_cut_download_goes_on_where_it_ended(hub: FakeHub, target: Path) -> None:
    hub.put(URL, DATA, cuts=[100_000, 0, 300_000])
    download(URL, target, size=None)
    assert target.read_bytes() == DATA
    assert [asked[2] for asked in hub.asked] == ["", "bytes=100000-", "bytes=100000-", "bytes=400000-"]


def test_a_download_that_keeps_being_cut_ends_with_an_error_and_the_next_call_goes_on(
    hub: FakeHub, target: Path
) -> None:
    page = hub.put(URL, DATA, cuts=[1_000, 0, 0, 0, 0, 0])
    with pytest.raises(WeightsMissing, match=r"1,000 bytes are kept; the same command goes on"):
        download(URL, target, size=None)
    assert not target.exists()
    page.cuts.clear()
    download(URL, target, size=None)
    assert hub.asked[-1][2] == "bytes=1000-"
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_strong_etag_everything_is_fetched_again(hub: FakeHub, target: Path, tag: str) -> None:
    hub.put(URL, DATA, cuts=[1_000], headers={"ETag": tag})
    download(URL, target, size=None)
    assert [asked[2] for asked in hub.asked] == ["", ""]
    assert target.read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(hub: FakeHub, target: Path) -> None:
    hub.put(URL, b"old" * 1_000, cuts=[500, 0, 0, 0])
    with pytest.raises(WeightsMissing):
        download(URL, target, size=None)
    hub.put(URL, DATA)
    download(URL, target, size=None)
    assert target.read_bytes() == DATA


def test_a_server_that_ignores_ranges_is_asked_for_everything(hub: FakeHub, target: Path) -> None:
    hub.put(URL, DATA, cuts=[1_000], resumable=False)
    download(URL, target, size=None)
    assert target.read_bytes() == DATA


def test_a_server_that_continues_something_else_is_asked_for_everything(hub: FakeHub, target: Path) -> None:
    page = hub.put(URL, DATA, cuts=[1_000, 0, 0, 0])
    with pytest.raises(WeightsMissing):
        download(URL, target, size=None)
    page.headers["Content-Range"] = f"bytes 900-{len(DATA) - 1}/{len(DATA)}"
    download(URL, target, size=None)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("damage", ["{", '{"url": 1}', '{"url": "https://other.example/", "etag": "x", "total": 9}'])
def test_a_damaged_note_about_a_part_costs_the_part(hub: FakeHub, target: Path, damage: str) -> None:
    page = hub.put(URL, DATA, cuts=[1_000, 0, 0, 0])
    with pytest.raises(WeightsMissing):
        download(URL, target, size=None)
    next(downloads().glob("*.json")).write_text(damage)
    page.cuts.clear()
    download(URL, target, size=None)
    assert hub.asked[-1][2] == ""
    assert target.read_bytes() == DATA


def test_a_killed_download_goes_on_and_its_part_is_no_weight_file(hub: FakeHub, target: Path, tmp_path: Path) -> None:
    """The part and its note as a killed process leaves them: written, unlocked."""
    page = hub.put(URL, DATA, cuts=[50_000, 0, 0, 0])
    with pytest.raises(WeightsMissing):
        download(URL, target, size=None)
    assert leftovers() == {".part", ".json"}
    assert "net.bin" not in {path.name for path in (tmp_path / "cache").rglob("*")}
    page.cuts.clear()
    download(URL, target, size=None)
    assert hub.asked[-1][2] == "bytes=50000-"


def test_more_than_the_card_says_is_refused_before_a_byte_is_written(hub: FakeHub, target: Path) -> None:
    hub.put(URL, DATA)
    with pytest.raises(WeightsMissing, match=r"has 1,280,000 bytes, the card expects 1,000"):
        download(URL, target, size=1_000)
    assert leftovers() == set()


def test_a_file_larger_than_any_weights_is_refused(hub: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sapiens_bench.fetch.download.MAX_BYTES", 1_000)
    hub.put(URL, DATA)
    with pytest.raises(WeightsMissing, match="more than any weight file"):
        download(URL, target, size=None)


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    hub: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: namedtuple("U", "free")(1_000_000))
    hub.put(URL, DATA)
    with pytest.raises(StorageFull, match="do not fit"):
        download(URL, target, size=None)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"status": 404}, "the server answered 404 Not Found"),
        ({"status": 403}, "403 Forbidden"),
        ({"status": 503}, "503"),
        ({"headers": {"Content-Type": "text/html; charset=utf-8"}}, "gave a web page"),
        ({"headers": {"Content-Length": ""}}, "does not say how long"),
        ({"headers": {"Content-Encoding": "gzip"}}, "does not say how long"),
        ({"raw": b"HTTP/1.1 abc\r\n\r\n"}, "the connection broke"),
        ({"raw": b"\x00\xff" * 50}, "the connection broke"),
        ({"raw": b""}, "the connection broke"),
        ({"status": 302, "headers": {"Location": URL}}, "redirect"),
    ],
)
def test_an_answer_that_is_no_file_is_a_clear_error(
    hub: FakeHub, target: Path, page: dict[str, Any], says: str
) -> None:
    hub.put(URL, DATA, **page)
    with pytest.raises(WeightsMissing, match=says):
        download(URL, target, size=None)
    assert not target.exists()


def test_an_address_where_nobody_answers_is_a_clear_error(hub: FakeHub, target: Path) -> None:
    import httpx2

    from sapiens_bench.fetch import transport

    class Dead(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ConnectError("Name or service not known")

    with transport.answered_by(Dead()), pytest.raises(WeightsMissing, match="Name or service not known"):
        download(URL, target, size=None)


def test_a_redirect_to_https_is_followed_and_one_to_http_refused(hub: FakeHub, target: Path) -> None:
    hub.put("https://mirror.example/x", DATA)
    hub.put(URL, status=302, headers={"Location": "https://mirror.example/x"})
    download(URL, target, size=len(DATA))
    assert target.read_bytes() == DATA
    hub.put(URL, status=302, headers={"Location": "http://mirror.example/x"})
    asked = len(hub.asked)
    with pytest.raises(SecurityRefusal, match="https only"):
        download(URL, target, size=len(DATA))
    assert len(hub.asked) == asked + 1


def test_nothing_is_fetched_offline(hub: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.put(URL, DATA)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        download(URL, target, size=None)
    assert hub.asked == []


def test_two_processes_do_not_write_one_part(hub: FakeHub, target: Path) -> None:
    import hashlib

    hub.put(URL, DATA)
    name = hashlib.sha256(URL.encode()).hexdigest()[:32]
    downloads().mkdir(parents=True)
    code = (
        "import sys; from filelock import FileLock\n"
        f"with FileLock({str(downloads() / f'{name}.lock')!r}):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(UsageError, match="Another process"):
            download(URL, target, size=None)
        other.communicate(b"")
    download(URL, target, size=None)
    assert target.read_bytes() == DATA


def test_the_note_holds_what_is_needed_to_go_on(hub: FakeHub, target: Path) -> None:
    page = hub.put(URL, DATA, cuts=[1, 0, 0, 0])
    with pytest.raises(WeightsMissing):
        download(URL, target, size=None)
    note = json.loads(next(downloads().glob("*.json")).read_text())
    assert note == {"url": URL, "etag": page.etag, "total": len(DATA)}
    assert os.listdir(target.parent) == ["cache"]
