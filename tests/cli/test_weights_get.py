"""Fetching weights: after consent, checked, in place by rename or not at all. The hub is replaced by a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
CARD = """\
schema: model/1
id: fetched-family
title: Fetched
task: pose
licence: {{name: MIT, commercial: true}}
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
HUB = "hub: {repo: some/model, file: in/model.safetensors}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """A hub that gives BYTES for every file, online, with a cache of its own; the list records what was asked."""
    import huggingface_hub

    asked: list[tuple[str, str]] = []

    def download(repo: str, file: str, *, revision: str, local_dir: Path) -> str:
        asked.append((repo, file))
        target = Path(local_dir) / file
        target.parent.mkdir(parents=True)
        target.write_bytes(BYTES)
        return str(target)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return asked


def card(folder: Path, data: bytes = BYTES, source: str = HUB, size: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / "card.yaml").write_text(CARD.format(sha256=sha256, size=size or len(BYTES), source=source))
    return folder


def leftovers(tmp_path: Path) -> list[str]:
    weights = tmp_path / "cache" / "weights"
    return sorted(p.name for p in weights.iterdir()) if weights.is_dir() else []


def test_a_sound_file_is_put_in_place_once(call: Call, hub: list[tuple[str, str]], tmp_path: Path) -> None:
    arguments = ("weights", "get", "fetched", "--accept-licence", "MIT", "--cards", card(tmp_path / "cards"))
    code, out, err = call(*arguments)
    assert code == 0, err
    assert "as the card pins it" in out
    assert (tmp_path / "cache" / "weights" / "fetched.safetensors").read_bytes() == BYTES
    assert leftovers(tmp_path) == ["fetched.safetensors"]
    assert "here already" in call(*arguments)[1]
    assert hub == [("some/model", "in/model.safetensors")]


def test_wrong_bytes_are_deleted_and_exit_5(call: Call, hub: list[tuple[str, str]], tmp_path: Path) -> None:
    folder = card(tmp_path / "cards", data=b"other bytes")
    code, _, err = call("weights", "get", "fetched", "--accept-licence", "MIT", "--cards", folder)
    assert code == 5
    assert "sha256" in err
    assert leftovers(tmp_path) == []


def test_a_short_file_is_refused(call: Call, hub: list[tuple[str, str]], tmp_path: Path) -> None:
    folder = card(tmp_path / "cards", size=10_000)
    code, _, err = call("weights", "get", "fetched", "--accept-licence", "MIT", "--cards", folder)
    assert code == 2
    assert "18 bytes" in err
    assert leftovers(tmp_path) == []


def test_nothing_is_asked_for_without_consent(call: Call, hub: list[tuple[str, str]], tmp_path: Path) -> None:
    code, _, err = call("weights", "get", "fetched", "--cards", card(tmp_path / "cards"))
    assert code == 2
    assert "--accept-licence MIT" in err
    assert hub == []


def test_a_gated_repository_is_explained(
    call: Call, hub: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse(*args: object, **kwargs: object) -> str:
        raise ValueError("401 Client Error. Access to model some/model is restricted.")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    code, _, err = call("weights", "get", "fetched", "--accept-licence", "mit", "--cards", card(tmp_path / "cards"))
    assert code == 2
    assert "restricted" in err
    assert "Take it from the hub." in err
    assert leftovers(tmp_path) == []


def test_weights_nobody_may_pass_on_are_explained(call: Call, hub: list[tuple[str, str]], tmp_path: Path) -> None:
    folder = card(tmp_path / "cards", source="embedded: false")
    code, _, err = call("weights", "get", "fetched", "--accept-licence", "MIT", "--cards", folder)
    assert code == 2
    assert "cannot be fetched by a program" in err


def test_an_address_that_redirects_to_http_is_refused(tmp_path: Path) -> None:
    """Without a server: the redirect handler is asked directly."""
    from urllib.request import Request

    from sapiens_bench.cli.weights_cards import HttpsOnly
    from sapiens_bench.errors import SecurityRefusal

    with pytest.raises(SecurityRefusal, match="https only"):
        HttpsOnly().redirect_request(Request("https://a.example/x"), None, 302, "", {}, "http://a.example/x")
