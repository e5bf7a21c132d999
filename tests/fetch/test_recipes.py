"""Every card's recipe, from its address to the file that a wrapper is given."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.folders import downloads, weights_cache
from sapiens_bench.cards.locate import is_here, weight_files
from sapiens_bench.cards.schema import Variant
from sapiens_bench.errors import ChecksumMismatch, SecurityRefusal, UsageError, WeightsMissing
from sapiens_bench.fetch import recipe
from sapiens_bench.testing.hub import COMMIT, HUB, STORE, FakeHub

CATALOG = Catalog.load()
VARIANTS = {entry.variant.id: entry.variant for entry in (*CATALOG.models.values(), *CATALOG.detectors.values())}
FETCHABLE = [name for name, variant in VARIANTS.items() if recipe.is_fetchable(variant)]
URL = "https://files.example/nets/net.bin"


def variant(get: dict[str, Any], **weights: Any) -> Variant:
    facts = {"file": "net.bin", "format": "pth", "sha256": None, "get": {"how": "Ask.", **get}} | weights
    return Variant.model_validate({"id": "net", "title": "Net", "weights": facts})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unfinished() -> list[str]:
    return [p.name for p in downloads().iterdir() if p.suffix != ".lock"] if downloads().is_dir() else []


@pytest.mark.parametrize("name", FETCHABLE)
def test_the_recipe_of_every_card_brings_its_file(hub: FakeHub, name: str) -> None:
    data = f"the bytes of {name}".encode()
    stocked = hub.stock(VARIANTS[name], data)
    assert not is_here(stocked)
    recipe.fetch(stocked)
    files = weight_files(stocked)
    assert files.path is not None
    weights = files.path / "model.safetensors" if files.path.is_dir() else files.path
    assert weights.read_bytes() == data
    assert files.pinned or stocked.weights.format == "hf"  # type: ignore[union-attr]
    assert unfinished() == []


def test_there_are_archives_hub_files_and_hub_folders_among_the_cards() -> None:
    gets = [VARIANTS[name].weights.get for name in FETCHABLE]  # type: ignore[union-attr]
    assert len(gets) > 50
    assert sum(get.archive_member is not None for get in gets) >= 8
    assert sum(get.hub is not None and get.hub.file is None for get in gets) >= 10
    assert sum(get.hub is not None and get.hub.file is not None for get in gets) >= 20


def test_a_card_that_says_get_can_be_got() -> None:
    """Whatever a card's sentence tells a person to type exists."""
    for name, each in VARIANTS.items():
        how = each.weights.get.how if each.weights else ""
        if "`sapiens-bench weights get" in how:
            assert f"`sapiens-bench weights get {name} " in how
            assert name in FETCHABLE, name


def test_a_hub_folder_brings_what_a_wrapper_reads_and_nothing_else(hub: FakeHub) -> None:
    files = {"config.json": b"{}", "model-00001-of-00002.safetensors": b"1", "model-00002-of-00002.safetensors": b"2",
             "model.safetensors.index.json": b"{}", "pytorch_model.bin": b"p", "modeling.py": b"code"}  # fmt: skip
    hub.put_model("a/b", files)
    wanted = variant({"hub": {"repo": "a/b"}}, file="net", format="hf", size_bytes=123_456)  # of a folder: a hint
    assert COMMIT in recipe.fetch(wanted)
    folder = weight_files(wanted).path
    assert folder is not None
    assert {p.name for p in folder.iterdir()} == set(files) - {"pytorch_model.bin", "modeling.py"}


def test_a_hub_folder_without_safetensors_is_refused(hub: FakeHub) -> None:
    hub.put_model("a/b", {"config.json": b"{}", "pytorch_model.bin": b"p"})
    with pytest.raises(WeightsMissing, match=r"no config\.json with model\.safetensors"):
        recipe.fetch(variant({"hub": {"repo": "a/b"}}, file="net", format="hf"))


def test_a_revision_is_fetched_and_found_as_the_card_names_it(hub: FakeHub) -> None:
    old = "f" * 40
    hub.put_model("a/b", {"net.bin": b"new"})
    hub.put_model("a/b", {"net.bin": b"old"}, commit=old, branch="v1")
    for revision, data in ((old, b"old"), ("v1", b"old"), ("main", b"new")):
        wanted = variant({"hub": {"repo": "a/b", "revision": revision}}, sha256=sha256(data))
        recipe.fetch(wanted)
        assert weight_files(wanted).path.read_bytes() == data  # type: ignore[union-attr]


def test_further_files_come_with_the_first_from_hub_address_and_archive(hub: FakeHub) -> None:
    also = {"labels.txt": sha256(b"labels.txt of net"), "sub/more.txt": None}
    for get in ({"hub": {"repo": "a/b"}}, {"url": URL}, {"url": URL, "archive_member": "sdk/net.bin"}):
        wanted = variant(get, also=also)
        hub.stock(wanted)
        if "archive_member" in get:
            import io
            import zipfile

            with zipfile.ZipFile(buffer := io.BytesIO(), "w") as packed:
                for name in ("net.bin", *also):
                    packed.writestr(f"sdk/{name}", f"{name} of net")
            hub.put(URL, buffer.getvalue())
        recipe.fetch(wanted)
        found = weight_files(wanted)
        assert {name: path.read_text() for name, path in found.also.items()} == {n: f"{n} of net" for n in also}
        for path in sorted(weights_cache().rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("get", [{"url": URL}, {"hub": {"repo": "a/b"}}])
def test_other_bytes_than_pinned_are_deleted(hub: FakeHub, get: dict[str, Any], tmp_path: Path) -> None:
    hub.stock(variant(get))
    wanted = variant(get, sha256="0" * 64)
    with pytest.raises(ChecksumMismatch, match="It was deleted"):
        recipe.fetch(wanted)
    assert unfinished() == []
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"weights of net" in p.read_bytes()]
    with pytest.raises(WeightsMissing):
        weight_files(wanted)


def test_a_further_file_with_other_bytes_leaves_nothing_behind(hub: FakeHub) -> None:
    wanted = variant({"url": URL}, also={"labels.txt": "0" * 64})
    hub.stock(wanted)
    with pytest.raises(ChecksumMismatch, match=r"labels\.txt"):
        recipe.fetch(wanted)
    assert not weights_cache().exists()


def test_a_hub_file_of_another_size_is_not_fetched(hub: FakeHub) -> None:
    hub.put_model("a/b", {"net.bin": bytes(3_000)})
    with pytest.raises(WeightsMissing, match=r"has 3,000 bytes, the card expects 1,000"):
        recipe.fetch(variant({"hub": {"repo": "a/b"}}, size_bytes=1_000))
    assert {method for method, _, _ in hub.asked} == {"HEAD"}


def test_a_hub_that_serves_other_bytes_than_it_announces_is_found_out(hub: FakeHub) -> None:
    hub.put_model("a/b", {"net.bin": b"right bytes"})
    hub.put(f"{STORE}/{sha256(b'right bytes')}", b"wrong bytes")
    wanted = variant({"hub": {"repo": "a/b"}})
    with pytest.raises(ChecksumMismatch, match="the hub announced"):
        recipe.fetch(wanted)
    assert not is_here(wanted)


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "GatedRepo", "gated: agree to its terms"),
        (403, "", "could not be fetched"),
        (404, "RepoNotFound", "could not be fetched"),
        (404, "EntryNotFound", "could not be fetched"),
    ],
)
def test_a_hub_that_refuses_is_explained(hub: FakeHub, status: int, code: str, says: str) -> None:
    hub.put_model("a/b", {"net.bin": b"x"})
    hub.put(f"{HUB}/a/b/resolve/main/net.bin", status=status, headers={"X-Error-Code": code})
    with pytest.raises(WeightsMissing, match=says):
        recipe.fetch(variant({"hub": {"repo": "a/b"}}))


def test_a_hub_file_that_is_redirected_to_http_is_refused(hub: FakeHub) -> None:
    hub.put_model("a/b", {"net.bin": b"x"})
    hub.pages[f"{HUB}/a/b/resolve/main/net.bin"].headers["Location"] = "http://store.example/x"
    with pytest.raises(SecurityRefusal, match="https only"):
        recipe.fetch(variant({"hub": {"repo": "a/b"}}))


def test_a_cut_hub_download_goes_on(hub: FakeHub) -> None:
    data = bytes(range(256)) * 2_000
    hub.put_model("a/b", {"net.bin": data})
    hub.pages[f"{STORE}/{sha256(data)}"].cuts = [100_000]
    wanted = variant({"hub": {"repo": "a/b"}}, sha256=sha256(data))
    recipe.fetch(wanted)
    assert weight_files(wanted).path.read_bytes() == data  # type: ignore[union-attr]


def test_what_is_in_the_cache_is_not_fetched_again(hub: FakeHub) -> None:
    wanted = variant({"hub": {"repo": "a/b"}})
    hub.stock(wanted)
    recipe.fetch(wanted)
    recipe.fetch(wanted)
    assert [method for method, url, _ in hub.asked if method == "GET" and url.startswith(STORE)] == ["GET"]


def test_nothing_is_asked_of_anybody_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for get in ({"url": URL}, {"hub": {"repo": "a/b"}}):
        with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
            recipe.fetch(variant(get))
    assert hub.asked == []


def test_a_card_without_an_address_says_what_a_person_does(hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="Ask"):
        recipe.fetch(variant({}))


def test_the_member_of_an_archive_is_saved_and_not_the_archive(hub: FakeHub) -> None:
    """A zip under an .onnx name was reported as a success once."""
    wanted = hub.stock(VARIANTS["dwpose-l"], b"\x08\x07onnx bytes")
    recipe.fetch(wanted)
    path = weight_files(wanted).path
    assert path is not None
    assert path.name == "dwpose-l-384x288.onnx"
    assert path.read_bytes() == b"\x08\x07onnx bytes"


def test_no_file_of_a_user_is_moved_or_written_over(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (weights_cache()).mkdir(parents=True)
    other = weights_cache() / "labels.txt"
    other.write_text("of another model")
    wanted = variant({"url": URL}, also={"labels.txt": None})
    hub.stock(wanted)
    recipe.fetch(wanted)
    assert (victim.read_text(), other.read_text()) == ("mine", "of another model")
    assert weight_files(wanted).also["labels.txt"].read_text() == "labels.txt of net"
