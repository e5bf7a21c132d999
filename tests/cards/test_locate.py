"""Finding data and weights on this machine, and refusing other bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from found_files import DATA, SHA, dataset, put
from pydantic import ValidationError

import sapiens_bench.embedded
from sapiens_bench.cards import hashes, locate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import Get, HubFile, Variant, Weights
from sapiens_bench.errors import ChecksumMismatch, PathEscape, UsageError, WeightsMissing

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def variant(sha256: str | None = None, hub: dict[str, Any] | None = None, **weights: Any) -> Variant:
    get = {"how": "Run `sapiens-bench weights get net`."} | ({"hub": hub} if hub else {})
    facts = {"file": "net.bin", "format": "pth", "sha256": sha256, "get": get} | weights
    return Variant.model_validate({"id": "net", "title": "Net", "weights": facts})


def test_the_cache_root_follows_the_documented_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert locate.cache_root() == tmp_path / "cache"
    monkeypatch.delenv("SAPIENS_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert locate.cache_root() == Path("/x/sapiens-bench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert locate.cache_root() == Path.home() / ".cache" / "sapiens-bench"


def test_the_hub_cache_is_where_its_library_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    assert locate.hub_cache() == tmp_path / "hub"
    monkeypatch.delenv("HF_HUB_CACHE")
    assert locate.hub_cache() == Path(constants.HF_HUB_CACHE)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", "~nosuchuser/cache")
    with pytest.raises(UsageError, match="Set SAPIENS_BENCH_CACHE"):
        locate.cache_root()


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


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough for a note at once."""
    monkeypatch.setattr(hashes, "_REST_NS", -(10**12))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were hashed."""
    found: list[str] = []
    digest = hashlib.file_digest

    def counting(file: Any, name: str) -> Any:
        found.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashes.hashlib, "file_digest", counting)
    return found


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, rested: None, reads: list[str]) -> None:
    path = put(tmp_path / "net.bin")
    assert [locate.file_sha256(path) for _ in range(3)] == [SHA] * 3
    assert reads == ["net.bin"]


def test_a_file_that_has_just_changed_gets_no_note(tmp_path: Path, reads: list[str]) -> None:
    path = put(tmp_path / "net.bin")
    locate.file_sha256(path)
    locate.file_sha256(path)
    assert reads == ["net.bin", "net.bin"]


@pytest.mark.parametrize("how", ["in place", "by rename"])
def test_other_bytes_with_size_and_time_kept_are_found(tmp_path: Path, rested: None, how: str) -> None:
    path = put(tmp_path / "net.bin")
    assert locate.file_sha256(path) == SHA
    status, other = path.stat(), b"X" * len(DATA)
    replaced = path if how == "in place" else tmp_path / "other.bin"
    replaced.write_bytes(other)
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(replaced, path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert locate.file_sha256(path) == hashlib.sha256(other).hexdigest()


def test_a_damaged_hash_note_is_ignored(tmp_path: Path, rested: None) -> None:
    path = put(tmp_path / "net.bin")
    assert locate.file_sha256(path) == SHA
    notes = list((locate.cache_root() / "hashes").iterdir())
    assert len(notes) == 1
    for text in ("{", "[]", '{"stamp": 1}'):
        notes[0].write_text(text, encoding="utf-8")
        assert locate.file_sha256(path) == SHA


def test_what_was_verified_is_confirmed_before_it_is_opened(tmp_path: Path) -> None:
    path = put(tmp_path / "net.bin")
    found = locate.weight_files(variant(SHA, format="safetensors"), tmp_path)
    locate.confirm(found)
    os.utime(path)  # touched, not changed
    locate.confirm(found)
    path.write_bytes(b"X" * len(DATA))
    with pytest.raises(ChecksumMismatch, match="changed after it had been checked"):
        locate.confirm(found)
    path.unlink()
    with pytest.raises(WeightsMissing):
        locate.confirm(found)


@pytest.mark.parametrize("kind", ["pth", "torchscript", "export"])
def test_formats_that_can_carry_code_are_hashed_again_before_they_are_opened(
    tmp_path: Path, rested: None, reads: list[str], kind: str
) -> None:
    put(tmp_path / "net.bin")
    found = locate.weight_files(variant(SHA, format=kind), tmp_path)
    locate.confirm(found)
    assert reads == ["net.bin", "net.bin"]


def test_a_folder_to_which_a_file_was_added_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path / "net" / "config.json", b"{}")
    found = locate.weight_files(variant(file="net", format="hf"), tmp_path)
    locate.confirm(found)
    put(tmp_path / "net" / "adapter_config.json", b"{}")
    with pytest.raises(ChecksumMismatch, match="changed"):
        locate.confirm(found)


def external(folder: Path, weights: bytes, location: str = "net.data") -> Path:
    """An ONNX file y = x + w whose w (float32 [4]) lies in another file."""
    import onnx
    from onnx import TensorProto, helper

    w = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value=location)
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", sides[:1], sides[1:], [w])
    put(folder / "net.data", weights)
    return put(folder / "net.onnx", helper.make_model(graph).SerializeToString())


def test_external_data_of_an_onnx_file_belong_to_its_hash(tmp_path: Path) -> None:
    path = external(tmp_path, bytes(16))
    main = hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = variant(main, file="net.onnx", format="onnx")
    first = locate.weight_files(wanted, tmp_path)
    assert not first.pinned  # the card names the hash of one of two files
    assert {part.path.name for part in first.parts} == {"net.onnx", "net.data"}
    put(tmp_path / "net.data", bytes(15) + b"\1")
    assert locate.weight_files(wanted, tmp_path).sha256 != first.sha256
    with pytest.raises(ChecksumMismatch, match=r"net\.data"):
        locate.confirm(first)


def test_external_data_that_the_card_pins_are_verified(tmp_path: Path) -> None:
    path = external(tmp_path, bytes(16))
    pins = {"also": {"net.data": hashlib.sha256(bytes(16)).hexdigest()}}
    wanted = variant(hashlib.sha256(path.read_bytes()).hexdigest(), file="net.onnx", format="onnx", **pins)
    assert locate.weight_files(wanted, tmp_path).pinned
    put(tmp_path / "net.data", b"other weights...")
    with pytest.raises(ChecksumMismatch, match=r"net\.data"):
        locate.weight_files(wanted, tmp_path)


def test_external_data_that_are_missing_or_elsewhere_are_named(tmp_path: Path) -> None:
    external(tmp_path, bytes(16))
    (tmp_path / "net.data").unlink()
    with pytest.raises(WeightsMissing, match=r"net\.data"):
        locate.weight_files(variant(file="net.onnx", format="onnx"), tmp_path)
    for place in ("../net.data", "/etc/passwd"):
        external(tmp_path, bytes(16), place)
        with pytest.raises(PathEscape, match="outside its own folder"):
            locate.weight_files(variant(file="net.onnx", format="onnx"), tmp_path)


def test_external_data_are_found_in_subgraphs(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    from sapiens_bench.cards.onnx_data import external_files

    inner = onnx.load(external(tmp_path, bytes(16)), load_external_data=False).graph
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    path = put(tmp_path / "outer.onnx", helper.make_model(helper.make_graph([branch], "g", [], [])).SerializeToString())
    assert external_files(path) == [tmp_path / "net.data"]


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


@pytest.mark.parametrize("path", ["../*.json", "/etc/*", "a//b", "a/./b", "C:/x", "a\\b", "x" * 256, "a/" * 600 + "b"])
def test_no_path_of_a_card_leaves_its_root_or_is_longer_than_a_file_system_allows(path: str) -> None:
    get = {"how": "h", "url": "https://a.example/b"}
    weights: dict[str, Any] = {"file": "f", "format": "pth", "sha256": None, "get": get}
    faulty = [
        (Weights, weights | {"file": path}),
        (Weights, weights | {"also": {path: None}}),
        (Get, get | {"archive_member": path}),
        (HubFile, {"repo": "a/b", "file": path}),
        (HubFile, {"repo": "a/b", "revision": path}),
    ]
    for kind, facts in faulty:
        with pytest.raises(ValidationError):
            kind.model_validate(facts)
    for facts in ({"layout": (path,)}, {"checksums": {path: SHA}}):
        with pytest.raises(ValidationError):
            dataset(**facts)


@pytest.mark.parametrize(
    "url", ["http://a.example/b", "file:///etc/passwd", "https://", "https://u:p@a.example/b", "b"]
)
def test_an_address_is_https_and_names_a_host(url: str) -> None:
    with pytest.raises(ValidationError, match="https"):
        Get.model_validate({"how": "h", "url": url})


def test_unfinished_downloads_and_hidden_folders_are_no_weights(tmp_path: Path) -> None:
    put(tmp_path / "w" / ".part-1234" / "net.bin")
    put(tmp_path / "w" / ".cache" / "a" / "net.bin")
    with pytest.raises(WeightsMissing):
        locate.weight_files(variant(), tmp_path / "w")
    assert not locate.is_here(variant(), tmp_path / "w")
    path = put(tmp_path / "w" / "zoo" / "net.bin")
    assert locate.weight_files(variant(), tmp_path / "w").path == path


def test_two_cards_may_use_one_file_name(tmp_path: Path) -> None:
    put(locate.weights_cache() / "a-net" / "net.bin", b"of another model")
    mine = put(locate.weights_cache() / "net" / "net.bin")
    assert locate.weight_files(variant()).path == mine
