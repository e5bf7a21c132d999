"""Fetching weights as a user does it: after consent, checked, in place by rename or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sapiens_bench.testing.hub import FakeHub

Call = Callable[..., tuple[int, str, str]]
CARD = """\
schema: model/1
id: fetched-family
title: Fetched
task: pose
licence: {{name: MIT, commercial: true, may_redistribute: false, note: Ask the authors.}}
wrapper: movenet
space: coco17
trained_on: nothing
variants:
  - id: fetched
    title: Fetched model
    weights:
      file: fetched.safetensors
      format: safetensors
      sha256: {sha256}
      size_bytes: {size}
      get: {{how: Take it from the hub., {source}}}
"""
BYTES = b"weights of a model"
URL = "https://files.example/model.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A server that has BYTES on the hub and at an address; every cache is a folder of the test."""
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    fake = FakeHub()
    fake.put_model("some/model", {"in/model.safetensors": BYTES})
    fake.put(URL, BYTES)
    with fake.serving():
        yield fake


def card(folder: Path, data: bytes = BYTES, source: str = "", size: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    sha256 = hashlib.sha256(data).hexdigest()
    source = source or "hub: {repo: some/model, file: in/model.safetensors}"
    (folder / "card.yaml").write_text(CARD.format(sha256=sha256, size=size or len(BYTES), source=source))
    return folder


def get(call: Call, tmp_path: Path, *more: str, name: str = "fetched", **facts: object) -> tuple[int, str, str]:
    return call("weights", "get", name, *more, "--cards", card(tmp_path / "cards", **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["", f"url: {URL!r}"])
def test_a_sound_file_is_put_in_place_once(call: Call, hub: FakeHub, tmp_path: Path, source: str) -> None:
    code, out, err = get(call, tmp_path, "--accept-licence", "mit", source=source)
    assert code == 0, err
    assert "as the card pins it" in out
    assert Path(out.splitlines()[0]).read_bytes() == BYTES
    asked = len(hub.asked)
    assert "here already" in get(call, tmp_path, source=source)[1]
    assert len(hub.asked) == asked
    assert "here" in call("weights", "list", "--cards", tmp_path / "cards")[1].partition("fetched ")[2][:60]


@pytest.mark.parametrize("source", ["", f"url: {URL!r}"])
def test_wrong_bytes_are_deleted_and_exit_5(call: Call, hub: FakeHub, tmp_path: Path, source: str) -> None:
    code, _, err = get(call, tmp_path, "--accept-licence", "MIT", data=b"other bytes", source=source)
    assert code == 5
    assert "It was deleted" in err
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes() == BYTES]


@pytest.mark.parametrize("source", ["", f"url: {URL!r}"])
def test_a_file_of_another_size_is_refused(call: Call, hub: FakeHub, tmp_path: Path, source: str) -> None:
    code, _, err = get(call, tmp_path, "--accept-licence", "MIT", size=10_000, source=source)
    assert code == 2
    assert "has 18 bytes, the card expects 10,000" in err
    assert "Take it from the hub." in err


def test_the_licence_is_shown_and_nothing_is_asked_for_without_consent(
    call: Call, hub: FakeHub, tmp_path: Path
) -> None:
    for wrong in ((), ("--accept-licence", "GPL")):
        code, _, err = get(call, tmp_path, *wrong)
        assert code == 2
        for part in ("--accept-licence MIT", "commercial use allowed", "not to be passed on", "Ask the authors."):
            assert part in err
    assert hub.asked == []


def test_a_person_may_say_yes(call: Call, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    for answer, code in (("n", 2), ("y", 0)):
        terminal = io.StringIO(f"{answer}\n")
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", terminal)
        assert get(call, tmp_path)[0] == code


def test_nothing_is_fetched_offline(call: Call, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = get(call, tmp_path, "--accept-licence", "MIT")
    assert (code, "HF_HUB_OFFLINE" in err) == (2, True)
    assert hub.asked == []


def test_weights_nobody_may_pass_on_are_explained(call: Call, hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = get(call, tmp_path, "--accept-licence", "MIT", source="embedded: false")
    assert code == 2
    assert "cannot be fetched by a program" in err


def test_detectors_are_got_shown_and_listed_like_models(call: Call, hub: FakeHub, tmp_path: Path) -> None:
    from sapiens_bench.cards.catalog import Catalog

    variant = Catalog.load().detector("fasterrcnn-r50-v2").variant
    hub.stock(variant)
    assert call("weights", "get", variant.id, "--accept-licence", "BSD-3-Clause")[0] == 0
    assert "Here:     /" in call("weights", "show", variant.id)[1]
    code, _, err = call("weights", "get", "fasterrcn-r50")
    assert (code, variant.id in err) == (2, True)


def test_a_member_of_an_archive_is_got(call: Call, hub: FakeHub) -> None:
    from sapiens_bench.cards.catalog import Catalog

    hub.stock(Catalog.load().model("rtmw-m").variant, b"onnx bytes")
    code, out, err = call("weights", "get", "rtmw-m", "--accept-licence", "Apache-2.0")
    assert code == 0, err
    assert Path(out.splitlines()[0]).read_bytes() == b"onnx bytes"
    assert "rtmw-m-256x192.onnx" in out


def test_the_list_tells_source_pin_and_terms(call: Call, tmp_path: Path) -> None:
    _, out, err = call("weights", "list", "--cards", card(tmp_path / "cards"))
    lines = {line.split()[0]: " ".join(line.split()) for line in out.splitlines() if line}
    assert lines["fetched"].endswith("pose missing 18 B yes hub some/model MIT (not to be passed on)")
    assert "package" in lines["movenet-thunder"]
    assert "address" in lines["dwpose-l"]
    assert "by hand" in lines["rtmw-x"]
    assert "no commercial use" in lines["sapiens-1b"]
    assert "boxes" in lines["rtdetr-r50"]
    assert err == ""


def test_a_card_that_is_refused_is_named_and_the_others_are_listed(call: Call, tmp_path: Path) -> None:
    folder = card(tmp_path / "cards")
    text = (folder / "card.yaml").read_text()
    (folder / "bad.yaml").write_text(text.replace("get: {", "also: {'../../victim.txt': null}\n      get: {"))
    for command in (("weights", "list"), ("list", "models"), ("list",)):
        code, out, err = call(*command, "--cards", folder)
        assert code == 0
        assert "fetched" in out
        assert "bad.yaml" in err
        assert "also" in err
