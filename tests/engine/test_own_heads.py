"""``timm:NAME`` among the models: the head fitted on the backbone is found, or the command that fits one is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import file_sha256, weight_files
from sapiens_bench.engine import own_models
from sapiens_bench.engine.model_specs import candidates, model_spec
from sapiens_bench.engine.own_heads import add_heads, backbone_of
from sapiens_bench.engine.profile_build import choose
from sapiens_bench.engine.request import OwnModel, Request
from sapiens_bench.errors import UnknownName, UsageError, WeightsMissing

NAME = "timm:vit_small_patch14_dinov2"


def fitted(
    folder: Path, backbone: str = NAME, name: str = "probe-vit", task: str = "seg", trunk: Path | None = None
) -> Path:
    """What ``probe`` leaves: a head's file and its card."""
    folder.mkdir(parents=True)
    head = folder / f"{name}.safetensors"
    save_file({"head.w": np.zeros(2, np.float16)}, head, {"probe": json.dumps({"backbone": backbone})})
    also = {trunk.name: file_sha256(trunk)} if trunk else {}
    weights = {
        "file": head.name,
        "format": "safetensors",
        "sha256": file_sha256(head),
        "get": {"how": "Made by probe."},
    }
    card = {
        "schema": "model/1", "id": f"{name}-{task}-probe", "title": "Probe", "task": task, "licence": {"name": "x"},
        "wrapper": "probe_head", "space": "body28", "input": {"height": 256, "width": 192}, "trained_on": "nothing",
        "variants": [{"id": f"{name}-{task}", "title": "A head", "weights": weights | {"also": also}}],
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(card))
    return head


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


def found(*models: str, **more: object) -> tuple[Request, Catalog]:
    request = Request(task="seg", models=models, split="tiny", **more)  # type: ignore[arg-type]
    catalog = Catalog.load(request.cards)
    own_models.register(request, catalog)
    return request, catalog


def spec_of(request: Request, catalog: Catalog) -> Path | None:
    (candidate,) = candidates(request.model(), catalog).all
    return model_spec(candidate, request.model(), catalog).weights.path


def test_a_head_where_probes_are_written_is_found_by_its_backbone(tmp_path: Path) -> None:
    head = fitted(tmp_path / "results" / "probes" / "one")
    fitted(tmp_path / "results" / "probes" / "other", "timm:resnet18", "probe-other")
    fitted(tmp_path / "results" / "probes" / "depth", name="probe-d", task="depth")
    request, catalog = found(NAME)
    assert spec_of(request, catalog) == head
    assert catalog.models[catalog.aliases[NAME]].title.endswith("A head")


@pytest.mark.parametrize("flag", ["cards", "weights_root"])
def test_a_head_in_a_folder_that_was_named_is_found(tmp_path: Path, flag: str) -> None:
    head = fitted(tmp_path / "mine")
    request, catalog = found(NAME, **{flag: (tmp_path / "mine",) if flag == "cards" else tmp_path / "mine"})
    assert spec_of(request, catalog) == head


def test_the_backbones_own_file_may_lie_in_the_weights_root(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    trunk = tmp_path / "weights" / "trunk.safetensors"
    trunk.write_bytes(b"trunk")
    fitted(tmp_path / "results" / "probes" / "one", trunk=trunk)
    request, catalog = found(NAME)
    with pytest.raises(WeightsMissing, match="the backbone's own file: `hf download timm/vit_small_patch14_dinov2"):
        spec_of(request, catalog)
    request, catalog = found(NAME, weights_root=tmp_path / "weights")
    assert spec_of(request, catalog) is not None


def test_without_a_head_the_command_that_fits_one_is_said() -> None:
    with pytest.raises(WeightsMissing) as caught:
        found(NAME)
    said = str(caught.value)
    assert "sapiens-bench probe --backbone timm:vit_small_patch14_dinov2 --backbone-weights FILE --task seg" in said
    assert "--train synthetic-humans:train --eval synthetic-humans --input 252x182`" in said  # multiples of 14
    assert "hf download timm/vit_small_patch14_dinov2 model.safetensors" in said


def test_another_model_goes_on_beside_a_backbone_without_a_head() -> None:
    _, catalog = found(NAME, "movenet-lightning-seg")
    assert isinstance(catalog.unusable[catalog.aliases[NAME]], WeightsMissing)


def test_a_card_is_written_of_the_head_and_says_what_the_heads_own_card_says(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="sapiens-bench probe --backbone"):
        own_models.card_for(NAME, "seg", OwnModel(), Catalog.load())
    fitted(tmp_path / "results" / "probes" / "one")
    card = own_models.card_for(NAME, "seg", OwnModel(), Catalog.load())
    assert (card.wrapper, card.space, card.variants[0].title) == ("probe_head", "body28", "A head")
    assert card.variants[0].weights is not None
    assert card.variants[0].weights.file == "probe-vit.safetensors"
    with pytest.raises(UsageError, match="--space is settled by the head"):
        own_models.card_for(NAME, "seg", OwnModel(space="body28"), Catalog.load())


def test_a_profile_finds_the_head_of_a_backbone_and_asks_for_the_task_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="sapiens-bench probe --backbone"):
        add_heads([NAME], None, None, Catalog.load())
    fitted(tmp_path / "results" / "probes" / "depth", name="probe-d", task="depth")
    catalog = Catalog.load()
    add_heads(["movenet-thunder", NAME], None, None, catalog)
    assert catalog.models[catalog.aliases[NAME]].card.task == "depth"
    assert [c.candidate.entry.card.task for c in choose(catalog, [NAME], None)[0]] == ["depth"]
    fitted(tmp_path / "results" / "probes" / "one")
    with pytest.raises(UsageError, match="fitted for seg, depth; say one as --task"):
        add_heads([NAME], None, None, Catalog.load())
    add_heads([NAME], "seg", None, catalog := Catalog.load())
    assert catalog.models[catalog.aliases[NAME]].card.task == "seg"


def test_several_heads_are_told_apart_by_the_user(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fitted(tmp_path / "results" / "probes" / name, name=name)
    with pytest.raises(UsageError, match=r"2 heads are fitted for seg: a-seg .*; b-seg "):
        found(NAME)


def test_a_misspelt_network_is_told() -> None:
    with pytest.raises(UnknownName, match="vit_small_patch14_dinov2"):
        found("timm:vit_smal_patch14_dinov2")


def test_no_head_is_fitted_for_mattes() -> None:
    request = Request(task="matting", models=(NAME,), split="tiny")
    with pytest.raises(UsageError, match="not for matting"):
        own_models.register(request, Catalog.load())


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00[]"])
def test_a_file_that_is_no_head_names_no_backbone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert backbone_of(tmp_path / "x.safetensors") == ""
    assert backbone_of(tmp_path / "gone") == ""


def test_further_files_lie_beside_the_first_one_before_anywhere_else(tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.safetensors"
    trunk.write_bytes(b"trunk")
    head = fitted(tmp_path / "mine", trunk=trunk)
    (head.parent / trunk.name).write_bytes(b"trunk")
    variant = Catalog.load([tmp_path / "mine"]).model("probe-vit-seg").variant
    assert weight_files(variant, head.parent, further_root=tmp_path).also[trunk.name].parent == head.parent
