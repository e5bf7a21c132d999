"""Configurations of the hub that reach for other code or files, or for a network of any size."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.errors import CheckpointRejected, SapiensBenchError, UntrustedCheckpoint
from sapiens_bench.models.hub_seg import Mask2Former, SegFormer
from sapiens_bench.models.parts.hub_config import Stored, check_code, check_sizes, stored_sizes
from sapiens_bench.models.parts.hub_folder import open_network

Config = dict[str, Any]


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a fixture's folder, its configuration changed."""
    torch.set_num_threads(1)

    def made(name: str = "segformer", **changes: Any) -> Path:
        target = tmp_path / name
        shutil.copytree(shared / "golden" / "baselines" / name, target, dirs_exist_ok=True)
        path = target / "config.json"
        path.chmod(0o644)
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return target

    return made


def opened(folder: Path) -> Any:
    return open_network(folder, {"segformer": "SegformerForSemanticSegmentation"}, "tiny")


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "org/repo"},
        {"_attn_implementation": "org/repo@main:kernel"},
        {"_attn_implementation_internal": "paged|org/repo"},
        {"attn_implementation": {"": "sdpa", "backbone_config": "org/repo"}},
        {"experts_implementation": "org/repo"},
        {"attn_implementation": "flash_attention_3"},  # replaced by a kernel of the hub where the package is missing
        {"auto_map": {"AutoModel": "modeling.Model"}},
        {"text_config": {"auto_map": {"AutoModel": "org/repo--modeling.Model"}}},
    ],
)
def test_code_of_a_third_party_is_refused_before_the_library_sees_it(
    folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, changes: Config
) -> None:
    from transformers import SegformerForSemanticSegmentation

    def reached(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the library was asked to load it")

    monkeypatch.setattr(SegformerForSemanticSegmentation, "from_pretrained", reached)
    with pytest.raises(UntrustedCheckpoint, match=r"config\.json sets .*(run|never)") as caught:
        opened(folder(**changes))
    assert next(iter(changes)).split(".")[0] in str(caught.value)


def test_attention_of_torch_itself_is_no_third_party(folder: Callable[..., Path]) -> None:
    for changes in ({"attn_implementation": "eager"}, {"attn_implementation": None}, {"auto_map": {}}):
        opened(folder(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depths": [2, 100_000, 2, 2]}, r"asks for 100006 under 'depths'.*hold \d+ tensors"),
        ({"depths": 100_000}, "'depths'"),
        ({"num_encoder_blocks": 100_000}, "'num_encoder_blocks'"),
        ({"num_labels": 10**9}, "'num_labels' to 1000000000, which is out of range"),
        ({"image_size": -(10**12)}, "out of range"),
        ({"id2label": None, "pool_scales": list(range(1_000_001))}, "1000001 values"),
        ({"hidden_sizes": [50_000] * 4}, r"describes [\d,]+ million parameters"),
        ({"decoder_hidden_size": "wide"}, "cannot be loaded as SegformerForSemanticSegmentation"),
    ],
)
def test_numbers_out_of_range_are_refused_at_once(folder: Callable[..., Path], changes: Config, says: str) -> None:
    place, start = folder(**changes), time.monotonic()
    with pytest.raises(CheckpointRejected, match=says):
        opened(place)
    assert time.monotonic() - start < 300  # seconds; following the numbers takes hours


def test_weights_of_another_format_alone_say_how_to_convert_them(folder: Callable[..., Path]) -> None:
    place = folder()
    for path in place.glob("*.safetensors"):
        path.rename(place / "pytorch_model.bin")
    with pytest.raises(CheckpointRejected, match=r"pytorch_model\.bin may run code .* safe_serialization=True"):
        opened(place)
    (place / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointRejected, match=r"\*\.safetensors; the folder has none"):
        opened(place)


def test_nested_configurations_are_looked_through(folder: Callable[..., Path], shared: Path) -> None:
    whole = json.loads((shared / "golden" / "baselines" / "mask2former" / "config.json").read_text())
    backbone = {**whole["backbone_config"], "depths": [1, 1, 10**5, 1]}
    with pytest.raises(CheckpointRejected, match=r"'backbone_config\.depths'"):
        Mask2Former(
            context("mask2former", "seg", folder("mask2former", backbone_config=backbone), "hf", input_spec(96, 64),
                    _labels(28))
        )  # fmt: skip
    backbone = {**whole["backbone_config"], "_attn_implementation": "org/repo"}
    with pytest.raises(UntrustedCheckpoint, match=r"'backbone_config\._attn_implementation'"):
        opened(folder("mask2former", backbone_config=backbone))


def _labels(n: int) -> Any:
    from sapiens_bench.checks.golden.baselines_dense import space

    return space("labels", n)


def test_the_hub_folders_of_the_fixtures_pass(shared: Path) -> None:
    baselines = shared / "golden" / "baselines"
    folders = sorted(path.parent for path in baselines.glob("*/config.json"))
    assert len(folders) >= 4
    for place in folders:
        config, stored = json.loads((place / "config.json").read_text()), stored_sizes(place)
        assert stored.tensors > 10
        check_code(config, place)
        check_sizes(config, place, stored)
    classes = _labels(18)
    SegFormer(context("segformer", "seg", baselines / "segformer", "hf", input_spec(128, 128), classes))


def test_published_sizes_are_in_range() -> None:
    """The largest numbers of published folders, beside the least tensors that such networks have."""
    check_sizes({"depths": [3, 6, 40, 3], "hidden_sizes": [64, 128, 320, 512]}, Path("b5"), Stored(1000, 10**8))
    swin = {"depths": [2, 2, 18, 2], "embed_dim": 192, "num_heads": [6, 12, 24, 48]}
    check_sizes({"backbone_config": swin, "train_num_points": 12544}, Path("m2f"), Stored(700, 2 * 10**8))
    check_sizes({"num_hidden_layers": 56, "hidden_size": 2432, "intermediate_size": 9728}, Path("5b"), Stored(900, 1))


def test_damaged_configurations_are_refused(folder: Callable[..., Path]) -> None:
    place = folder()
    for text in ("{" * 20_000, '{"a":' * 20_000, "[]", "\x00"):
        (place / "config.json").write_text(text)
        with pytest.raises(SapiensBenchError, match=r"config\.json"):
            opened(place)


def test_a_damaged_header_counts_as_nothing(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 8, (10).to_bytes(8, "little") + b"{}", (9).to_bytes(8, "little") + b'{"a": 12}'):
        (tmp_path / "model.safetensors").write_bytes(content)
        assert stored_sizes(tmp_path) == Stored(0, 0)
