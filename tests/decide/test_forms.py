"""``compare`` between two forms of one model: scores from the rows, drift and speed from the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.decide.compare import compare, document
from sapiens_bench.decide.forms import FormDrift, with_drift
from sapiens_bench.decide.sides import read_side
from sapiens_bench.engine.drift import Drift, OutputDrift
from sapiens_bench.report.formats import render
from sapiens_bench.testing import toy

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def two_forms(tmp_path: Path) -> Path:
    toy.go(tmp_path / "run", {"n": 10}, models=("toy-plain,toy-plain@fp32,toy-biased",))
    return tmp_path / "run"


def test_the_order_of_the_names_is_that_of_a_and_b(two_forms: Path) -> None:
    found = compare([read_side(two_forms)], models=["toy-plain@fp32", "toy-plain"])
    assert [(d.pair.a.model, d.pair.b.model) for d in found.differences] == [("toy-plain@fp32", "toy-plain")]


def test_drift_is_a_table_beside_the_scores_and_numbers_in_json(two_forms: Path) -> None:
    found = compare([read_side(two_forms)], models=["toy-plain@fp32", "toy-plain"])
    pair = found.differences[0].pair
    output = OutputDrift("grey", (17, 3), 0.5, 0.001, 0.25, "toy/00003", 0)
    made = Drift("toy-plain@fp32", "toy-plain", "cpu", 8, 9, (output,), 20.0, 10.0, 2.0, 1.9, 2.1)
    shown = with_drift(document(found), [FormDrift(pair, made)])
    text = render(shown, "text")
    assert "drift over 8 images, 9 crops, cpu" in text
    assert "B is faster, 20 ms and 10 ms an image; time of A over time of B 2.00 [1.90, 2.10]." in text
    assert json.loads(render(shown, "json"))["drift"][0]["outputs"][0]["max_difference"] == 0.25


def test_a_speed_that_may_be_chance_is_called_no_difference(two_forms: Path) -> None:
    found = compare([read_side(two_forms)], models=["toy-plain@fp32", "toy-plain"])
    made = Drift("a", "b", "cpu", 8, 9, (), 10.0, 10.1, 0.99, 0.9, 1.1)
    text = render(with_drift(document(found), [FormDrift(found.differences[0].pair, made)]), "text")
    assert "no difference seen" in text.split("Speed:")[1]


def test_raw_outputs_of_different_networks_are_not_subtracted(two_forms: Path, call: Call) -> None:
    code, _, err = call("compare", two_forms, "--models", "toy-plain,toy-biased", "--drift", "3")
    assert code == 2
    assert "one network in two forms" in err
