"""``weights check`` and ``weights convert``, and ``--trust-checkpoint``, as a user calls them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

Call = Callable[..., tuple[int, str, str]]


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    torch.set_num_threads(1)
    import sapiens_cards

    return SimpleNamespace(cards=sapiens_cards)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "sapiens-v1" / "models"


def task_file(golden: Path, path: Path, meta: Any = None) -> Path:
    torch.save({"state_dict": load_file(golden / "pose308.safetensors"), "meta": meta or {"epoch": 1}}, path)
    return path


def script(path: Path) -> Path:
    torch.jit.trace(torch.nn.Conv2d(3, 17, 1), torch.zeros(1, 3, 8, 8)).save(str(path))
    return path


def test_check_says_what_a_file_is(call: Call, golden: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    path = task_file(golden, tmp_path / "pose.pth")
    code, out, _ = call("weights", "check", path)
    assert code == 0
    assert "308-keypoint pose checkpoint" in out
    assert tools.cards.sha256(path) in out
    assert "132,404 values (float32 132,404)" in out
    assert "Verdict:  can be used" in out


def test_check_of_a_model_compares_the_file_with_its_card(
    call: Call, golden: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    variants = [tools.cards.variant("right", "pose308.safetensors"), tools.cards.variant("wrong", "pose17.safetensors")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose308", variants))
    where = ("--cards", tmp_path / "cards", "--weights-root", golden)
    assert call("weights", "check", "right", *where)[0] == 0
    code, out, err = call("weights", "check", "wrong", *where)
    assert code == 2
    assert "cannot be used" in out
    assert "17-keypoint pose checkpoint, but the card asks for pose with 308" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>403</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "is empty"),
        (b"PK\x03\x04 cut", "cut off"),
    ],
)
def test_check_refuses_what_is_no_weight_file(call: Call, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    code, out, err = call("weights", "check", tmp_path / "w.pth")
    assert code == 2
    assert says in err
    assert "sha256:" in out
    assert "Traceback" not in err


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_files_with_code_are_a_security_refusal(call: Call, golden: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    evil = task_file(golden, tmp_path / "evil.pth", Payload(canary))
    for path in (evil, script(tmp_path / "s.pt2")):
        code, out, err = call("weights", "check", path)
        assert code == 5
        assert "--trust-checkpoint" in err
        assert "cannot be used" in out
        assert call("weights", "convert", path)[0] == 5
    assert not canary.exists()
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_trusted_archive_is_opened_and_converted(call: Call, tmp_path: Path, tools: SimpleNamespace) -> None:
    path = script(tmp_path / "s.pt2")
    trust = f"{path}:{tools.cards.sha256(path)}"
    code, out, _ = call("weights", "check", path, "--trust-checkpoint", trust)
    assert (code, "torchscript" in out, "2 tensors" in out) == (0, True, True)
    assert call("weights", "convert", path, "--trust-checkpoint", trust)[0] == 0
    assert set(load_file(tmp_path / "s.safetensors")) == {"weight", "bias"}
    code, _, err = call("weights", "check", path, "--trust-checkpoint", f"{path}:{'0' * 64}")
    assert code == 5
    assert "--trust-checkpoint says" in err
    assert call("weights", "check", path, "--trust-checkpoint", "nonsense")[0] == 2


def test_convert_keeps_names_values_and_number_formats(
    call: Call, golden: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    state = {name: tensor.half() for name, tensor in load_file(golden / "seg.safetensors").items()}
    shared_storage = torch.arange(8.0)
    state |= {"a": shared_storage, "b": shared_storage[:4].t()}
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "seg.pth")
    code, out, _ = call("weights", "convert", tmp_path / "seg.pth", "--out", tmp_path / "new.safetensors")
    assert code == 0
    written = load_file(tmp_path / "new.safetensors")
    assert set(written) == set(state)
    assert all(torch.equal(written[name], state[name]) and written[name].dtype == state[name].dtype for name in state)
    sha256 = tools.cards.sha256(tmp_path / "new.safetensors")
    assert f"sha256: {sha256}" in out
    assert "format: safetensors" in out
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata()["source_sha256"] == tools.cards.sha256(tmp_path / "seg.pth")


def test_convert_overwrites_nothing_and_leaves_nothing_half_done(call: Call, golden: Path, tmp_path: Path) -> None:
    path = task_file(golden, tmp_path / "pose.pth")
    (tmp_path / "pose.safetensors").write_bytes(b"mine")
    code, _, err = call("weights", "convert", path)
    assert (code, "exists already" in err) == (2, True)
    assert (tmp_path / "pose.safetensors").read_bytes() == b"mine"
    torch.save({"w": torch.full((2,), float("nan"))}, tmp_path / "nan.pth")
    assert call("weights", "convert", tmp_path / "nan.pth")[0] == 2
    assert call("weights", "convert", tmp_path / "nowhere.pth")[0] == 2
    assert call("weights", "convert", path, "--out", tmp_path / "no" / "folder.safetensors")[0] == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nan.pth", "pose.pth", "pose.safetensors"]


def test_the_snippet_of_convert_is_a_card(call: Call, golden: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    import yaml

    _, out, _ = call("weights", "convert", task_file(golden, tmp_path / "pose.pth"))
    weights = yaml.safe_load(out[out.index("weights:") :])["weights"]
    card = tools.cards.family("tiny", "pose308", [tools.cards.variant("tiny", "x")])
    card["variants"][0]["weights"] = weights
    tools.cards.write_card(tmp_path / "cards", card)
    where = ("--cards", tmp_path / "cards", "--weights-root", tmp_path)
    code, out, err = call("weights", "check", "tiny", *where)
    assert code == 0, err
    assert "can be used" in out


def test_unknown_names_give_the_nearest(call: Call) -> None:
    code, _, err = call("weights", "check", "sapiens-1bb")
    assert code == 2
    assert "sapiens-1b" in err


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_pinned_program_that_is_replaced_after_the_check_does_not_run(
    tmp_path: Path, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time kept: between the plan and a model's turn hours may pass."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.locate import weight_files
    from sapiens_bench.engine.build import build_model
    from sapiens_bench.engine.model_specs import space_of
    from sapiens_bench.engine.specs import ModelSpec
    from sapiens_bench.errors import ChecksumMismatch

    path = script(tmp_path / "s.pt2")
    variant = tools.cards.variant("tiny", path.name, format="torchscript", sha256=tools.cards.sha256(path))
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny-family", "pose17", [variant]))
    catalog = Catalog.load([tmp_path / "cards"])
    entry = catalog.model("tiny")
    files = weight_files(entry.variant, tmp_path)
    spec = ModelSpec(entry, files, space_of(entry, catalog), {}, "fp32", 0, "")
    assert files.pinned
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    opened: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: opened.append(a))
    with pytest.raises(ChecksumMismatch, match="changed after it had been checked"):
        build_model(spec, "cpu")
    with pytest.raises(ChecksumMismatch):
        weight_files(entry.variant, tmp_path)
    assert opened == []


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_run_warns_about_a_trusted_file_and_records_it(
    call: Call, coco: Path, golden: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    from sapiens_bench.models.options import SapiensV1Options
    from sapiens_bench.models.sapiens_load import build_network

    sizes = SapiensV1Options(heads=4)
    net = build_network("pose", golden / "pose17.safetensors", input_hw=(128, 96), outputs=17, options=sizes)
    path = tmp_path / "traced.pt2"
    torch.jit.trace(net, torch.zeros(2, 3, 128, 96)).save(str(path))
    variants = [tools.cards.variant("tiny", path.name, format="torchscript")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny-family", "pose17", variants))
    common = ("run", "--task", "pose", "--models", "tiny", "--dataset", "coco-val2017", "--data-root", coco,
              "--cards", tmp_path / "cards", "--weights-root", tmp_path, "--device", "cpu")  # fmt: skip
    code, _, err = call(*common, "--out", tmp_path / "refused")
    assert code == 5
    assert "--trust-checkpoint" in err
    trust = f"{path}:{tools.cards.sha256(path)}"
    code, _, err = call(*common, "--out", tmp_path / "run", "--trust-checkpoint", trust)
    assert code == 0, err
    assert "WARNING" in err
    assert tools.cards.sha256(path) in (tmp_path / "run" / "run.json").read_text()


def test_a_box_study_over_two_runs(
    call: Call, coco: Path, golden: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    variants = [tools.cards.variant("tiny", "pose17.safetensors")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny-family", "pose17", variants))
    for name, boxes in (("a", "gt"), ("b", "jitter:0.2")):
        code, _, err = call(
            "run", "--task", "pose", "--models", "tiny", "--dataset", "coco-val2017", "--data-root", coco, "--cards",
            tmp_path / "cards", "--weights-root", golden, "--device", "cpu", "--n-boot", "0", "--boxes", boxes,
            "--out", tmp_path / name,
        )  # fmt: skip
        assert code == 0, err
    code, out, err = call("box-study", tmp_path / "a", tmp_path / "b")
    assert (code, err) == (0, "")
    assert "Box IoU" in out
    assert "jittered by 0.2" in out
    code, as_before, hint = call("report", tmp_path / "a", tmp_path / "b", "--box-study")
    assert (code, as_before) == (0, out)
    assert "sapiens-bench box-study RUN" in hint
    code, _, err = call("report", tmp_path / "a", tmp_path / "b")
    assert (code, "box-study" in err) == (2, True)
    assert call("box-study", tmp_path / "a")[0] == 2
    assert call("report", tmp_path / "a", "--format", "md")[0] == 0
