"""Axis signs and depth direction are found out on real samples, and a wrong declaration does not run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import WeightFiles
from sapiens_bench.checks.conventions import verify_conventions
from sapiens_bench.engine.conventions import (
    Conventions,
    judge,
    spread,
)
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.model_specs import one_model
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.tasks.depth.convention import FARTHER, NEARER, depth_scores
from sapiens_bench.tasks.normal.convention import choice_name, normal_scores
from sapiens_bench.tasks.normal.evidence import SIGNS

WRAPPER = '''
import numpy as np
from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.types import Prepared

MAPS = {}  # the test puts the stored maps here, by stem


class ToldOptions(Options):
    kind: str = "affine_invariant_depth"
    gives: str = "depth"
    turn: tuple[int, int, int] = (1, 1, 1)
    axis_sign: tuple[int, int, int] = (1, 1, 1)
    reverse: bool = False
    noise: bool = False


class Told:
    """Predicts what it was told, in the axes or the direction that its option asks for."""

    Options = ToldOptions

    def __init__(self, context):
        self.task, self.options = context.card.task, context.options

    def prepare(self, x):
        return Prepared({}, (x.key.rpartition("/")[2], x.image_HW3.shape[:2]))

    def forward(self, tensors):
        return {}

    def finish(self, outputs, geometry):
        stem, size = geometry
        if self.options.noise:
            rng = np.random.default_rng(0)
            noise = rng.standard_normal((*size, 3)).astype(np.float32)
            if self.task == "normal":
                return NormalPrediction(noise)
            return DepthPrediction(noise[..., 0], self.options.kind)
        if self.task == "normal":
            normals = np.nan_to_num(np.load(FOLDER / f"normals/{stem}.npy"), nan=1.0)
            normals = normals * np.asarray(self.options.turn, np.float32)
            normals = normals[..., ::-1] if self.options.reverse else normals
            return NormalPrediction(normals * np.asarray(self.options.axis_sign, np.float32))
        depth = np.nan_to_num(np.load(FOLDER / f"depths/{stem}.npy"), nan=9.0)
        values = {"depth": 3 * depth - 8, "inverse": 5 / depth + 2}[self.options.gives]
        return DepthPrediction(values.astype(np.float32), self.options.kind)
'''
CARD = """schema: model/1
id: {family}
title: Told
task: {task}
licence: {{name: Apache-2.0}}
wrapper: ./{module}.py:Told
trained_on: nothing
variants:
"""


@pytest.fixture
def folder(sphere: ModuleType, tmp_path: Path) -> Path:
    return Path(
        sphere.write_folder(tmp_path / "data", {"a": sphere.perspective(), "b": sphere.perspective(x=-0.3, y=0.1)})
    )


def cards(tmp_path: Path, folder: Path, task: str, variants: dict[str, dict[str, Any]]) -> Path:
    """A card folder with one network of the given variants."""
    import json

    place = tmp_path / "cards"
    place.mkdir(exist_ok=True)
    code = WRAPPER + f"\n\nfrom pathlib import Path\n\nFOLDER = Path({str(folder)!r})\n"
    (place / f"told_{task}.py").write_text(code)
    rows = [f"  - {json.dumps({'id': name, 'title': name, 'options': o})}\n" for name, o in variants.items()]
    (place / f"told_{task}.yaml").write_text(
        CARD.format(family=f"told-{task}", task=task, module=f"told_{task}") + "".join(rows)
    )
    return place


def verified(tmp_path: Path, folder: Path, task: str, options: dict[str, Any]) -> Conventions:
    place = cards(tmp_path, folder, task, {"told": options})
    catalog = Catalog.load([place])
    request = Request(task=task, data_root=folder, device="cpu", cards=(place,))
    card = catalog.dataset("folder")
    spec = one_model("told", request.model(), catalog)
    return verify_conventions(spec, lambda: open_named(card, task, request.data(), catalog).open, "cpu")


@pytest.mark.parametrize("turn", SIGNS)
def test_each_of_the_eight_signs_is_recognised(tmp_path: Path, folder: Path, turn: tuple[int, int, int]) -> None:
    found = verified(tmp_path, folder, "normal", {"turn": list(turn)})
    assert found.best == choice_name(turn, "xyz")
    assert found.scores[found.best] == pytest.approx(0, abs=1e-3)
    assert (found.n_images, found.unit, len(found.scores)) == (2, "deg", 16)
    assert found.outcome == ("confirmed" if turn == (1, 1, 1) else "wrong")
    if turn != (1, 1, 1):
        assert f"axis_sign: [{turn[0]}, {turn[1]}, {turn[2]}]" in found.advice


def test_the_advice_takes_the_present_declaration_into_account(tmp_path: Path, folder: Path) -> None:
    # The network's raw axes are turned by (1, -1, -1) and its card says (-1, -1, 1).
    found = verified(tmp_path, folder, "normal", {"turn": [1, -1, -1], "axis_sign": [-1, -1, 1]})
    assert found.best == "-x +y -z"
    assert "axis_sign: [1, -1, -1]" in found.advice
    assert verified(tmp_path, folder, "normal", {"turn": [1, -1, -1], "axis_sign": [1, -1, -1]}).outcome == "confirmed"


def test_a_truth_that_contradicts_itself_is_doubted_before_the_model(
    tmp_path: Path, sphere: ModuleType, folder: Path
) -> None:
    balls = {"a": sphere.perspective(), "b": sphere.perspective(x=-0.3, y=0.1)}
    truth = Path(sphere.write_folder(tmp_path / "turned", balls))
    for file in (truth / "normals").glob("*.npy"):
        np.save(file, np.load(file) * np.array([1, -1, -1], np.float32))
    place = cards(tmp_path, folder, "normal", {"told": {}})
    catalog = Catalog.load([place])
    request = Request(task="normal", data_root=truth, device="cpu", data_options={"trusted": True})
    data = open_named(catalog.dataset("folder"), "normal", request.data(), catalog).open
    found = verify_conventions(one_model("told", request.model(), catalog), lambda: data, "cpu")
    assert (found.outcome, found.best) == ("wrong", "+x -y -z")
    assert "ground truth of folder is to be doubted first" in found.advice
    assert "look away from the camera" in found.advice


def test_reversed_channels_are_named(tmp_path: Path, folder: Path) -> None:
    found = verified(tmp_path, folder, "normal", {"reverse": True})
    assert (found.outcome, found.best) == ("wrong", "+z +y +x")
    assert "order z, y, x" in found.advice


@pytest.mark.parametrize("gives", ["depth", "inverse"])
@pytest.mark.parametrize("kind", ["affine_invariant_depth", "affine_invariant_inverse_depth"])
def test_both_depth_directions_are_told_apart(tmp_path: Path, folder: Path, gives: str, kind: str) -> None:
    found = verified(tmp_path, folder, "depth", {"gives": gives, "kind": kind})
    is_right = ("inverse" in kind) == (gives == "inverse")
    assert found.best == (NEARER if gives == "inverse" else FARTHER)
    assert found.scores[found.best] == pytest.approx(0, abs=1e-4)
    assert found.outcome == ("confirmed" if is_right else "wrong")
    assert ("depth direction is declared wrongly" in found.advice) is not is_right


@pytest.mark.parametrize("task", ["normal", "depth"])
def test_a_model_that_knows_nothing_is_undecided_not_wrong(tmp_path: Path, folder: Path, task: str) -> None:
    found = verified(tmp_path, folder, task, {"noise": True, "kind": "affine_invariant_depth"})
    assert found.outcome == "undecided"
    assert "not verified" in found.advice


def test_run_refuses_the_wrong_declaration_and_scores_the_right_one(tmp_path: Path, folder: Path) -> None:
    variants = {"told-right": {}, "told-wrong": {"turn": [1, -1, -1]}, "told-noise": {"noise": True}}
    place = cards(tmp_path, folder, "normal", variants)
    record = evaluate(
        task="normal", models=("told-normal",), datasets=("folder",), data_root=folder, cards=(place,),
        out=tmp_path / "out", device="cpu", n_boot=0, workers=1,
    )  # fmt: skip
    status = {c.model: c.status for c in record.cells}
    assert status == {"told-right": "done", "told-wrong": "refused", "told-noise": "done"}
    wrong = next(c for c in record.cells if c.model == "told-wrong")
    assert "in the wrong axes" in wrong.how
    assert "axis_sign: [1, -1, -1]" in wrong.how
    assert not wrong.scores
    assert any("told-noise: convention not verified" in note for note in record.notes)


def test_alone_a_wrong_declaration_ends_the_run(tmp_path: Path, folder: Path) -> None:
    place = cards(tmp_path, folder, "depth", {"told": {"gives": "inverse", "kind": "affine_invariant_depth"}})
    with pytest.raises(CheckpointRejected, match="depth direction is declared wrongly"):
        evaluate(
            task="depth", models=("told",), datasets=("folder",), data_root=folder, cards=(place,),
            out=tmp_path / "out", device="cpu", n_boot=0, workers=1,
        )  # fmt: skip


def test_a_flat_fit_of_the_usual_kind_would_have_hidden_the_direction() -> None:
    depth = np.linspace(1.5, 3.0, 500).astype(np.float32)
    upside_down, floor = depth_scores(-depth, depth)
    assert upside_down[FARTHER] == pytest.approx(floor)
    assert upside_down[NEARER] < 0.2 * floor


def test_scores_of_flat_normals_equal_the_floor() -> None:
    truth = np.random.default_rng(1).standard_normal((500, 3)).astype(np.float32)
    scores, floor = normal_scores(np.tile(np.array([[0, 0, 1]], np.float32), (500, 1)), truth)
    assert scores["+x +y +z"] == pytest.approx(floor)


def test_the_verdict_needs_a_clear_margin() -> None:
    assert judge({"a": 10.0, "b": 11.0}, "b", 40.0) == "undecided"
    assert judge({"a": 10.0, "b": 50.0}, "b", 40.0) == "wrong"
    assert judge({"a": 39.0, "b": 90.0}, "b", 40.0) == "undecided"
    assert judge({"a": 10.0, "b": 50.0}, "a", 40.0) == "confirmed"
    assert judge({}, "a", float("nan")) == "undecided"


def test_samples_are_spread_evenly() -> None:
    assert spread(120, 4) == [0, 40, 79, 119]
    assert spread(2, 4) == [0, 1]
    assert spread(0, 4) == []


@pytest.mark.parametrize("name", ["floor-flat-normal", "oracle-normal", "sapiens-1b-seg"])
def test_only_networks_for_depth_and_normals_have_a_convention(name: str) -> None:
    catalog = Catalog.load()
    entry = catalog.model(name)
    spec = ModelSpec(entry, WeightFiles(None, {}, "", pinned=False), None, {}, "fp32", 0, "")
    with pytest.raises(UsageError, match=f"{name} (is no network|predicts seg)"):
        verify_conventions(spec, lambda: pytest.fail("no data is needed"), "cpu")
