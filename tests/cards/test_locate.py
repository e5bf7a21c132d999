"""Finding data and weights on this machine, and refusing other bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import sapiens_bench.embedded
from sapiens_bench.cards import locate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import DatasetCard, Variant
from sapiens_bench.errors import CardError, ChecksumMismatch, DataMissing, WeightsMissing

DATA = b"weights of a network"
SHA = hashlib.sha256(DATA).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def variant(sha256: str | None = None, hub: dict[str, Any] | None = None, **weights: Any) -> Variant:
    get = {"how": "Run `sapiens-bench weights get net`."} | ({"hub": hub} if hub else {})
    facts = {"file": "net.bin", "format": "pth", "sha256": sha256, "get": get} | weights
    return Variant.model_validate({"id": "net", "title": "Net", "weights": facts})


def dataset(**more: Any) -> DatasetCard:
    facts: dict[str, Any] = {
        "schema": "dataset/1", "id": "set", "title": "A set", "licence": {"name": "CC0-1.0"}, "get": "Ask at the door.",
        "adapter": "coco_keypoints", "layout": ("ann/*.json", "img/*.jpg"),
        "protocols": {"p": {"task": "depth", "title": "P", "default": True}},
    }  # fmt: skip
    return DatasetCard.model_validate(facts | more)


def put(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_cache_root_follows_the_documented_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert locate.cache_root() == tmp_path / "cache"
    monkeypatch.delenv("SAPIENS_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert locate.cache_root() == Path("/x/sapiens-bench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert locate.cache_root() == Path.home() / ".cache" / "sapiens-bench"


def test_the_hub_cache_follows_the_documented_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "/hf")
    assert locate.hub_cache() == Path("/hf/hub")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert locate.hub_cache() == Path("/x/huggingface/hub")


@pytest.mark.parametrize("place", ["net.bin", "a/net.bin", "a/b/net.bin", "a/b/c/net.bin"])
def test_weights_are_found_up_to_three_folders_down(tmp_path: Path, place: str) -> None:
    path = put(tmp_path / "w" / place)
    found = locate.weight_files(variant(SHA), tmp_path / "w")
    assert (found.path, found.sha256, found.pinned) == (path, SHA, True)


def test_weights_four_folders_down_are_missing_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    put(tmp_path / "w" / "a" / "b" / "c" / "d" / "net.bin")
    with pytest.raises(WeightsMissing) as caught:
        locate.weight_files(variant(hub={"repo": "org/net"}, size_bytes=2_000_000_000), tmp_path / "w")
    message = str(caught.value)
    for part in ("net.bin (2.00 GB)", str(tmp_path / "w"), "models--org--net", "sapiens-bench weights get net"):
        assert part in message


def test_weights_of_the_own_cache_are_found_without_a_weights_root(tmp_path: Path) -> None:
    path = put(locate.weights_cache() / "net.bin")
    assert locate.weight_files(variant()).path == path
    assert not locate.weight_files(variant()).pinned


def test_other_bytes_than_pinned_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "net.bin", b"something else")
    with pytest.raises(ChecksumMismatch, match=SHA):
        locate.weight_files(variant(SHA), tmp_path)


def test_a_changed_file_is_hashed_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "net.bin")
    assert locate.file_sha256(path) == SHA
    with monkeypatch.context() as patched:
        patched.setattr(locate, "_CHUNK", None)  # reading would return all bytes and hash them: make that visible
        patched.setattr(locate.hashlib, "sha256", _Refusing(hashlib.sha256))
        assert locate.file_sha256(path) == SHA
    status = path.stat()
    path.write_bytes(b"X" * len(DATA))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert locate.file_sha256(path) == hashlib.sha256(b"X" * len(DATA)).hexdigest()


class _Refusing:
    """sha256 that may name a note (one call with data) but not hash a file (a call without)."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __call__(self, *data: bytes) -> Any:
        if not data:
            raise AssertionError("the file was hashed again")
        return self.real(*data)


def test_a_damaged_hash_note_is_ignored(tmp_path: Path) -> None:
    path = put(tmp_path / "net.bin")
    assert locate.file_sha256(path) == SHA
    for note in (locate.cache_root() / "hashes").iterdir():
        note.write_text("{", encoding="utf-8")
    assert locate.file_sha256(path) == SHA


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(put(tmp_path / "a-file")))
    assert locate.file_sha256(put(tmp_path / "net.bin")) == SHA


def test_files_of_the_hugging_face_cache_are_found_by_ref_and_by_commit(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--net" / "snapshots" / COMMIT
    path = put(snapshot / "sub" / "model.pth")
    other = put(tmp_path / "hub" / "models--org--net" / "snapshots" / ("f" * 40) / "sub" / "model.pth", b"old")
    put(tmp_path / "hub" / "models--org--net" / "refs" / "main", COMMIT.encode())
    hub = {"repo": "org/net", "file": "sub/model.pth"}
    assert locate.weight_files(variant(SHA, hub=hub)).path == path
    assert locate.weight_files(variant(hub=hub | {"revision": "f" * 40})).path == other
    with pytest.raises(WeightsMissing):
        locate.weight_files(variant(hub=hub | {"revision": "e" * 40}))


def test_main_without_a_ref_takes_the_only_snapshot_and_never_one_of_two(tmp_path: Path) -> None:
    snapshots = tmp_path / "hub" / "models--org--net" / "snapshots"
    path = put(snapshots / COMMIT / "model.pth")
    hub = {"repo": "org/net", "file": "model.pth"}
    assert locate.weight_files(variant(hub=hub)).path == path
    put(snapshots / ("f" * 40) / "model.pth")
    with pytest.raises(WeightsMissing):
        locate.weight_files(variant(hub=hub))


def test_a_model_folder_needs_its_config_and_has_one_hash(tmp_path: Path) -> None:
    folder = tmp_path / "w" / "net"
    put(folder / "model.safetensors")
    wanted = variant(file="net", format="hf")
    with pytest.raises(WeightsMissing):
        locate.weight_files(wanted, tmp_path / "w")
    put(folder / "config.json", b"{}")
    found = locate.weight_files(wanted, tmp_path / "w")
    assert found.path == folder
    put(folder / "model.safetensors", b"other")
    assert locate.weight_files(wanted, tmp_path / "w").sha256 != found.sha256


def test_further_files_are_found_beside_the_first_and_verified(tmp_path: Path) -> None:
    put(tmp_path / "net.bin")
    extra = put(tmp_path / "labels.txt", b"extra")
    wanted = variant(also={"labels.txt": hashlib.sha256(b"extra").hexdigest()})
    assert locate.weight_files(wanted, tmp_path).also == {"labels.txt": extra}
    extra.write_bytes(b"extra!")
    with pytest.raises(ChecksumMismatch, match=r"labels\.txt"):
        locate.weight_files(wanted, tmp_path)
    extra.unlink()
    with pytest.raises(WeightsMissing, match=r"labels\.txt"):
        locate.weight_files(wanted, tmp_path)


def test_embedded_weights_come_from_the_package_whatever_lies_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "movenet_lightning.safetensors", b"not the network")
    found = locate.weight_files(Catalog.load().model("movenet-lightning").variant, tmp_path)
    assert found.path is not None
    assert found.path.parent == Path(sapiens_bench.embedded.__file__).parent
    assert found.pinned


def test_a_variant_without_weights_needs_none() -> None:
    found = locate.weight_files(Variant.model_validate({"id": "floor", "title": "Floor"}))
    assert (found.path, found.also, found.sha256, found.pinned) == (None, {}, "", True)


def test_data_are_found_below_their_id_or_at_the_root_itself(tmp_path: Path) -> None:
    for root in (tmp_path / "one", tmp_path / "two" / "set"):
        put(root / "ann" / "a.json")
        put(root / "img" / "a.jpg")
    assert locate.dataset_root(dataset(), tmp_path / "one") == tmp_path / "one"
    assert locate.dataset_root(dataset(), tmp_path / "two") == tmp_path / "two" / "set"


def test_missing_data_name_the_globs_and_the_way_to_get_them(tmp_path: Path) -> None:
    put(tmp_path / "ann" / "a.json")
    with pytest.raises(DataMissing) as caught:
        locate.dataset_root(dataset(), tmp_path)
    assert "has no img/*.jpg" in str(caught.value)
    assert "Ask at the door." in str(caught.value)
    with pytest.raises(DataMissing, match="needs --data-root"):
        locate.dataset_root(dataset(), None)


def test_a_layout_may_not_leave_the_root(tmp_path: Path) -> None:
    for pattern in ("../*.json", "/etc/*", "a//b"):
        with pytest.raises(CardError, match="layout"):
            locate.dataset_root(dataset(layout=(pattern,)), tmp_path)


def test_pinned_files_of_a_data_set_are_verified(tmp_path: Path) -> None:
    put(tmp_path / "ann" / "a.json")
    put(tmp_path / "img" / "a.jpg")
    assert locate.dataset_root(dataset(checksums={"ann/a.json": SHA}), tmp_path) == tmp_path
    with pytest.raises(ChecksumMismatch, match=r"ann/a\.json has sha256"):
        locate.dataset_root(dataset(checksums={"ann/a.json": "0" * 64}), tmp_path)
    assert locate.checksum_faults(dataset(checksums={"ann/b.json": SHA}), tmp_path) == ["ann/b.json is missing"]


def test_embedded_data_live_in_the_cache_and_need_no_root(tmp_path: Path) -> None:
    found = locate.dataset_root(Catalog.load().dataset("synthetic-humans"), None)
    assert found == tmp_path / "cache" / "data" / "synthetic-humans"


def test_the_documented_coco_folder_satisfies_both_coco_cards(shared: Path) -> None:
    catalog = Catalog.load()
    for name in ("coco-val2017", "coco-wholebody-val"):
        assert locate.dataset_root(catalog.dataset(name), shared / "data" / "coco") == shared / "data" / "coco"
    assert locate.dataset_root(catalog.dataset("cihp"), shared / "data") == shared / "data" / "cihp"
