"""Models named by their file: what a file says is read, what it does not say is asked for, nothing is guessed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.loading import load_card
from sapiens_bench.cards.written import as_yaml
from sapiens_bench.engine.own_models import card_for
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import OwnModel, Request
from sapiens_bench.errors import CardError, CheckpointRejected, LabelSpaceMismatch, UsageError, WeightsMissing
from sapiens_bench.models.parts.given import content, lent

IMAGENET = OwnModel(normalise="imagenet")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import tiny_onnx

    return tiny_onnx


@pytest.mark.parametrize(
    ("answer", "output"), [("heatmap", "heatmap"), ("simcc", "simcc"), ("pixel", "coords"), ("share", "coords")]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_an_onnx_pose_file_says_its_input_answer_and_points(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog, answer: str, output: str, channels_last: bool
) -> None:
    path = tiny.write(tmp_path / "net.onnx", answer, channels_last=channels_last)
    said = {"units": answer} if output == "coords" else {}
    card = card_for(str(path), "pose", IMAGENET, catalog, said)
    (variant,) = card.variants
    assert (card.wrapper, card.space, card.input.height, card.input.width) == ("onnx", "coco17", tiny.H, tiny.W)
    assert card.input.mean == (123.675, 116.28, 103.53)
    assert variant.options == {"output": output} | said | ({"layout": "NHWC"} if channels_last else {})
    assert variant.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_of_coordinates_says_their_units_and_runs_as_it_was_written(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog
) -> None:
    path = str(tiny.write(tmp_path / "net.onnx", "share"))
    with pytest.raises(UsageError, match=r"counted in\. Give --option units=pixel"):
        card_for(path, "pose", IMAGENET, catalog)
    card = card_for(path, "pose", IMAGENET, catalog, {"units": "share"})
    (tmp_path / "net.yaml").write_text(as_yaml(card))
    said: dict[str, Any] = {"datasets": "synthetic-humans", "split": "tiny", "limit": 2, "n_boot": 0}
    kept = evaluate(task="pose", models="net", cards=[tmp_path], weights_root=tmp_path, out=tmp_path / "a", **said)
    plain = evaluate(
        task="pose", models=path, normalise="imagenet", options={"units": "share"}, out=tmp_path / "b", **said
    )
    assert kept.cells[0].counts.ok == 2
    scores = [{name: score.value for name, score in run.cells[0].scores.items()} for run in (kept, plain)]
    assert scores[0] == pytest.approx(scores[1], nan_ok=True)


def test_options_of_a_written_card_are_checked_like_those_of_a_run(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog
) -> None:
    path = str(tiny.write(tmp_path / "net.onnx"))
    with pytest.raises(CardError, match="'units' goes with output: coords"):
        card_for(path, "pose", IMAGENET, catalog, {"units": "pixel"})
    with pytest.raises(CardError, match=r"flip_tset.*flip_test"):
        card_for(path, "pose", IMAGENET, catalog, {"flip_tset": True})


def test_pixels_are_never_normalised_by_a_guess_but_bytes_need_no_word(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog
) -> None:
    with pytest.raises(UsageError, match=r"how pixels are normalised\. Give --normalise imagenet, 0\.\.1"):
        card_for(str(tiny.write(tmp_path / "net.onnx")), "pose", OwnModel(), catalog)
    card = card_for(str(tiny.write(tmp_path / "bytes.onnx", kind="uint8")), "pose", OwnModel(), catalog)
    assert card.input.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "mean", "std", "order"),
    [
        ("0..1", (0, 0, 0), (255, 255, 255), "rgb"),
        ("-1..1,bgr", (127.5,) * 3, (127.5,) * 3, "bgr"),
        ("none", (0, 0, 0), (1, 1, 1), "rgb"),
        ("1,2,3,4,5,6,bgr", (3, 2, 1), (6, 5, 4), "bgr"),  # a card has them in the network's order
        ("imagenet,bgr", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "bgr"),
    ],
)
def test_normalisations(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog, text: str, mean: Any, std: Any, order: str
) -> None:
    spec = card_for(str(tiny.write(tmp_path / "n.onnx")), "pose", OwnModel(normalise=text), catalog).input
    assert (spec.mean, spec.std, spec.channel_order) == (mean, std, order)


@pytest.mark.parametrize("text", ["imagenett", "1,2,3", "1,2,3,4,5,0", "1,2,3,4,5,x", "nan,0,0,1,1,1"])
def test_wrong_normalisations_are_refused(tmp_path: Path, tiny: ModuleType, catalog: Catalog, text: str) -> None:
    with pytest.raises(UsageError, match="--normalise"):
        card_for(str(tiny.write(tmp_path / "n.onnx")), "pose", OwnModel(normalise=text), catalog)


def test_an_input_size_that_the_file_does_not_take_is_refused(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog
) -> None:
    path = str(tiny.write(tmp_path / "n.onnx"))
    with pytest.raises(UsageError, match=f"takes {tiny.H}x{tiny.W} pixels"):
        card_for(path, "pose", OwnModel(input="256x192", normalise="none"), catalog)
    with pytest.raises(UsageError, match="is not HEIGHTxWIDTH"):
        card_for(path, "pose", OwnModel(input="256", normalise="none"), catalog)
    with pytest.raises(UsageError, match="1 to 16384 pixels"):
        card_for(path, "pose", OwnModel(input="0x192", normalise="none"), catalog)


def test_a_set_that_is_not_clear_is_asked_for(tmp_path: Path, tiny: ModuleType, catalog: Catalog) -> None:
    path = str(tiny.write(tmp_path / "n.onnx", k=5))
    with pytest.raises(LabelSpaceMismatch, match="--space NAME"):
        card_for(path, "pose", IMAGENET, catalog)
    said = IMAGENET._replace(space="coco17")  # for the wrapper to judge, which sees the numbers
    assert card_for(path, "pose", said, catalog).space == "coco17"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.onnx", "does not exist"),
        ("code.py", "say which class"),
        ("weights.pth", "holds weights without a network"),
        ("empty.onnx", "not a readable ONNX file"),
        ("hf:nobody", "hf:ORG/NAME"),
        ("hf:nobody/nothing", "not in the Hugging Face cache"),
        ("./folder", "without config.json"),
    ],
)
def test_what_is_no_model_is_refused_with_the_way_out(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("code.py", "weights.pth"):
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / "empty.onnx").write_bytes(b"\xff\xff not onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises((UsageError, WeightsMissing, CheckpointRejected), match=message):
        card_for(name, "pose", IMAGENET, catalog)


def test_flags_about_own_models_need_one(catalog: Catalog) -> None:
    request = Request(task="pose", models=("movenet-lightning",), split="tiny", own=OwnModel(normalise="none"))
    with pytest.raises(UsageError, match="--normalise is about models named by their file"):
        resolve(request, Catalog.load())


@pytest.mark.parametrize(
    ("task", "output", "message"),
    [
        ("pose", "heatmp", "Did you mean 'heatmap'"),
        ("seg", "heatmap", "--output"),
        ("depth", "logits", "Known: affine_invariant_depth"),
        ("normal", "logits", "leave it out"),
    ],
)
def test_a_misspelt_output_is_refused_with_the_nearest(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog, task: str, output: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        card_for(str(tiny.write(tmp_path / "n.onnx")), task, IMAGENET._replace(output=output), catalog)


def test_a_program_is_not_run_to_be_asked(tmp_path: Path, catalog: Catalog) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"PK never opened")
    said = OwnModel(input="8x6", normalise="none")
    with pytest.raises(UsageError, match="--output heatmap, simcc or coords"):
        card_for(str(path), "pose", said, catalog)
    with pytest.raises(UsageError, match="--space NAME"):
        card_for(str(path), "pose", said._replace(output="heatmap"), catalog)
    card = card_for(str(path), "pose", said._replace(output="heatmap", space="coco17"), catalog)
    assert card.variants[0].weights.sha256 is None  # so that it stays closed until the user vouches for it


@pytest.mark.parametrize(
    ("task", "said", "message"),
    [
        ("pose", {"output": "heatmap", "space": "coco17"}, "what `finish` returns.*--output heatmap means nothing"),
        ("depth", {"output": "metric_depth"}, "--output metric_depth means nothing"),
        ("depth", {"space": "coco17"}, "--space coco17 means nothing"),
        ("depth", {"normalise": "imagenet"}, "--input HEIGHTxWIDTH"),  # pixels of which size?
        ("pose", {}, "--space NAME"),
    ],
)
def test_what_is_said_of_a_class_is_used_or_refused(
    tmp_path: Path, catalog: Catalog, task: str, said: dict[str, str], message: str
) -> None:
    (tmp_path / "code.py").write_text("never imported to be asked")
    with pytest.raises(UsageError, match=message):
        card_for(f"{tmp_path / 'code.py'}:Mine", task, OwnModel(**said), catalog)
    card = card_for(f"{tmp_path / 'code.py'}:Mine", "pose", OwnModel(space="coco17"), catalog)
    assert (card.wrapper, card.space, card.input) == ("./code.py:Mine", "coco17", None)


@pytest.mark.parametrize(
    ("kind", "task", "wrapper"), [("segformer", "seg", "segformer"), ("dpt", "depth", "depth_anything")]
)
def test_a_hub_folder_says_its_input_and_labels(
    tmp_path: Path, catalog: Catalog, kind: str, task: str, wrapper: str
) -> None:
    names = catalog.space("atr18").names
    config = {"model_type": kind, "id2label": {str(i): name for i, name in enumerate(names)}}
    prepare = {"size": {"height": 64, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(prepare))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    said = OwnModel(output="metric_depth" if task == "depth" else "")
    card = card_for(str(tmp_path), task, said, catalog)
    assert (card.wrapper, card.input.height, card.input.width) == (wrapper, 64, 32)
    assert (card.input.mean, card.input.std) == ((127.5,) * 3, (127.5,) * 3)
    assert card.space == ("atr18" if task == "seg" else None)
    with pytest.raises(UsageError, match=f"for --task {task}, not pose"):
        card_for(str(tmp_path), "pose", OwnModel(), catalog)


def test_a_card_that_was_written_is_the_card(tmp_path: Path, tiny: ModuleType, catalog: Catalog) -> None:
    card = card_for(str(tiny.write(tmp_path / "net.onnx")), "pose", IMAGENET, catalog)
    (tmp_path / "net.yaml").write_text(as_yaml(card))
    assert load_card(tmp_path / "net.yaml") == card
    assert "# network input in pixels" in as_yaml(card)


@pytest.mark.parametrize("normalise", ["imagenet,bgr", "1.5,2,3,4,5,6.25"])
def test_a_card_that_was_written_makes_the_same_rows_as_the_flags(
    tmp_path: Path, tiny: ModuleType, catalog: Catalog, normalise: str
) -> None:
    path, said = tiny.write(tmp_path / "net.onnx"), OwnModel(normalise=normalise)
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "net.yaml").write_text(as_yaml(card_for(str(path), "pose", said, catalog)))
    ask: dict[str, Any] = {"task": "pose", "split": "tiny", "limit": 1}
    by_flags = resolve(Request(models=(str(path),), own=said, **ask), Catalog.load())
    by_card = Request(models=("net",), cards=(tmp_path / "cards",), weights_root=tmp_path, **ask)
    (a,), (b,) = by_flags.cells, resolve(by_card, Catalog.load(by_card.cards)).cells
    assert a.cell.fingerprint == b.cell.fingerprint


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def test_a_file_is_scored_and_a_changed_file_is_another_run(places: Path, tiny: ModuleType) -> None:
    path = tiny.write(places / "net.onnx")
    ask: dict[str, Any] = {"task": "pose", "models": "net.onnx", "normalise": "none", "split": "tiny", "n_boot": 0}
    first = evaluate(**ask, limit=2)
    assert first.cells[0].counts.ok == 2
    assert first.cells[0].title == "net.onnx"
    tiny.write(path, inner_batch=1)
    assert evaluate(**ask, limit=2).cells[0].fingerprint != first.cells[0].fingerprint
    assert len(list((places / "results" / "runs").iterdir())) == 2


def test_a_network_in_two_files_is_scored_and_either_file_makes_another_run(places: Path, tiny: ModuleType) -> None:
    """As exporters write large networks: the tensors lie beside the file."""
    tiny.write(places / "net.onnx", external="net.onnx.data")
    ask: dict[str, Any] = {"task": "pose", "models": "net.onnx", "normalise": "none", "split": "tiny", "n_boot": 0}
    first = evaluate(**ask, limit=1)
    assert first.cells[0].counts.ok == 1
    assert first.cells[0].weights_pinned
    data = places / "net.onnx.data"
    status, stored = data.stat(), np.fromfile(data, np.float32)
    (stored + 1).tofile(data)
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))  # size and time as before
    assert evaluate(**ask, limit=1).cells[0].fingerprint != first.cells[0].fingerprint
    assert len(list((places / "results" / "runs").iterdir())) == 2


class Brightest(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return self.drop(nn.functional.avg_pool2d(self.scale * x.mean(1, keepdim=True), 4).repeat(1, 17, 1, 1))


GIVEN: dict[str, Any] = {"space": "coco17", "input": "64x48", "normalise": "imagenet", "output": "heatmap"}


def test_a_module_in_memory_is_scored_and_comes_back_as_it_was(places: Path) -> None:
    net = Brightest().train()
    net.drop.eval()
    record = evaluate(task="pose", models=[net, "movenet-lightning"], **GIVEN, split="tiny", limit=2, n_boot=0)
    titles = {cell.title: cell.counts.ok for cell in record.cells}
    assert titles == {"Brightest": 2, "MoveNet Lightning": 2}
    assert net.training
    assert not net.drop.training


def test_a_plain_function_is_scored_too(places: Path) -> None:
    def dots(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 17, 2) + 3.0

    said = {**GIVEN, "output": "coords"}
    record = evaluate(task="pose", models=dots, **said, options={"units": "pixel"}, split="tiny", limit=2, n_boot=0)
    assert (record.cells[0].title, record.cells[0].counts.ok) == ("dots", 2)


def test_what_coordinates_are_counted_in_is_asked_for_with_its_flag(places: Path, tiny: ModuleType) -> None:
    path = tiny.write(places / "net.onnx", "share")
    request = Request(task="pose", models=(str(path),), split="tiny", limit=1, own=IMAGENET)
    with pytest.raises(UsageError, match=r"counted in. Give --option units=pixel \(of the crop\) or units=share"):
        resolve(request, Catalog.load())
    said = replace(request, options={"units": "share"})
    assert [cell.model.id for cell in resolve(said, Catalog.load()).cells] == ["net"]
    with pytest.raises(UsageError, match="--option units=pixel"):
        evaluate(task="pose", models=[Brightest()], **{**GIVEN, "output": "coords"}, split="tiny", limit=1, n_boot=0)


@pytest.mark.parametrize("name", ["all", "vitpose-plus", "movenet"])
def test_a_file_that_is_called_like_a_family_is_one_row(tmp_path: Path, tiny: ModuleType, name: str) -> None:
    path = tiny.write(tmp_path / f"{name}.onnx")
    request = Request(task="pose", models=(str(path),), split="tiny", limit=1, own=IMAGENET)
    plan = resolve(request, Catalog.load())
    assert [spec.model.entry.title for spec in plan.cells] == [f"{name}.onnx"]
    assert not plan.unavailable


def test_what_is_no_network_is_refused(places: Path) -> None:
    with pytest.raises(UsageError, match="are networks"):
        evaluate(task="pose", models=[3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="--output heatmap"):
        evaluate(task="pose", models=[Brightest()], input="64x48", normalise="imagenet")


def test_content_of_a_network_is_its_weights() -> None:
    net, other = Brightest(), Brightest()
    assert content(net) == content(other)
    other.scale.data += 1
    assert content(net) != content(other)
    assert content(len) != content(len)


def test_a_network_is_gone_after_its_run(places: Path) -> None:
    with lent([Brightest()]) as (name,):
        pass
    request = Request(task="pose", models=(f"given:{name}:Brightest",), split="tiny", limit=2, own=OwnModel(**GIVEN))
    from sapiens_bench.engine.run import run

    with pytest.raises(CheckpointRejected, match="memory of another process"):
        run(resolve(request, Catalog.load()))


def test_a_depth_network_must_say_what_its_numbers_mean(places: Path) -> None:
    net = nn.Conv2d(3, 1, 1)
    ask: dict[str, Any] = {"task": "depth", "models": [net], "input": "32x24", "normalise": "0..1", "split": "tiny"}
    with pytest.raises(UsageError, match="--output metric_depth"):
        evaluate(**ask, limit=2, n_boot=0)
    record = evaluate(**ask, limit=2, n_boot=0, options={"depth_kind": "affine_invariant_depth"})
    assert record.cells[0].counts.ok == 2
